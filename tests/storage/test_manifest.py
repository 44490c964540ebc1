"""What of a manifest names the dataset, and what may differ from run to run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.errors import ConflictError, CorruptDataError, InputError
from storage.files import Store
from storage.manifest import NAME, Manifest, claim, load


def manifest(checkpoint: str, **generator: Any) -> Manifest:
    """Of a generator whose fingerprint tells of all its options, and an extractor like it."""
    about = {"name": "stylegan2", "load": "stylegan2", "fingerprint": "f" * 64, **generator}
    measured = [
        {"name": "faces", "load": "faces", "fingerprint": "e" * 64},
        {"name": "points", "load": "points", "fingerprint": "e" * 64, "options": {"every": 2}},
    ]
    here = {
        "generator": {"options": {"checkpoint": checkpoint, "sha256": "aa"}, "licence": "MIT"},
        "extractors": {"faces": {"options": {"model": "a.onnx"}, "licence": "MIT", "models": []}},
    }
    content = {
        "format": 1,
        "dataset": {"samples": 4, "shard_size": 2},
        "generator": about,
        "extractors": measured,
        "here": here,
    }
    return Manifest(content)


def test_options_are_found_wherever_they_are_kept():
    made = manifest("a.pkl")
    assert made.generator["options"] == {"checkpoint": "a.pkl", "sha256": "aa"}
    assert made.generator["licence"] == made.extractors[0]["licence"] == "MIT"
    assert [item["options"] for item in made.extractors] == [{"model": "a.onnx"}, {"every": 2}]


@pytest.mark.parametrize("size", [{"shard_size": 0}, {"samples": -1}, {"shard_size": "2"}])
def test_sizes_that_are_none_are_told(size):
    content = {**manifest("a.pkl").content, "dataset": {"samples": 4, "shard_size": 2, **size}}
    with pytest.raises(CorruptDataError, match="manifest.json is damaged"):
        Manifest.from_bytes(Manifest(content).to_bytes(), NAME)


@pytest.mark.parametrize(
    "told",
    [
        [4],
        None,
        {"length": 0},
        {"length": 10**9},
        {"length": 2.5},
        {"length": 4, "smoothness": 1},
        {"length": 4, "smoothness": float("nan")},
        {"length": 4, "smoothness": "x"},
    ],
)
def test_sequences_that_are_none_are_told(told):
    data = json.dumps({"format": 1, "dataset": {"samples": 8, "sequences": told}}).encode()
    with pytest.raises(CorruptDataError, match="it is damaged: its sequences are"):
        Manifest.from_bytes(data, "it")


def test_sequences_are_read_back():
    told = {"samples": 8, "sequences": {"length": 4, "smoothness": 0.5}}
    data = json.dumps({"format": 1, "dataset": told}).encode()
    assert Manifest.from_bytes(data, "it").settings == told


def test_places_of_files_do_not_name_the_dataset():
    assert manifest("a.pkl").dataset_id == manifest("b.safetensors").dataset_id
    assert manifest("a.pkl").dataset_id != manifest("a.pkl", fingerprint="0" * 64).dataset_id


def test_manifests_without_places_keep_their_ids():
    content = {"format": 1, "generator": {"options": {"resolution": 64}}}
    # the first 16 digits of sha256 of json.dumps(content, sort_keys=True, indent=1)
    assert Manifest(content).dataset_id == "5b92767b8afe753c"


def test_a_run_goes_on_with_its_own_places_and_leaves_the_file_alone(tmp_path):
    store = Store(str(tmp_path))
    claim(store, manifest("old/a.pkl"))
    before = (tmp_path / NAME).read_bytes()
    going_on = claim(store, manifest("new/a.safetensors"))
    assert going_on.generator["options"]["checkpoint"] == "new/a.safetensors"
    assert (tmp_path / NAME).read_bytes() == before
    assert load(store).generator["options"]["checkpoint"] == "old/a.pkl"


def test_other_weights_are_another_dataset(tmp_path):
    store = Store(str(tmp_path))
    claim(store, manifest("a.pkl"))
    with pytest.raises(ConflictError, match=r"other generator\.fingerprint"):
        claim(store, manifest("a.pkl", fingerprint="0" * 64))


def test_moved_replaces_the_places_alone():
    made = manifest("a.pkl")
    moved = made.moved({"checkpoint": "b.pkl", "device": "cpu"}, {"faces": {"model": "b.onnx"}})
    # the checksum was that of a.pkl's file
    assert moved.generator["options"] == {"checkpoint": "b.pkl", "device": "cpu"}
    assert moved.extractors[0]["options"] == {"model": "b.onnx"}
    assert moved.extractors[1] == made.extractors[1]
    assert moved.dataset_id == made.dataset_id
    assert made.moved({"checkpoint": "a.pkl"}, {}).generator["options"]["sha256"] == "aa"
    assert made.movable() == ["extractors.faces.model", "generator.options.checkpoint"]


def test_options_that_are_part_of_the_dataset_cannot_be_moved():
    said = "part of what the dataset is, .* may differ: extractors.faces.model, generator"
    for generator, extractors in (({}, {"points": {"every": 3}}), ({}, {"none": {"a": 1}})):
        with pytest.raises(InputError, match=said):
            manifest("a.pkl").moved(generator, extractors)
    with pytest.raises(InputError, match="may differ: none"):
        Manifest({"generator": {"options": {}}, "extractors": []}).moved({"resolution": 1}, {})

"""Manifests of derived datasets: what names them, whom they come from, and what is checked."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from jobs.filter_dataset import filter_dataset
from schemas.errors import CorruptDataError, InputError
from storage.dataset import Dataset
from storage.derived import (
    check_derived,
    lineage,
    open_parent,
    parent_url,
    stored_names,
    with_parent,
)
from storage.files import Store
from storage.manifest import DERIVED, HERE, Manifest
from storage.shards import commit
from storage.verify import verify
from tests.storage.points_dataset import GEOMETRY, extended, sampled


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Dataset:
    return sampled(tmp_path_factory.mktemp("sampled") / "dataset")


@pytest.fixture
def child(parent, tmp_path) -> Dataset:
    return filter_dataset(parent.url, str(tmp_path / "child"), where="yaw > 0")


def changed(manifest: Manifest, **derived) -> Manifest:
    content = json.loads(manifest.to_bytes())
    content[DERIVED] |= derived
    return Manifest(content)


def test_a_parent_is_part_of_the_name_and_its_place_is_not(parent, child):
    told = child.manifest.derived
    assert told["kind"] == "filtered" and told["root"] == parent.dataset_id
    assert [each["dataset_id"] for each in told["parents"]] == [parent.dataset_id]
    assert parent_url(child.manifest) == parent.url
    moved = with_parent(child.manifest, "s3://elsewhere/dataset")
    assert parent_url(moved) == "s3://elsewhere/dataset"
    assert moved.dataset_id == child.dataset_id != parent.dataset_id
    for key, value in (("where", "yaw > 1"), ("sample", 3), ("indices", "0" * 64)):
        assert changed(child.manifest, **{key: value}).dataset_id != child.dataset_id


def test_places_of_parents_that_are_none_are_told(child):
    """They stand beside what the id vouches for, so that anybody may have changed them."""
    content = json.loads(child.manifest.to_bytes())
    for places in ([{"url": 5}], ["nowhere"], 5):
        content[HERE]["parents"] = places
        with pytest.raises(CorruptDataError, match="parents under 'here'"):
            lineage(Manifest(content))


def test_ids_stay_those_of_the_dataset_that_was_sampled(parent, child, tmp_path):
    grandchild = extended(tmp_path / "grandchild", child, GEOMETRY)
    names = grandchild.read(["sample_id", "index"])
    indices = names.column("index").to_pylist()
    assert names.column("sample_id").to_pylist() == [
        f"{parent.dataset_id}-{index:09d}" for index in indices
    ]
    assert grandchild.manifest.picked == child.manifest.picked
    assert stored_names(grandchild.manifest) == ["points"] and stored_names(child.manifest) == []


def test_a_manifest_tells_its_whole_line_without_its_parents(parent, child, tmp_path):
    made = extended(tmp_path / "made", child, GEOMETRY).manifest
    first, second = lineage(Manifest.from_bytes(made.to_bytes(), "here"))
    assert (first["kind"], first["extractors"], first["images"]) == (
        "extended", ["geometry"], "none",
    )  # fmt: skip
    assert (first["parent"], first["url"]) == (child.dataset_id, child.url)
    assert (second["kind"], second["where"], second["parent"]) == (
        "filtered", "yaw > 0", parent.dataset_id,
    )  # fmt: skip
    assert lineage(parent.manifest) == []


def test_who_reads_sampled_datasets_alone_refuses_a_derived_one(parent, child):
    assert parent.manifest.content["format"] == 1 and child.manifest.content["format"] == 2
    for dataset, version in ((parent, 2), (child, 1)):
        content = {**dataset.manifest.content, "format": version}
        with pytest.raises(CorruptDataError, match="do not go together"):
            Manifest.from_bytes(Manifest(content).to_bytes(), "here")


def test_a_parent_that_is_gone_or_another_is_told(parent, child, tmp_path):
    _, found = open_parent(child.manifest)
    assert found.dataset_id == parent.dataset_id
    with pytest.raises(InputError, match="no longer at .*gone.*--parent"):
        open_parent(with_parent(child.manifest, str(tmp_path / "gone")))
    with pytest.raises(InputError, match=f"at .* is dataset {child.dataset_id}"):
        open_parent(with_parent(child.manifest, child.url))
    nowhere = {key: value for key, value in child.manifest.content.items() if key != HERE}
    with pytest.raises(InputError, match="nothing says where"):
        open_parent(Manifest(nowhere))
    with pytest.raises(InputError, match="has none"):
        with_parent(parent.manifest, "anywhere")


@pytest.mark.parametrize(
    "damage",
    [
        {"kind": "stolen"},
        {"root": "../../etc"},
        {"parents": []},
        {"parents": [{"dataset_id": 3}]},
        {"indices": None},
        {"parents": [{"dataset_id": "0" * 16, "derived": {"kind": "filtered"}}]},
        {"kind": "extended"},
        {"kind": "extended", "extractors": [], "images": "none"},
        {"kind": "extended", "extractors": ["a"], "images": "stolen"},
        {"kind": "extended", "extractors": ["a"], "images": "thumbnails", "image_size": 10**9},
    ],
)
def test_a_damaged_line_is_refused(child, damage):
    check_derived(child.manifest)
    with pytest.raises((ValueError, KeyError, TypeError)):
        check_derived(changed(child.manifest, **damage))


def test_other_rows_than_were_picked_are_found(parent, child):
    """A shard with receipt, as long as it was and with rising indices, of which one is another."""
    assert not verify(child.url).problems
    table = next(child.tables())
    kept = table.column("index").to_pylist()
    other = next(index for index in range(kept[0], kept[-1]) if index not in kept)
    indices = sorted({*kept, other} - {kept[1]})
    ids = pa.array(child.manifest.ids_of(indices))
    for name, column in (("index", pa.array(indices, pa.int64())), ("sample_id", ids)):
        table = table.set_column(table.schema.get_field_index(name), name, column)
    store = Store(child.url)
    for name in (child.manifest.shard_file(0), child.manifest.receipt_file(0)):
        store.remove(name)
    commit(store, child.manifest, 0, table)
    (problem,) = verify(child.url).problems
    assert problem.file == "manifest.json" and "other samples" in problem.what


def test_rows_that_do_not_rise_or_are_too_few_are_no_shard(child):
    table = next(child.tables())
    for wrong in (table.take(list(range(len(table)))[::-1]), table.slice(1)):
        with pytest.raises(CorruptDataError, match="rising indices"):
            commit(Store(child.url), child.manifest, 0, wrong)

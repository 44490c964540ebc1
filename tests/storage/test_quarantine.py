"""Notes about shards that could not be made, and what `verify` says of them."""

from __future__ import annotations

import pytest

from mining.description import describe
from mining.sampling import Measurer, Renderer
from schemas.settings import RunSettings
from storage.files import Store
from storage.manifest import Manifest, claim
from storage.quarantine import quarantine, quarantined, release
from storage.shards import commit
from storage.verify import UNMADE, verify

POINTS = "tests.examples.points"


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return describe(
        RunSettings.model_validate(
            {
                "generator": {"name": f"{POINTS}:PointsGenerator"},
                "extractors": {f"{POINTS}:PointsExtractor": {}},
                "dataset": {"samples": 30, "shard_size": 10, "thumbnail": 0},
            }
        )
    )


@pytest.fixture
def store(tmp_path, manifest) -> Store:
    """Shard 0 is made."""
    store = Store(str(tmp_path / "dataset"))
    claim(store, manifest)
    make(store, manifest, 0)
    return store


def make(store: Store, manifest: Manifest, shard: int) -> None:
    commit(store, manifest, shard, Measurer(manifest)(Renderer(manifest)(shard)))


def test_notes_are_kept_until_they_are_released(store, manifest):
    assert quarantined(store, manifest) == {}
    quarantine(store, manifest, 2, "no answer in 300 s (render, 3 times)")
    quarantine(store, manifest, 1, "first")
    quarantine(store, manifest, 1, "second")  # the latest reason is kept
    expected = {1: "second", 2: "no answer in 300 s (render, 3 times)"}
    assert quarantined(store, manifest) == expected
    assert store.names("quarantine") == ["00001.json", "00002.json"]
    release(store, 1)
    release(store, 1)  # by another run as well
    assert quarantined(store, manifest) == {2: expected[2]}


def test_a_shard_that_is_made_is_in_no_quarantine(store, manifest):
    quarantine(store, manifest, 1, "why")
    make(store, manifest, 1)  # by a run that did not know of the note
    assert quarantined(store, manifest) == {}
    assert not [problem for problem in verify(store.url).problems if problem.shard == 1]


def test_what_is_no_note_of_this_dataset_is_left_out(store, manifest):
    other = Manifest({**manifest.content, "format": 2})
    quarantine(store, other, 1, "of another dataset")
    for name, content in {
        "00002.json": b'{"dataset_id": ',  # cut off
        "00003.json": b"[1, 2]",
        "notes.txt": b"mine",
        "x.json": b"{}",
    }.items():
        store.create(f"quarantine/{name}", content)
    assert quarantined(store, manifest) == {}


def test_verify_gives_the_reason_of_a_shard_that_is_not_made(store, manifest):
    quarantine(store, manifest, 2, "why")
    problems = verify(store.url).problems
    assert [(problem.shard, problem.what) for problem in problems] == [
        (1, UNMADE),
        (2, "quarantined: why"),
    ]


def test_verify_tells_damage_rather_than_an_old_note(store, manifest):
    make(store, manifest, 1)
    store.remove(manifest.receipt_file(1))
    quarantine(store, manifest, 1, "why")
    (damaged,) = (problem for problem in verify(store.url).problems if problem.shard == 1)
    assert damaged.what == "missing, though the shard's file is there"

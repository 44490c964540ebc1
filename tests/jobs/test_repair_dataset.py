"""What a repair moves, what it puts back, and in which order shards are made."""

from __future__ import annotations

from jobs.generate_dataset import order_of
from jobs.progress import Progress
from jobs.repair_dataset import move_aside, put_back, standing
from storage.files import Store
from storage.manifest import Manifest
from storage.runs import RunRecord
from storage.verify import UNMADE, Problem

MANIFEST = Manifest({"dataset": {"samples": 40, "shard_size": 10}})
ASIDE = ".broken/now"


def filled(tmp_path) -> Store:
    """A store with data and receipt of four shards, their numbers as bytes."""
    store = Store(str(tmp_path))
    for shard in range(MANIFEST.shards):
        for name in (MANIFEST.shard_file(shard), MANIFEST.receipt_file(shard)):
            store.create(name, b"%d" % shard)
    return store


def test_only_what_was_there_is_moved():
    """Who made a missing shard in the meantime keeps it."""
    problems = [
        Problem(0, "data/0", "SHA-256 differs"),
        Problem(1, "receipts/1", UNMADE, unmade=True),
        Problem(2, "receipts/2", "quarantined: it hangs", unmade=True),
        Problem(None, "data/notes", "a stranger"),
    ]
    assert standing(problems, whole=[3]) == [0, 3]


def test_whole_shards_that_were_not_made_again_are_put_back(tmp_path):
    store = filled(tmp_path)
    moved = move_aside(store, MANIFEST, [1, 2], ASIDE)
    assert len(moved) == 4 and not store.exists(MANIFEST.receipt_file(1))
    store.create(MANIFEST.shard_file(2), b"made again")
    store.create(MANIFEST.receipt_file(2), b"made again")
    put_back(store, MANIFEST, [1, 2], ASIDE)
    for name in (MANIFEST.shard_file(1), MANIFEST.receipt_file(1)):
        assert store.read(name) == b"1"
    assert store.read(MANIFEST.receipt_file(2)) == b"made again"
    assert store.read(f"{ASIDE}/{MANIFEST.receipt_file(2)}") == b"2"


def test_shards_that_could_not_be_made_before_come_last(tmp_path):
    """A rerun gets on with the others first, beside another run too."""
    store, progress = Store(str(tmp_path)), Progress("generate", 1, "images", interval=1e9)
    missing = list(range(60))
    assert order_of(store, missing, {0, 7}, progress)[-2:] == [0, 7]
    assert order_of(store, missing, set(), progress) == missing
    RunRecord("0" * 16).save(store)
    helping = order_of(store, missing, {0, 7}, progress)
    assert set(helping[-2:]) == {0, 7} and sorted(helping) == missing
    assert helping[:-2] != [shard for shard in missing if shard not in (0, 7)]

"""Records of runs: read back as they were, and which of them go on at this moment."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from storage.files import Store
from storage.runs import DONE, FAILED, FRESH, RUNNING, STOPPED, RunRecord, going_on, runs


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "dataset"))


def test_a_record_comes_back_as_it_was_saved(store):
    record = RunRecord("d" * 16, {"workers": 2})
    record.rows, record.stage_seconds["render"], record.rejects["dlib no_face"] = 40, 1.25, 3
    record.seconds_to_first_shard = 0.5
    before = time.time()
    record.save(store)
    assert before <= record.updated <= time.time()
    assert runs(store) == [record]


def test_a_record_is_written_over_its_last_version(store):
    record = RunRecord("d" * 16)
    record.save(store)
    record.state, record.error = FAILED, "StorageError: the disk is full"
    record.save(store)
    (found,) = runs(store)
    assert (found.state, found.error) == (FAILED, "StorageError: the disk is full")
    assert len(store.names("runs")) == 1


def test_records_are_listed_by_their_start(store):
    for started, run_id in ((3.0, "c"), (1.0, "b"), (1.0, "a"), (2.5, "d")):
        RunRecord("d" * 16, run_id=run_id, started=started).save(store)
    assert [record.run_id for record in runs(store)] == ["a", "b", "d", "c"]


def test_names_tell_the_start_in_utc():
    record = RunRecord("d" * 16, run_id="0a1b2c3d", started=1_790_000_000.9)
    assert record.name == "runs/20260921T141320Z-0a1b2c3d.json"


def test_two_runs_of_the_same_second_have_files_of_their_own():
    names = {RunRecord("d" * 16, started=1.0).name for _ in range(100)}
    assert len(names) == 100


@pytest.mark.parametrize("state", [RUNNING, DONE, FAILED, STOPPED])
@pytest.mark.parametrize("age", [0.0, FRESH - 5, FRESH + 5])
def test_a_run_goes_on_while_its_notes_are_fresh(state, age):
    record = RunRecord("d" * 16, updated=time.time() - age, state=state)
    assert record.going_on == (state == RUNNING and age < FRESH)


def test_only_runs_that_go_on_are_seen_by_others(store):
    on, over = RunRecord("d" * 16), RunRecord("d" * 16, state=DONE)
    for record in (on, over):
        record.save(store)
    assert [record.run_id for record in going_on(store)] == [on.run_id]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"dataset_id": "d", "colour": 1}', b"\xff"]
)
def test_what_cannot_be_read_is_left_out(store, content):
    record = RunRecord("d" * 16)
    record.save(store)
    store.create("runs/20260101T000000Z-broken.json", content)
    assert runs(store) == [record]


def test_there_are_no_runs_where_there_is_no_folder(store):
    assert runs(store) == [] == going_on(store)
    assert not Path(store.root).exists()

"""What a run notes, and the moment at which it is stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.engine import Event
from jobs.isolation.supervisor import Outcome
from jobs.ledger import ENOUGH, FEW, Ledger, rejects
from jobs.progress import Progress
from schemas.errors import RunError
from schemas.settings import EngineSettings
from storage.files import Store
from storage.manifest import Manifest
from storage.quarantine import quarantine, quarantined
from storage.runs import DONE, FAILED, RUNNING, RunRecord, runs
from storage.shards import Receipt

NAMES = ("dlib", "geometry")


def manifest_of(samples: int, size: int = 20) -> Manifest:
    """The parts of a manifest that a ledger reads."""
    return Manifest(
        {
            "dataset": {"samples": samples, "shard_size": size},
            "extractors": [{"name": name} for name in NAMES],
        }
    )


def receipt(manifest: Manifest, shard: int, **statuses: dict[str, int]) -> Receipt:
    """Of a shard in which all rows are ok but for the given ones."""
    rows = len(manifest.rows(shard))
    counts = {}
    for name in NAMES:
        said = statuses.get(name, {})
        said = {**said, "ok": rows - sum(said.values())}
        counts[name] = {status: count for status, count in said.items() if count}
    return Receipt(manifest.dataset_id, shard, "data/none.parquet", rows, 1000, "0" * 64, counts)


def finished(made: Receipt, **rest) -> Event:
    given = {"seconds": {"render": 0.5}, **rest}
    return Event("finished", Outcome(made.shard, receipt=made, **given))


def ledger(
    store: Store,
    manifest: Manifest,
    total: int,
    known: Sequence[int] = (),
    judge: bool = True,
    **engine,
) -> Ledger:
    progress = Progress("generate", total, "images", interval=1e9)
    settings = EngineSettings.model_validate(engine)
    return Ledger(store, manifest, settings, total, set(known), progress, judge)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Store:
    """One folder for many small ledgers that nobody reads."""
    return Store(str(tmp_path_factory.mktemp("scratch")))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(str(tmp_path / "dataset"))


def only(store: Store) -> RunRecord:
    (record,) = runs(store)
    return record


def test_a_run_is_on_record_from_its_start_to_its_end(store):
    manifest = manifest_of(60)
    book = ledger(store, manifest, 60, workers=3)
    assert (only(store).state, only(store).engine["workers"]) == (RUNNING, 3)
    assert only(store).seconds_to_first_shard is None
    seconds = {"render": 2.0, "measure": 0.5, "commit": 0.25}
    noted = {"no_face": 3, "not_measured": 4, "failed": 1}
    book.take(finished(receipt(manifest, 0), seconds=seconds))
    book.take(finished(receipt(manifest, 1, dlib=noted, geometry={"no_pose": 2}), seconds=seconds))
    book.take(Event("said", text="a worker of generate was lost", lost=True))
    book.take(Event("waiting"))
    book.save(DONE)
    record = only(store)
    assert (record.state, record.shards, record.rows, record.bytes) == (DONE, 2, 40, 2000)
    assert record.lost == 1 and record.quarantined == 0 and record.error == ""
    assert record.rejects == {"dlib no_face": 3, "dlib failed": 1, "geometry no_pose": 2}
    assert record.stage_seconds == {"render": 4.0, "measure": 1.0, "commit": 0.5}
    assert record.stage_rows == {"render": 40, "measure": 40, "commit": 40}
    assert 0 <= record.seconds_to_first_shard <= record.seconds
    assert record.updated >= record.started


def test_rows_that_are_only_rendered_count_in_that_stage_alone(store):
    manifest = manifest_of(40)
    book = ledger(store, manifest, 40)
    book.take(Event("rendered", Outcome(0, images=b"...", seconds={"render": 1.0})))
    assert (book.record.stage_rows, book.record.rows) == ({"render": 20}, 0)
    book.take(finished(receipt(manifest, 0), seconds={"measure": 1.0}))
    assert (book.record.stage_rows, book.record.rows) == ({"render": 20, "measure": 20}, 20)


@pytest.mark.parametrize(("state", "error"), [(FAILED, "RunError: why"), ("stopped", "")])
def test_the_record_says_how_a_run_ended(store, state, error):
    ledger(store, manifest_of(20), 20).save(state, error)
    assert (only(store).state, only(store).error) == (state, error)


def test_only_rejects_have_a_reason():
    made = receipt(manifest_of(20), 0, dlib={"no_face": 2, "not_measured": 3}, geometry={})
    assert rejects(made) == {"dlib no_face": 2}


def test_a_shard_that_is_given_up_is_quarantined_and_released_once_it_is_made(store, capsys):
    manifest = manifest_of(60)
    why = "no answer in 300 s (render, 3 times)"
    book = ledger(store, manifest, 60, max_failed=1.0)
    book.take(Event("finished", Outcome(1, failure=why)))
    assert book.failures == {1: why}
    assert quarantined(store, manifest) == {1: why}
    assert (book.record.quarantined, book.record.rows) == (1, 0)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["text"] == f"shard 1 is quarantined: {why}"

    later = ledger(store, manifest, 40, known=[1])
    later.take(finished(receipt(manifest, 1)))
    assert quarantined(store, manifest) == {} and not store.names("quarantine")


def test_notes_of_shards_that_are_not_made_stay(store):
    manifest = manifest_of(60)
    quarantine(store, manifest, 2, "why")
    book = ledger(store, manifest, 40, known=[2])
    book.take(finished(receipt(manifest, 1)))
    assert quarantined(store, manifest) == {2: "why"}


def test_what_stops_a_run_is_said_with_its_share_and_reason(store):
    manifest = manifest_of(1000)
    book = ledger(store, manifest, 1000)
    book.take(finished(receipt(manifest, 0, geometry={"failed": 3})))
    with pytest.raises(RunError) as stopped:
        book.take(finished(receipt(manifest, 1, geometry={"failed": 2, "crashed": 1}, dlib={})))
    told = str(stopped.value)
    assert told.startswith("generate: 6 of 40 rows failed")
    assert "(extractor 'geometry'), more than engine.max_failed 0.05 allows" in told
    assert "its shard cannot be read" in told  # the reason stands in the shard, which is not there


def test_a_few_quarantined_shards_stop_nothing_and_many_do(store):
    manifest = manifest_of(1000)
    book = ledger(store, manifest, 1000)
    for shard in (4, 2):
        book.take(Event("finished", Outcome(shard, failure="it hangs")))
    with pytest.raises(RunError, match=r"3 of 3 shards could not be made.*shard 2: it hangs\."):
        book.take(Event("finished", Outcome(9, failure="it crashes")))
    assert quarantined(store, manifest) == {2: "it hangs", 4: "it hangs", 9: "it crashes"}


def test_a_repair_is_not_judged(store):
    manifest = manifest_of(1000)
    book = ledger(store, manifest, 1000, judge=False)
    for shard in range(10):
        book.take(Event("finished", Outcome(shard, failure="it hangs")))
        book.take(finished(receipt(manifest, shard + 10, dlib={"failed": 20})))
    assert len(book.failures) == 10


def test_what_another_run_made_is_no_work_of_this_one(store):
    manifest = manifest_of(1000)
    book = ledger(store, manifest, 1000)
    made = finished(receipt(manifest, 0)).outcome
    book.take(Event("finished", replace(made, seconds={})))
    assert (book.record.rows, book.record.shards, book.record.bytes) == (0, 0, 0)


shards = st.lists(
    st.one_of(
        st.none(),  # given up
        st.tuples(*[st.integers(0, 6)] * 3, st.integers(0, 20)),  # of dlib, late of geometry
    ),
    min_size=1,
    max_size=12,
)


@given(
    outcomes=shards,
    share=st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0]) | st.floats(0, 1),
    total=st.integers(1, 240),
)
@example(outcomes=[(4, 1, 6, 0)], share=0.05, total=240)  # five of the first hundred may fail
@example(outcomes=[(6, 0, 0, 0)], share=0.05, total=240)
@example(outcomes=[(1, 0, 0, 0)], share=0.05, total=20)  # of twenty, one
@example(outcomes=[(2, 0, 0, 0)], share=0.05, total=20)
@example(outcomes=[(0, 0, 6, 1)], share=0.0, total=240)
@example(outcomes=[None, None], share=1.0, total=20)
def test_a_run_is_stopped_once_more_fail_than_it_allows(scratch, outcomes, share, total):
    manifest = manifest_of(240)
    book = ledger(scratch, manifest, total, max_failed=share)
    failed, given_up = dict.fromkeys(NAMES, 0), 0
    for shard, counts in enumerate(outcomes):
        if counts is None:
            event = Event("finished", Outcome(shard, failure="why"))
            given_up += 1
        else:
            failures, crashes, faceless, late = counts
            of_dlib = {"failed": failures, "crashed": crashes, "no_face": faceless}
            event = finished(receipt(manifest, shard, dlib=of_dlib, geometry={"timeout": late}))
            lost = {"dlib": failures + crashes, "geometry": late}
            failed = {name: failed[name] + lost[name] for name in NAMES}
        if given_up >= FEW and given_up > share * (shard + 1):
            with pytest.raises(RunError, match=f"{given_up} of {shard + 1} shards"):
                book.take(event)
            return
        seen = 20 * (shard + 1 - given_up)
        if max(failed.values()) > share * max(seen, min(total, ENOUGH)):
            with pytest.raises(RunError, match=f"{max(failed.values())} of {seen} rows failed"):
                book.take(event)
            return
        book.take(event)

"""Tags: made, moved and removed by compare-and-swap, by several processes at once."""

from __future__ import annotations

import multiprocessing
import shutil
from datetime import UTC, datetime, timedelta
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConflictError, InputError
from storage import artefacts, tags
from storage.catalog import Catalog
from storage.tag_table import FOLDER, Target
from tests.storage.sample_cards import sample_card

LOCAL, S3 = (4, 5), (3, 3)  # movers at once, and how often


@pytest.fixture
def catalog(tmp_path) -> Catalog:
    """Three versions of one lineage, from three commits."""
    catalog = Catalog(tmp_path / "catalog")
    for seed in (1, 2, 3):
        catalog.publish([sample_card(seed)])
    return catalog


def id_of(seed: int) -> str:
    return sample_card(seed).direction_id


def test_a_tag_is_made_moved_and_removed(catalog):
    assert tags.current(catalog.url) == {} and tags.changes(catalog.url) == ()
    made = tags.set_tag(catalog, "production", id_of(1))
    assert (made.target, made.previous) == (Target(id_of(1), 1), None)
    moved = tags.set_tag(catalog, "production", id_of(2)[:8], expected=id_of(1)[:8])
    assert (moved.target, moved.previous) == (Target(id_of(2), 2), Target(id_of(1), 1))
    tags.set_tag(catalog, "beta.1", id_of(3))
    assert tags.current(catalog.url).keys() == {"beta.1", "production"}
    removed = tags.remove_tag(catalog, "production")
    assert (removed.target, removed.previous) == (None, Target(id_of(2), 2))
    assert [*tags.current(catalog.url)] == ["beta.1"]
    assert tags.changes(catalog.url, "production") == (made, moved, removed)
    again = tags.set_tag(catalog, "production", id_of(1), expected=tags.NOTHING)
    assert again.previous is None


def test_a_tag_that_points_there_already_is_left(catalog):
    made = tags.set_tag(catalog, "production", id_of(1))
    assert tags.set_tag(catalog, "production", id_of(1)) == made
    assert tags.changes(catalog.url) == (made,)


def test_a_version_of_a_direction_that_was_measured_twice(catalog):
    catalog.publish([sample_card(1)], publication_id="measured again")
    assert tags.set_tag(catalog, "new", id_of(1)).target == Target(id_of(1), 4)
    assert tags.set_tag(catalog, "old", id_of(1), version=1).target == Target(id_of(1), 1)
    with pytest.raises(InputError, match="2 is no version of direction .* version 1, 4"):
        tags.set_tag(catalog, "none", id_of(1), version=2)


@pytest.mark.parametrize("expected", [tags.NOTHING, "0" * 32, "{}@7", Target("0" * 32, 1)])
def test_what_was_not_expected_is_told_and_nothing_changes(catalog, expected):
    made = tags.set_tag(catalog, "production", id_of(1))
    if isinstance(expected, str):
        expected = expected.format(id_of(1))
    for change in (
        lambda: tags.set_tag(catalog, "production", id_of(2), expected=expected),
        lambda: tags.set_tag(catalog, "production", id_of(1), expected=expected),
        lambda: tags.remove_tag(catalog, "production", expected=expected),
    ):
        with pytest.raises(ConflictError, match=f"points at {id_of(1)}@1 .* Nothing was changed"):
            change()
    assert tags.changes(catalog.url) == (made,)


def test_a_tag_that_is_gone_is_a_conflict_for_who_expects_it(catalog):
    with pytest.raises(ConflictError, match="'production' of .* is not there; expected"):
        tags.set_tag(catalog, "production", id_of(1), expected=id_of(2))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "expected 1 to 100 letters"),
        ("a b", "expected 1 to 100 letters"),
        ("-x", "the first of them no '-'"),
        ("x" * 101, "expected 1 to 100 letters"),
        ("übung", "expected 1 to 100 letters"),
        ("cafe", "could be the first digits of an id"),
        ("2026", "could be the first digits of an id"),
    ],
)
def test_names_that_a_tag_cannot_have(catalog, name, says):
    with pytest.raises(InputError, match=says):
        tags.set_tag(catalog, name, id_of(1))
    assert not tags.looks_like_tag(name)


@given(st.text("0123456789abcdefABCDEF", min_size=1))
def test_no_start_of_an_id_is_a_tag(text):
    assert not tags.looks_like_tag(text)
    with pytest.raises(InputError):
        tags.check_name(text)


def test_wrong_words(catalog):
    tags.set_tag(catalog, "production", id_of(1))
    with pytest.raises(InputError, match="unknown tag 'prodction'; did you mean 'production'"):
        tags.remove_tag(catalog, "prodction")
    with pytest.raises(InputError, match="expected 'staging' came; it is where the tag points"):
        tags.set_tag(catalog, "production", id_of(2), expected="staging")
    with pytest.raises(InputError, match="was opened as of 1"):
        tags.set_tag(Catalog(catalog.url, as_of=1), "production", id_of(1))


def test_tags_as_of_a_commit_and_a_time(catalog):
    tags.set_tag(catalog, "production", id_of(1))
    between = datetime.now(UTC)
    catalog.publish([sample_card(4)])
    tags.set_tag(catalog, "production", id_of(4))
    tags.remove_tag(catalog, "production")
    assert tags.current(catalog.url, as_of=2) == {}
    assert tags.current(catalog.url, as_of=3)["production"].target == Target(id_of(1), 1)
    assert tags.current(catalog.url, as_of=between)["production"].target == Target(id_of(1), 1)
    assert tags.current(catalog.url, as_of=between - timedelta(days=1)) == {}
    assert tags.current(catalog.url, as_of=4) == {}


def test_readers_of_the_catalogue_pass_over_tags_and_artefacts(catalog):
    tags.set_tag(catalog, "production", id_of(1))
    kept = artefacts.put(catalog.url, artefacts.pack({"w": sample_card(1).vector}), "matrix")
    table = DeltaTable(catalog.url)
    files = pa.table(table.get_add_actions(flatten=True))
    assert sum(files["num_records"].to_pylist()) == 3
    removed = table.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    assert removed == []
    catalog.publish([sample_card(4)])
    assert catalog.table().num_rows == 4
    assert tags.current(catalog.url)["production"].target == Target(id_of(1), 1)
    assert artefacts.kept(catalog.url) == {kept.sha256: kept.bytes}


def test_a_catalogue_that_was_moved_takes_its_tags_along(catalog, tmp_path):
    tags.set_tag(catalog, "production", id_of(1))
    shutil.move(catalog.url, tmp_path / "elsewhere")
    moved = Catalog(tmp_path / "elsewhere")
    assert tags.current(moved.url)["production"].target == Target(id_of(1), 1)
    tags.set_tag(moved, "production", id_of(2), expected=id_of(1))
    # another catalogue at the first one's place begins without tags, in the same process too
    assert tags.current(catalog.url) == {}
    catalog.publish([sample_card(5)])
    tags.set_tag(catalog, "other", id_of(5))
    assert [*tags.current(catalog.url)] == ["other"]


def test_tags_of_a_newer_version_are_refused(catalog):
    tags.set_tag(catalog, "production", id_of(1))
    table = DeltaTable(f"{catalog.url}/{FOLDER}")
    table.alter.set_table_properties({"latentlode.tagsVersion": "2"}, raise_if_not_exists=False)
    with pytest.raises(InputError, match="has version 2 of the tags, .* install a newer one"):
        tags.current(catalog.url)


def test_the_files_of_many_changes_are_joined(catalog, monkeypatch):
    monkeypatch.setattr(tags, "_TIDY", 4)
    for number in range(10):
        tags.set_tag(catalog, "production", id_of(1 + number % 2))
    assert len(DeltaTable(f"{catalog.url}/{FOLDER}").file_uris()) < 5
    moved = tags.changes(catalog.url, "production")
    assert [change.target for change in moved] == [Target(id_of(1), 1), Target(id_of(2), 2)] * 5
    assert [change.previous for change in moved] == [None, *(c.target for c in moved[:-1])]


def move_at_once(
    url: str, worker: int, movers: int, rounds: int, ready: Barrier, results: Queue
) -> None:
    """Per round: move a tag that all move, as seen before, and one that nobody else touches."""
    catalog = Catalog(url)
    for round_ in range(rounds):
        first = tags.current(url).get("shared")
        expected = first.target if first else tags.NOTHING
        own = tags.set_tag(catalog, f"own.{worker}", id_of(1 + round_ % 2))
        ready.wait(60)
        try:
            shared = tags.set_tag(
                catalog, "shared", id_of(round_ * movers + worker), expected=expected
            )
            results.put((round_, worker, own.name, shared.target))
        except Exception as error:
            results.put((round_, worker, own.name, error))
        ready.wait(60)


def moved_at_once(catalog: Catalog, movers: int, rounds: int) -> None:
    """Of the processes that move one tag at once exactly one wins, and the others are told."""
    catalog.publish([sample_card(seed) for seed in range(movers * rounds)])
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(movers), context.Queue()
    workers = [
        context.Process(
            target=move_at_once, args=(catalog.url, worker, movers, rounds, ready, results)
        )
        for worker in range(movers)
    ]
    for worker in workers:
        worker.start()
    told = [results.get(timeout=120) for _ in range(movers * rounds)]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    won = []
    for round_ in range(rounds):
        answers = [answer for at, _, _, answer in told if at == round_]
        winners = [answer for answer in answers if isinstance(answer, Target)]
        lost = [answer for answer in answers if isinstance(answer, ConflictError)]
        assert (len(winners), len(lost)) == (1, movers - 1), answers
        assert all(f"points at {winners[0]}" in str(error) for error in lost)
        won += winners
    shared = tags.changes(catalog.url, "shared")
    assert [change.target for change in shared] == won
    assert [change.previous for change in shared] == [None, *won[:-1]]
    for worker in range(movers):  # a change of another tag never makes one lose
        assert len(tags.changes(catalog.url, f"own.{worker}")) == rounds
    numbers = [change.number for change in tags.changes(catalog.url)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_movers_at_once(tmp_path):
    moved_at_once(Catalog(tmp_path / "catalog"), *LOCAL)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_movers_at_once_on_s3(bucket):
    moved_at_once(Catalog(f"{bucket}/catalog"), *S3)

"""Earlier states, and what a process keeps of a catalogue between its calls."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from schemas.errors import InputError, StorageError
from storage import delta, log, snapshots
from storage.catalog import Catalog
from tests.storage.sample_cards import sample_card


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """An empty place for a catalogue."""
    return Catalog(tmp_path / "catalog")


def publish_apart(catalog: Catalog, *seeds: int) -> list[datetime]:
    """Publish one card after the other, and a time between every two commits."""
    times = []
    for seed in seeds:
        catalog.publish([sample_card(seed)])
        time.sleep(0.005)
        times.append(datetime.now(UTC))
        time.sleep(0.005)
    return times


def seeds(catalog: Catalog, **wanted) -> list[int]:
    return [card.provenance.seed for card in catalog.cards(**wanted, all_versions=True)]


def test_as_of_a_commit(catalog):
    publish_apart(catalog, 1, 2, 3)
    for commit in (1, 2, 3):
        past = Catalog(catalog.url, as_of=commit)
        assert seeds(past) == list(range(1, commit + 1))
        assert [card.version for card in past.cards()] == [commit]  # the newest of that time
        assert past.best("smile").version == commit
        assert past.table()["latest"].to_pylist() == [False] * (commit - 1) + [True]
        assert len(past.history(sample_card(1).direction_id)) == commit
    with pytest.raises(InputError, match="is empty"):
        Catalog(catalog.url, as_of=0).cards()


def test_as_of_a_time(catalog):
    before = datetime.now(UTC) - timedelta(seconds=1)
    first, second, _ = publish_apart(catalog, 1, 2, 3)
    assert seeds(Catalog(catalog.url, as_of=first)) == [1]
    assert seeds(Catalog(catalog.url, as_of=second.isoformat())) == [1, 2]
    naive = second.replace(tzinfo=None)  # is UTC
    assert seeds(Catalog(catalog.url, as_of=naive.isoformat())) == [1, 2]
    east = second.astimezone(timezone(timedelta(hours=2)))
    assert seeds(Catalog(catalog.url, as_of=east)) == [1, 2]
    assert seeds(Catalog(catalog.url, as_of="2999-01-01")) == [1, 2, 3]
    with pytest.raises(InputError, match="the first commit known is of .*; expected a later time"):
        Catalog(catalog.url, as_of=before).cards()


@pytest.mark.parametrize("asked", ["yesterday", "", "12.5", "2026-13-01"])
def test_what_is_no_commit_and_no_time(asked):
    with pytest.raises(InputError, match="expected the number of a commit or a time"):
        Catalog("anywhere", as_of=asked)


def test_digits_are_a_commit(catalog):
    publish_apart(catalog, 1, 2)
    assert seeds(Catalog(catalog.url, as_of="1")) == [1]
    assert seeds(Catalog(catalog.url, as_of=" 2 ")) == [1, 2]
    for none in (3, -1, "20261120"):
        with pytest.raises(InputError, match="has the commits 0 to 2"):
            Catalog(catalog.url, as_of=none).cards()


def test_times_follow_commits_where_clocks_do_not():
    first = log.Commit(3, datetime.fromtimestamp(5, UTC), {"timestamp": 5_000})
    known = log.Log((first,), whole=False).extended(
        [{"timestamp": t} for t in (2_000, 7_000, None)]
    )
    assert [(c.number, c.at.timestamp()) for c in known.commits] == [(3, 5), (4, 5), (5, 7), (6, 7)]
    assert known.newest_at(datetime.fromtimestamp(5, UTC)) == 4
    assert known.newest_at(datetime.fromtimestamp(4, UTC)) is None
    assert known.newest_at(datetime.fromtimestamp(9, UTC)) == 6


def test_the_past_stays_where_rows_were_deleted_since(catalog):
    from deltalake import DeltaTable

    publish_apart(catalog, 1, 2)
    table = DeltaTable(catalog.url)
    table.alter.set_table_properties({"delta.appendOnly": "false"})
    table.delete(f"publication_id = '{catalog.cards()[0].publication_id}'")
    assert seeds(catalog) == [1]
    assert seeds(Catalog(catalog.url, as_of=2)) == [1, 2]
    assert [c.version for c in Catalog(catalog.url, as_of=2).cards()] == [2]


def shorten(catalog: Catalog, keep_from: int) -> None:
    """Clean the log up to a checkpoint."""
    from deltalake import DeltaTable

    DeltaTable(catalog.url).create_checkpoint()
    for file in Path(catalog.url, "_delta_log").glob("*.json"):
        if int(file.stem) < keep_from:
            file.unlink()


def test_a_shortened_log(catalog):
    times = publish_apart(catalog, 1, 2, 3)
    shorten(catalog, 3)
    publish_apart(catalog, 4)
    snapshots.forget()
    assert seeds(catalog) == [1, 2, 3, 4]
    assert catalog.table()["commit"].to_pylist() == [None, None, 3, 4]
    assert seeds(Catalog(catalog.url, as_of=3)) == [1, 2, 3]
    assert seeds(Catalog(catalog.url, as_of=times[2])) == [1, 2, 3]
    with pytest.raises(StorageError, match="at commit 1"):
        Catalog(catalog.url, as_of=1).cards()
    with pytest.raises(InputError, match="its log begins"):
        Catalog(catalog.url, as_of=times[0]).cards()


def test_a_log_of_checkpoints_alone_is_read(catalog):
    publish_apart(catalog, 1, 2)
    shorten(catalog, 3)
    snapshots.forget()
    assert seeds(catalog) == [1, 2] and seeds(catalog) == [1, 2]
    assert catalog.table()["commit"].to_pylist() == [None, None]


def test_what_another_process_publishes_is_seen(catalog):
    publish_apart(catalog, 1)
    other = Catalog(catalog.url)
    assert seeds(other) == [1]
    state = snapshots.current(catalog.url)
    publish_apart(catalog, 2, 3)
    assert seeds(other) == [1, 2, 3]
    assert other.table()["vector"].to_pylist()[2] == sample_card(3).vector.tolist()
    assert len(state) == 1  # what was handed out does not change
    assert snapshots.current(catalog.url) is snapshots.current(catalog.url)


def test_cards_stay_as_they_were_asked_for(catalog):
    publish_apart(catalog, 1)
    cards = catalog.cards()
    publish_apart(catalog, 2)
    assert [card.provenance.seed for card in cards] == [1]
    assert len(cards.table(vectors=True)) == 1


def test_compaction_between_calls(catalog):
    from deltalake import DeltaTable

    publish_apart(catalog, 1, 2, 3)
    cards = catalog.cards(all_versions=True)
    table = DeltaTable(catalog.url)
    table.optimize.compact()
    assert seeds(catalog) == [1, 2, 3]
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert seeds(catalog) == [1, 2, 3] and len(list(Path(catalog.url).glob("*.parquet"))) == 1
    assert [card.provenance.seed for card in cards] == [1, 2, 3]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_catalogue_made_anew_at_the_same_place(catalog, count):
    publish_apart(catalog, 1, 2)
    assert seeds(catalog) == [1, 2]
    shutil.rmtree(catalog.url)
    with pytest.raises(InputError, match="there is no catalogue at"):
        catalog.cards()
    publish_apart(catalog, *range(10, 10 + count))
    assert seeds(catalog) == list(range(10, 10 + count))


def test_a_swapped_folder_is_noticed(catalog, tmp_path):
    publish_apart(catalog, 1, 2)
    other = Catalog(tmp_path / "other")
    publish_apart(other, 3, 4, 5)
    assert seeds(catalog) == [1, 2]
    shutil.move(catalog.url, tmp_path / "aside")
    shutil.move(other.url, catalog.url)
    assert seeds(catalog) == [3, 4, 5]
    assert [card.vector.tolist() for card in catalog.cards()] == [sample_card(5).vector.tolist()]


def test_rows_of_another_program_are_seen(catalog):
    from deltalake import write_deltalake

    publish_apart(catalog, 1)
    rows = catalog.table().drop_columns(["version", "latest", "commit"])
    at = rows.schema.get_field_index("publication_id")
    rows = rows.set_column(at, rows.schema.field(at), [["foreign"]])
    write_deltalake(catalog.url, rows.cast(rows.schema), mode="append")
    assert sorted(c.publication_id == "foreign" for c in catalog.cards(all_versions=True)) == [0, 1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_read_only_storage_as_another_user(catalog):
    publish_apart(catalog, 1)
    read_only(catalog)
    assert seeds(catalog) == [1]


def read_only(catalog: Catalog) -> None:
    for path in (Path(catalog.url), *Path(catalog.url).rglob("*")):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))


def test_reading_writes_nothing(catalog):
    publish_apart(catalog, 1, 2)
    snapshots.forget()
    before = {path: path.stat().st_mtime_ns for path in Path(catalog.url).rglob("*")}
    read_only(catalog)
    assert seeds(catalog) == [1, 2]
    catalog.best("smile"), catalog.nearest(sample_card(9)), catalog.diff(1), catalog.frame()
    catalog.find("leak > 0")[0], Catalog(catalog.url, as_of=1).history(sample_card(1).direction_id)
    assert {path: path.stat().st_mtime_ns for path in Path(catalog.url).rglob("*")} == before


def test_threads_share_what_is_kept(catalog):
    publish_apart(catalog, 0)
    told: list[list[int]] = []

    def ask(worker: int) -> None:
        for turn in range(5):
            catalog.publish([sample_card(100 * worker + turn)])
            told.append(sorted(seeds(catalog)))
            assert catalog.nearest(sample_card(1000), all_versions=True)

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 20 and len(max(told, key=len)) == 21
    assert [card.version for card in catalog.cards(all_versions=True)] == list(range(1, 22))


def test_few_catalogues_are_kept(tmp_path):
    for index in range(12):
        publish_apart(Catalog(tmp_path / str(index)), index)
        assert seeds(Catalog(tmp_path / str(index))) == [index]
    assert len(snapshots._KEPT) <= 8
    assert seeds(Catalog(tmp_path / "0")) == [0]


def test_a_look_for_news_reads_no_data(catalog, monkeypatch):
    publish_apart(catalog, 1, 2)
    assert seeds(catalog) == [1, 2]
    scans = []
    monkeypatch.setattr(delta, "stream", lambda *args, **kwargs: scans.append(args))
    assert len(catalog.cards()) == 1 and not scans


@pytest.mark.timeout(120)
def test_all_of_it_on_s3(bucket):
    catalog = Catalog(f"{bucket}/catalog")
    (first,) = publish_apart(catalog, 1)
    assert seeds(catalog) == [1]
    publish_apart(Catalog(catalog.url), 2)
    assert seeds(catalog) == [1, 2]
    assert seeds(Catalog(catalog.url, as_of=1)) == seeds(Catalog(catalog.url, as_of=first)) == [1]
    assert catalog.nearest(sample_card(2), all_versions=True)[0][0].provenance.seed == 1
    assert catalog.diff(first).replaced[0].new_version == 2
    assert catalog.best("smile", where="truth > 0.5").version == 2

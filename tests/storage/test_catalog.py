"""The catalogue on a real Delta table in a folder."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import ConflictError, InputError, StorageError
from storage import snapshots
from storage.catalog import Catalog
from tests.storage.sample_cards import responses, sample_card


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """An empty place for a catalogue."""
    return Catalog(tmp_path / "catalog")


def log_files(catalog: Catalog) -> list[Path]:
    return sorted(Path(catalog.url, "_delta_log").glob("*.json"))


def test_published_cards_come_back(catalog):
    flat = sample_card(1)
    folded = sample_card(2, shape=(4, 6), space="w+", layers=(1, 2), truth_cosine=None)
    before = datetime.now(UTC)
    publication = catalog.publish([flat, folded])
    assert publication.written and publication.direction_ids == (
        flat.direction_id,
        folded.direction_id,
    )
    for card, back in zip((flat, folded), catalog.cards(), strict=True):
        assert back.direction_id == card.direction_id
        assert (back.version, back.publication_id) == (1, publication.publication_id)
        assert back.provenance.created_at == publication.created_at >= before
        assert back.responses == card.responses and back.layers == card.layers
        np.testing.assert_array_equal(back.vector, card.vector)


def test_a_publication_is_one_commit(catalog):
    catalog.publish([sample_card(seed) for seed in range(20)])
    assert len(log_files(catalog)) == 2  # the creation and the publication


def test_versions_are_ranks_within_the_lineage(catalog):
    catalog.publish([sample_card(1), sample_card(2, method="svm")])
    catalog.publish([sample_card(3), sample_card(4)])  # two versions in one commit
    catalog.publish([sample_card(5, generator_fingerprint="cd" * 32)])
    cards = catalog.cards(all_versions=True)
    assert [(card.provenance.seed, card.version) for card in cards] == [
        (1, 1),
        (2, 1),
        (3, 2),
        (4, 3),
        (5, 1),
    ]
    assert [card.provenance.seed for card in catalog.cards()] == [2, 4, 5]
    history = catalog.history(sample_card(3).direction_id)
    assert [card.provenance.seed for card in history] == [1, 3, 4]


def test_versions_follow_commits_and_not_clocks(catalog, monkeypatch):
    class Slow(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(days=1)

    first = catalog.publish([sample_card(1)])
    monkeypatch.setattr("storage.catalog.datetime", Slow)
    second = catalog.publish([sample_card(2)])
    assert second.created_at < first.created_at
    assert [card.provenance.seed for card in catalog.cards(all_versions=True)] == [1, 2]
    assert catalog.get(sample_card(2).direction_id).version == 2


def test_versions_survive_compaction_by_another_program(catalog):
    from deltalake import DeltaTable

    for seed in range(4):
        catalog.publish([sample_card(seed)])
    before = [(card.direction_id, card.version) for card in catalog.cards(all_versions=True)]
    assert DeltaTable(catalog.url).optimize.compact()["numFilesAdded"] == 1
    catalog.publish([sample_card(4)])
    after = [(card.direction_id, card.version) for card in catalog.cards(all_versions=True)]
    assert after[:4] == before and after[4][1] == 5


def test_versions_survive_a_shortened_log(catalog):
    from deltalake import DeltaTable

    for seed in range(4):
        catalog.publish([sample_card(seed)])
    table = DeltaTable(catalog.url)
    table.create_checkpoint()
    for file in log_files(catalog)[:3]:
        file.unlink()
    catalog.publish([sample_card(4)])
    snapshots.forget()  # as a process sees it that never saw the whole log
    cards = catalog.cards(all_versions=True)
    assert [card.provenance.seed for card in cards] == [0, 1, 2, 3, 4]
    assert catalog.table()["commit"].to_pylist() == [None, None, 3, 4, 5]


def test_publishing_again_writes_nothing(catalog):
    cards = [sample_card(1), sample_card(2)]
    first = catalog.publish(cards)
    files = log_files(catalog)
    again = catalog.publish(cards[::-1])  # the same content, whatever its order
    assert not again.written
    assert (again.publication_id, again.commit) == (first.publication_id, first.commit)
    assert (again.created_at, again.direction_ids) == (first.created_at, first.direction_ids)
    assert log_files(catalog) == files


def test_a_publication_id_is_published_once_whatever_its_cards(catalog):
    first = catalog.publish([sample_card(1)], "run-7")
    again = catalog.publish([sample_card(2)], "run-7")
    assert not again.written and again.direction_ids == first.direction_ids
    assert len(catalog.cards(all_versions=True)) == 1


def test_new_measurements_of_a_direction_are_its_next_version(catalog):
    catalog.publish([sample_card(1)])
    better = sample_card(1, responses=responses("smile", 5.0, leak=0.0))
    catalog.publish([better], "measured again")
    card = catalog.get(better.direction_id)
    assert (card.version, card.effect) == (2, 5.0)


def test_deleted_rows_are_not_taken_for_published(catalog):
    from deltalake import DeltaTable

    publication = catalog.publish([sample_card(1)])
    table = DeltaTable(catalog.url)
    table.alter.set_table_properties({"delta.appendOnly": "false"})
    table.delete()
    with pytest.raises(ConflictError, match=publication.publication_id):
        catalog.publish([sample_card(1)])
    with pytest.raises(InputError, match="is empty; run `make demo`"):
        catalog.cards()


def test_cards_are_found_by_what_they_are(catalog):
    catalog.publish(
        [
            sample_card(1),
            sample_card(2, method="svm", space="z"),
            sample_card(3, attribute="it's", generator="ffhq", generator_fingerprint="cd" * 32),
        ]
    )

    def seeds(**wanted):
        return [card.provenance.seed for card in catalog.cards(**wanted)]

    assert seeds(attribute="smile") == [1, 2]
    assert seeds(attribute="it's") == [3]
    assert seeds(space="Z") == [2]
    assert seeds(method="ridge", attribute="smile") == [1]
    assert seeds(generator="ffhq") == seeds(generator="cdcdcdcd") == [3]
    assert seeds(generator="ffhq", method="svm") == []


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"attribute": "smil"}, "unknown attribute 'smil'; did you mean 'smile'"),
        ({"method": "rigde"}, "did you mean 'ridge'"),
        ({"space": "w+"}, "unknown space 'w\\+'"),
        ({"generator": "haed"}, "did you mean 'head'"),
        ({"generator": "ab"}, "unknown generator 'ab'"),  # too few digits to name one
    ],
)
def test_unknown_names_are_told_the_nearest(catalog, wanted, says):
    catalog.publish([sample_card()])
    with pytest.raises(InputError, match=says):
        catalog.cards(**wanted)


def test_a_direction_is_found_by_the_first_digits_of_its_id(catalog):
    cards = [sample_card(seed) for seed in range(20)]  # more than 16: two share a first digit
    catalog.publish(cards)
    wanted = cards[3].direction_id
    assert catalog.get(wanted[:10].upper()).direction_id == wanted
    digits = [card.direction_id[0] for card in cards]
    shared = next(digit for digit in digits if digits.count(digit) > 1)
    with pytest.raises(InputError, match=f"'{shared}'.*{digits.count(shared)} start so"):
        catalog.get(shared)
    for none in ("xyz", wanted + "0"):
        with pytest.raises(InputError, match="none is"):
            catalog.get(none)
    for empty in ("", " "):
        with pytest.raises(InputError, match="the id is empty"):
            catalog.get(empty)


def test_nothing_is_published_among_the_files_of_others(tmp_path):
    (tmp_path / "thesis.tex").write_text("words")
    with pytest.raises(ConflictError, match="holds thesis.tex but no catalogue"):
        Catalog(tmp_path).publish([sample_card(1)])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_or_another_folder_is_no_catalogue(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file is a file and holds no catalogue"):
        Catalog(tmp_path / "file").publish([sample_card(1)])
    with pytest.raises(InputError, match="holds no catalogue; run `make demo`"):
        Catalog(tmp_path).cards()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_best_is_chosen_among_the_newest_versions(catalog):
    catalog.publish([sample_card(1, truth_cosine=0.99), sample_card(2, method="svm")])
    catalog.publish([sample_card(3, truth_cosine=0.5)])  # replaces the first
    assert catalog.best("smile").method == "svm"
    assert catalog.best("smile", space="W", method="ridge").provenance.seed == 3
    catalog.publish([sample_card(4, space="z", generator="ffhq")])
    with pytest.raises(InputError, match="none with space z, method svm"):
        catalog.best("smile", space="z", method="svm")


def test_nothing_published_yet_says_what_to_do(catalog, monkeypatch):
    for ask in (catalog.cards, catalog.table, lambda: catalog.get("ab"), lambda: catalog.best("x")):
        with pytest.raises(InputError, match="run `make demo` or `python jobs/mine_directions.py`"):
            ask()
    assert not Path(catalog.url).exists()  # reading creates nothing


def test_the_default_catalogue(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LODE_CATALOG", raising=False)
    assert Catalog().url == str(tmp_path / "runs" / "demo" / "catalog")
    monkeypatch.setenv("LODE_CATALOG", "s3://bucket/catalog/")
    assert Catalog().url == "s3://bucket/catalog"


@pytest.mark.parametrize("name", ["deep/er/catalog", "with space", "ümlaut & co"])
def test_folders_of_any_name_and_file_urls(tmp_path, name):
    Catalog(f"file://{tmp_path}/{name}").publish([sample_card()])
    assert len(Catalog(tmp_path / name).cards()) == 1


@pytest.mark.parametrize("name", ["a%20b", "a#b", "a?b", "a[1]", "a|b", "a\tb"])
def test_characters_that_delta_lake_loses_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot keep '.{1,2}' in a path"):
        Catalog(tmp_path / name)


def test_a_moved_catalogue_still_works(catalog, tmp_path):
    first = catalog.publish([sample_card(1)])
    shutil.move(catalog.url, tmp_path / "elsewhere")
    moved = Catalog(tmp_path / "elsewhere")
    assert moved.publish([sample_card(1)]).commit == first.commit
    moved.publish([sample_card(2)])
    assert [card.version for card in moved.cards(all_versions=True)] == [1, 2]


def test_as_of_an_earlier_commit(catalog):
    first = catalog.publish([sample_card(1)])
    catalog.publish([sample_card(2)])
    past = Catalog(catalog.url, as_of=first.commit)
    assert [card.provenance.seed for card in past.cards()] == [1]
    assert past.table()["commit"].to_pylist() == [first.commit]
    with pytest.raises(InputError, match="has the commits 0 to 2; 9 came"):
        Catalog(catalog.url, as_of=9).cards()
    with pytest.raises(InputError, match="as of commit 1"):
        past.publish([sample_card(3)])


def test_the_place_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="cannot be created"):
        Catalog(tmp_path / "file" / "catalog").publish([sample_card()])


def test_a_lost_data_file_is_an_error_and_not_a_gap(catalog):
    catalog.publish([sample_card(1)])
    catalog.publish([sample_card(2)])
    next(Path(catalog.url).glob("*.parquet")).unlink()
    snapshots.forget()
    with pytest.raises(StorageError, match="cannot be read.*parquet") as caught:
        catalog.cards()
    assert "\n" not in str(caught.value)


def test_a_broken_log_is_an_error(catalog):
    catalog.publish([sample_card(1)])
    log_files(catalog)[-1].write_text("{junk")
    for ask in (catalog.cards, lambda: catalog.publish([sample_card(2)])):
        with pytest.raises(StorageError, match="cannot be opened"):
            ask()


def test_a_newer_schema_is_refused(catalog):
    catalog.publish([sample_card()])
    creation = log_files(catalog)[0]
    text = creation.read_text()
    assert '"latentlode.schemaVersion":"1"' in text
    newer = text.replace('schemaVersion":"1"', 'schemaVersion":"2"')
    creation.write_text(newer.replace('schemaVersion\\":\\"1', 'schemaVersion\\":\\"2'))
    for ask in (catalog.cards, lambda: catalog.publish([sample_card(2)])):
        with pytest.raises(InputError, match="schema version 2, this LatentLode reads up to 1"):
            ask()


def test_another_delta_table_is_refused(catalog):
    import pyarrow as pa
    from deltalake import write_deltalake

    write_deltalake(catalog.url, pa.table({"a": [1]}))
    for ask in (catalog.cards, lambda: catalog.publish([sample_card()])):
        with pytest.raises(InputError, match="not a catalogue of LatentLode"):
            ask()


def test_nothing_and_twice_the_same_are_refused(catalog):
    with pytest.raises(InputError, match="no cards came"):
        catalog.publish([])
    with pytest.raises(InputError, match="came twice"):
        catalog.publish([sample_card(1), sample_card(1)])
    with pytest.raises(InputError, match="norm"):
        catalog.publish([sample_card(1), sample_card(2, vector=np.zeros(8, np.float32))])
    assert not Path(catalog.url).exists()


def test_the_log_is_kept(catalog):
    catalog.publish([sample_card()])
    lines = map(json.loads, log_files(catalog)[0].read_text().splitlines())
    kept = next(line["metaData"] for line in lines if "metaData" in line)["configuration"]
    assert kept["delta.logRetentionDuration"] == "interval 3650 days"
    assert kept["delta.enableExpiredLogCleanup"] == "false"


def test_other_readers_see_plain_columns(catalog):
    duckdb = pytest.importorskip("duckdb")
    import pandas as pd
    from deltalake import DeltaTable

    catalog.publish([sample_card(1), sample_card(2, truth_cosine=None, space="z")])
    paths = DeltaTable(catalog.url).file_uris()
    frame = pd.read_parquet(paths[0])
    assert frame["vector"][0].dtype == np.float32 and len(frame["vector"][0]) == 8
    assert frame["responses"][0][1]["attribute"] == "yaw"
    with duckdb.connect() as database:
        leaks = database.execute(
            "SELECT space, r.attribute, round(r.per_step / r.spread, 6) "
            "FROM (SELECT space, unnest(responses) AS r FROM read_parquet(?)) ORDER BY ALL",
            [paths],
        ).fetchall()
        mean = database.execute("SELECT avg(truth_cosine) FROM read_parquet(?)", [paths])
        assert mean.fetchone() == (0.9,)  # null, not NaN
    assert leaks == [
        (space, attribute, value)
        for space in ("w", "z")
        for attribute, value in (("smile", 1.5), ("yaw", 0.15))
    ]


def test_the_frame_has_derived_columns(catalog):
    catalog.publish([sample_card(1)])
    catalog.publish([sample_card(2)])
    frame = catalog.frame()
    assert frame["version"].tolist() == [1, 2]
    assert frame["latest"].tolist() == [False, True]
    assert frame["commit"].tolist() == [1, 2]


def test_sql_is_one_line(catalog):
    duckdb = pytest.importorskip("duckdb")
    catalog.publish([sample_card(1), sample_card(2, method="svm"), sample_card(3)])
    cards = catalog.table()
    rows = duckdb.sql("SELECT method, version FROM cards WHERE latest ORDER BY method").fetchall()
    assert rows == [("ridge", 2), ("svm", 1)] and cards.num_rows == 3

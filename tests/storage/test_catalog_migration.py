"""Tables of version 1, of today and of later, each read and written by the other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from schemas.directions import Calibration
from schemas.errors import InputError, StorageError
from storage import delta
from storage.card_table import SCHEMA, to_table
from storage.catalog import Catalog
from tests.storage.sample_cards import sample_card

_RESPONSE = pa.struct(
    [("attribute", pa.string()), ("unit", pa.string())]
    + [(name, pa.float64()) for name in ("per_step", "low", "high", "spread")]
)
_EVIDENCE = pa.struct([("name", pa.string()), ("value", pa.float64())])
_PACKAGE = pa.struct([("name", pa.string()), ("version", pa.string())])
# the first version's columns, as they were: name, type, whether it may be null
FIRST = [
    ("direction_id", pa.string(), False),
    ("attribute", pa.string(), False),
    ("unit", pa.string(), False),
    ("method", pa.string(), False),
    ("space", pa.string(), False),
    ("generator", pa.string(), False),
    ("generator_fingerprint", pa.string(), False),
    ("generator_licence", pa.string(), False),
    ("vector", pa.list_(pa.float32()), False),
    ("shape", pa.list_(pa.int32()), False),
    ("layers", pa.list_(pa.int32()), False),
    ("slope", pa.float64(), True),
    ("sigma", pa.float64(), True),
    ("effect", pa.float64(), True),
    ("effect_low", pa.float64(), True),
    ("effect_high", pa.float64(), True),
    ("effect_relative", pa.float64(), True),
    ("leak", pa.float64(), True),
    ("identity_cost", pa.float64(), True),
    ("truth_cosine", pa.float64(), True),
    ("responses", pa.list_(_RESPONSE), False),
    ("evidence", pa.list_(_EVIDENCE), False),
    ("dataset_id", pa.string(), False),
    ("seed", pa.int64(), False),
    ("settings", pa.string(), False),
    ("code_version", pa.string(), False),
    ("packages", pa.list_(_PACKAGE), False),
    ("notes", pa.string(), False),
    ("publication_id", pa.string(), False),
    ("position", pa.int32(), False),
    ("created_at", pa.timestamp("us", "UTC"), False),
]
FIRST_SCHEMA = pa.schema([pa.field(name, kind, nullable) for name, kind, nullable in FIRST])
NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
NEW = sample_card(2, stability=0.7, calibration=Calibration(0.5, -2.0, 3.0), source="a paper")


def write(folder: Path, schema: pa.Schema, seeds: Sequence[int]) -> None:
    """Publish a card, as a LatentLode with these columns does."""
    from deltalake import write_deltalake

    if delta.open_table(str(folder)) is None:
        configuration = {"latentlode.schemaVersion": "1", **delta.KEEP_HISTORY}
        delta.create_table(str(folder), schema, "latentlode catalogue", configuration)
    for seed in seeds:
        rows = to_table([sample_card(seed)], f"old {seed}", NOW)
        columns = [
            rows[f.name] if f.name in rows.schema.names else pa.nulls(1, f.type) for f in schema
        ]
        commit = delta.once(f"old {seed}", publication_id=f"old {seed}")
        table = delta.open_table(str(folder))
        rows = pa.table(columns, schema=schema)
        write_deltalake(table, rows, mode="append", commit_properties=commit)


@pytest.fixture
def old(tmp_path: Path) -> Catalog:
    """A catalogue with the first version's columns and one card."""
    write(tmp_path / "catalog", FIRST_SCHEMA, [1])
    return Catalog(tmp_path / "catalog")


def read_by_the_first(catalog: Catalog) -> pa.Table:
    """What a reader sees that knows the first version's columns alone."""
    table = delta.open_table(catalog.url)
    assert table is not None
    stored = pa.table(table.scan(columns=FIRST_SCHEMA.names))
    return stored.cast(FIRST_SCHEMA).sort_by("publication_id")


def test_the_first_columns_are_still_there_as_they_were():
    assert [SCHEMA.field(field.name) for field in FIRST_SCHEMA] == list(FIRST_SCHEMA)
    assert SCHEMA.names[: len(FIRST)] == FIRST_SCHEMA.names
    assert all(field.nullable for field in list(SCHEMA)[len(FIRST) :])


def test_an_old_table_is_read_with_nulls(old):
    (card,) = old.cards()
    assert card.direction_id == sample_card(1).direction_id and card.effect == 3.0
    assert card.calibration is None and card.artefact is None and card.source == ""
    table = old.table()
    assert table.schema.names[: len(SCHEMA.names)] == SCHEMA.names
    assert table["stability"].to_pylist() == [None]
    assert len(old.find("stability is null and leak < 1")) == 1


def test_reading_an_old_table_changes_nothing(old):
    before = sorted(path.name for path in Path(old.url).rglob("*"))
    old.cards(), old.best("smile"), old.nearest(sample_card(5))
    assert sorted(path.name for path in Path(old.url).rglob("*")) == before


def test_publishing_to_an_old_table_adds_the_columns(old):
    old.cards()
    publication = old.publish([NEW])
    assert publication.written and publication.commit == 3  # after the columns' own commit
    first, second = old.cards(all_versions=True)
    assert (first.version, second.version) == (1, 2)
    assert second.calibration == NEW.calibration and second.stability == 0.7
    assert second.source == "a paper" and first.source == ""
    assert old.table()["commit"].to_pylist() == [1, 3]
    assert old.publish([sample_card(3)]).commit == 4  # once is enough


def test_a_reader_of_the_first_version_reads_both(old):
    old.publish([NEW], "q")
    rows = read_by_the_first(old)
    assert rows["publication_id"].to_pylist() == ["old 1", "q"]
    assert rows["direction_id"].to_pylist()[1] == NEW.direction_id
    vectors = [sample_card(1).vector.tolist(), NEW.vector.tolist()]
    assert rows["vector"].to_pylist() == vectors


def test_columns_of_a_later_version_are_kept_and_ignored(tmp_path):
    later = pa.schema([*SCHEMA, pa.field("mood", pa.string()), pa.field("warmth", pa.float64())])
    write(tmp_path / "catalog", later, [1])
    catalog = Catalog(tmp_path / "catalog")
    assert len(catalog.cards()) == 1 and "mood" not in catalog.table().schema.names
    catalog.publish([NEW])
    assert [card.stability for card in catalog.cards()] == [0.7]
    table = delta.open_table(catalog.url)
    assert table is not None
    assert pa.table(table.scan(columns=["mood", "warmth"])).num_rows == 2


def test_a_column_that_a_later_version_needs_is_asked_for(tmp_path):
    later = pa.schema([*SCHEMA, pa.field("mood", pa.string(), nullable=False)])
    configuration = {"latentlode.schemaVersion": "1"}
    delta.create_table(str(tmp_path / "catalog"), later, "latentlode catalogue", configuration)
    with pytest.raises(InputError, match="needs a column 'mood'.*install a newer one"):
        Catalog(tmp_path / "catalog").publish([NEW])


def test_a_column_of_another_type_is_refused(tmp_path):
    changed = pa.schema([*FIRST_SCHEMA, pa.field("stability", pa.string())])
    url = str(tmp_path / "catalog")
    configuration = {"latentlode.schemaVersion": "1"}
    delta.create_table(url, changed, "latentlode catalogue", configuration)
    for ask in (Catalog(url).cards, lambda: Catalog(url).publish([NEW])):
        with pytest.raises(InputError, match="'stability' is string; expected double"):
            ask()


def test_a_missing_column_of_the_first_version_is_told(tmp_path):
    fewer = pa.schema([field for field in SCHEMA if field.name != "notes"])
    write(tmp_path / "catalog", fewer, [1])
    catalog = Catalog(tmp_path / "catalog")
    with pytest.raises(StorageError, match="lacks the columns notes"):
        catalog.cards()
    with pytest.raises(StorageError, match="lacks columns that no version"):
        catalog.publish([NEW])


@pytest.mark.parametrize(
    ("version", "says"), [("0", "which no LatentLode wrote"), ("2", "install a newer one")]
)
def test_another_schema_version_is_refused(tmp_path, version, says):
    configuration = {"latentlode.schemaVersion": version}
    url = str(tmp_path / "catalog")
    delta.create_table(url, SCHEMA, "latentlode catalogue", configuration)
    for ask in (Catalog(url).cards, lambda: Catalog(url).publish([NEW])):
        with pytest.raises(InputError, match=f"has schema version {version}.*{says}"):
            ask()


def publish_new(url: str, seed: int) -> int | None:
    return Catalog(url).publish([sample_card(seed, stability=0.5)]).commit


def test_many_publishers_add_the_columns_once(old):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        commits = pool.starmap(publish_new, [(old.url, seed) for seed in range(10, 18)])
    assert sorted(commits) == list(range(3, 11))  # 0 to 2: creation, the old card, the columns
    assert [card.version for card in old.cards(all_versions=True)] == list(range(1, 10))

"""Checking a dataset: every kind of damage is found and named, and nothing is written."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mining.description import describe
from mining.sampling import Measurer, Renderer
from schemas.errors import CorruptDataError, InputError
from schemas.settings import RunSettings
from storage.files import Store
from storage.manifest import Manifest, claim
from storage.shards import commit, encode
from storage.verify import STRANGER, UNMADE, Findings, Problem, verify

POINTS = "tests.examples.points"
SHARDS = 3
FILE, RECEIPT = "data/train-00001-of-00003.parquet", "receipts/00001.json"


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return describe(
        RunSettings.model_validate(
            {
                "generator": {"name": f"{POINTS}:PointsGenerator"},
                "extractors": {f"{POINTS}:PointsExtractor": {"blind_every": 5}},
                "dataset": {"samples": 25, "shard_size": 10, "thumbnail": 0},
            }
        )
    )


@pytest.fixture(scope="module")
def tables(manifest) -> list[pa.Table]:
    render, measure = Renderer(manifest), Measurer(manifest)
    return [measure(render(shard)) for shard in range(SHARDS)]


@pytest.fixture
def store(tmp_path, manifest, tables) -> Store:
    store = Store(str(tmp_path / "dataset"))
    claim(store, manifest)
    for shard, table in enumerate(tables):
        commit(store, manifest, shard, table)
    return store


def everything(store: Store) -> dict[str, str]:
    """Relative path -> SHA-256 of each file, "" for each folder; scratch files too."""
    root = Path(store.root)
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in root.rglob("*")
    }


def checked(store: Store) -> Findings:
    """The findings, after which everything stands as before."""
    before = everything(store)
    findings = verify(store.url)
    assert everything(store) == before
    return findings


def only(store: Store, shard: int | None = 1) -> Problem:
    """The one problem; where a shard is named, the other shards are whole."""
    findings = checked(store)
    (found,) = findings.problems
    assert found.shard == shard
    assert findings.rows == (25 if shard is None else 15)
    return found


def flip(store: Store, name: str, at: int) -> None:
    data = bytearray(store.read(name))
    data[at] ^= 1
    store.replace(name, bytes(data))


def edit_receipt(store: Store, **changes) -> None:
    stored = json.loads(store.read(RECEIPT))
    store.replace(RECEIPT, json.dumps({**stored, **changes}).encode())


def put(store: Store, data: bytes) -> None:
    """A file in place of shard 1's, with its length and hash in the receipt."""
    store.replace(FILE, data)
    edit_receipt(store, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_an_undamaged_dataset_has_no_problems(store, manifest):
    told = []
    findings = verify(store.url, told.append)
    assert findings == Findings(manifest.dataset_id, SHARDS, 25, ())
    assert checked(store).broken == []
    assert told == [[], [], []]


def test_every_flipped_byte_is_found(store):
    size = len(store.read(FILE))
    for at in (0, 500, size // 2, size - 1):
        flip(store, FILE, at)
        found = only(store)
        assert found.file == FILE
        assert "SHA-256" in found.what and "the receipt says" in found.what
        flip(store, FILE, at)
    assert not checked(store).problems


def test_a_truncated_file_is_found(store):
    size = len(store.read(FILE))
    store.replace(FILE, store.read(FILE)[:-7])
    assert only(store) == Problem(1, FILE, f"{size - 7} bytes, the receipt says {size}")


def test_an_empty_file_is_found_though_its_receipt_agrees(store):
    put(store, b"")
    found = only(store)
    assert found.file == FILE and "cannot be read as Parquet" in found.what


def test_a_missing_file_is_found(store):
    store.remove(FILE)
    assert only(store) == Problem(1, FILE, "missing")


def test_a_missing_receipt_is_found(store):
    store.remove(RECEIPT)
    assert only(store) == Problem(1, RECEIPT, "missing, though the shard's file is there")


def test_a_damaged_page_is_found_without_a_receipt(store):
    store.remove(RECEIPT)
    flip(store, FILE, 2000)  # inside the pages of the latents
    missing, damaged = checked(store).problems
    assert (missing.file, damaged.file) == (RECEIPT, FILE)
    assert "CRC" in damaged.what


def test_shards_that_are_not_made_are_listed(store, manifest):
    for shard in (0, 2):
        store.remove(manifest.shard_file(shard))
        store.remove(manifest.receipt_file(shard))
    findings = checked(store)
    assert findings.rows == 10
    assert findings.broken == [0, 2]
    assert {found.what for found in findings.problems} == {UNMADE}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset_id": "f" * 16}, "says dataset ffffffffffffffff, expected"),
        ({"shard": 2}, "says shard 2, expected 1"),
        ({"file": "../elsewhere.parquet"}, "says file ../elsewhere.parquet, expected data/train"),
        ({"rows": 9}, "says rows 9, expected 10"),
        ({"statuses": {"points": {"ok": 10}}}, "says statuses {'points': {'ok': 10}}, the file"),
        ({"stranger": 1}, "is not a receipt"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_receipt_that_does_not_fit_is_found(store, changes, said):
    edit_receipt(store, **changes)
    found = only(store)
    assert found.file == RECEIPT
    assert said in found.what


def test_a_receipt_that_is_no_json_is_found(store):
    store.replace(RECEIPT, b"\xff{")
    assert "is not a receipt" in only(store).what


def test_foreign_parquet_with_a_fitting_receipt_is_found(store):
    put(store, parquet(pa.table({"index": range(10, 20), "sales": range(10)})))
    found = only(store)
    assert found.file == FILE
    assert found.what == "column index: int64 came, expected sample_id: string not null"


def test_too_few_columns_are_found(store):
    table = pq.read_table(io.BytesIO(store.read(FILE)))
    put(store, parquet(table.select(table.column_names[:-1])))
    columns = table.num_columns
    assert only(store).what == f"{columns - 1} columns, expected {columns}"


def test_the_same_columns_of_another_dataset_are_found(store):
    table = pq.read_table(io.BytesIO(store.read(FILE)))
    put(store, parquet(table.replace_schema_metadata({"dataset": "e" * 16})))
    assert "is of dataset eeeeeeeeeeeeeeee, expected" in only(store).what
    put(store, parquet(table.replace_schema_metadata(None)))
    assert "is of dataset none, expected" in only(store).what


def test_rows_in_another_order_are_found(store, manifest, tables):
    put(store, encode(tables[1].take(list(range(9, -1, -1))), manifest))
    assert only(store) == Problem(1, FILE, "row 0 has index 19, expected 10")


def test_missing_rows_are_found(store, manifest, tables):
    put(store, encode(tables[1].slice(0, 9), manifest))
    assert only(store).what == "9 rows, expected 10"


def test_wrong_sample_ids_are_found(store, manifest, tables):
    at = tables[1].column_names.index("sample_id")
    ids = ["x", *manifest.sample_ids(1)[1:]]
    put(store, encode(tables[1].set_column(at, "sample_id", pa.array(ids)), manifest))
    assert "row 0 has sample_id x, expected" in only(store).what


def test_other_bytes_of_the_same_rows_are_no_problem(store, manifest):
    # as another Parquet library might write them
    put(store, parquet(pq.read_table(io.BytesIO(store.read(FILE)))))
    assert not checked(store).problems


@pytest.mark.parametrize(
    "name", ["data/train-00001-of-00004.parquet", "data/notes/a.txt", "receipts/00003.json"]
)
def test_strangers_are_listed(store, name):
    store.create(name, b"x")
    expected = "data/notes" if "notes" in name else name
    assert only(store, shard=None) == Problem(None, expected, STRANGER)


def test_a_changed_manifest_is_told_from_damaged_shards(store, manifest):
    content = json.loads(manifest.to_bytes())
    content["dataset"]["seed"] = 1
    store.replace("manifest.json", json.dumps(content).encode())
    first = checked(store).problems[0]
    assert first.file == "manifest.json"
    assert first.what.endswith(f"all receipts are of dataset {manifest.dataset_id}")


def test_no_dataset_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"holds no manifest\.json"):
        verify(str(tmp_path / "none"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"{", CorruptDataError, "is not a manifest"),
        (b'{"format": 99}', InputError, "has format 99"),
        (b'{"format": 1}', CorruptDataError, "is damaged"),
        (b'{"format": 1, "dataset": {"samples": "9"}}', CorruptDataError, "is damaged"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_an_error(store, content, error, said):
    store.replace("manifest.json", content)
    with pytest.raises(error, match=said):
        verify(store.url)

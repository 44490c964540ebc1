"""What an export writes, refuses and leaves alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConflictError, CorruptDataError, InputError
from storage.croissant import croissant
from storage.dataset import Dataset
from storage.dataset_card import card
from storage.dataset_export import ExportConfig, export_here, export_to
from storage.derived import filtered
from storage.exported import Exported, origin
from storage.files import Store
from storage.manifest import claim, load
from storage.packing import packed
from storage.runs import DONE, RunRecord
from storage.verify import verify
from tests.storage.odd_dataset import BLIND, ODD, ROWS, manifest, truth, write


def digests(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return write(tmp_path / "dataset")


def test_in_place_two_files_are_added_and_nothing_else_changes(dataset, tmp_path):
    before = digests(tmp_path / "dataset")
    made = export_here(dataset)
    after = digests(tmp_path / "dataset")
    assert after.keys() - before.keys() == {"README.md", "croissant.json"}
    assert {name: after[name] for name in before} == before
    assert (made.rows, made.missing) == (ROWS, 0)
    assert made.bytes == sum(p.stat().st_size for p in (tmp_path / "dataset/data").iterdir())


def test_an_exported_dataset_is_verified_and_claimed_as_before(dataset):
    export_here(dataset)
    assert not verify(dataset.url).problems
    assert claim(Store(dataset.url), manifest()).dataset_id == dataset.dataset_id
    assert load(Store(dataset.url)).dataset_id == dataset.dataset_id


def test_in_place_again_is_the_same_and_another_file_is_kept(dataset, tmp_path):
    export_here(dataset, ExportConfig(published="2026-03-01"))
    before = digests(tmp_path)
    export_here(dataset, ExportConfig(published="2026-03-01"))
    assert digests(tmp_path) == before
    (tmp_path / "dataset" / "README.md").write_text("my own words")
    before = digests(tmp_path)
    with pytest.raises(ConflictError, match="README.md stands there.*--force"):
        export_here(dataset, ExportConfig(published="2026-03-01"))
    assert digests(tmp_path) == before
    export_here(dataset, ExportConfig(published="2026-03-01", force=True))
    assert "my own words" not in (tmp_path / "dataset" / "README.md").read_text()


def test_the_chosen_rows_and_columns_are_written(dataset, tmp_path):
    names = ["points_yaw", ODD, "points_landmarks", "sample_id", "points_status"]
    made = export_to(dataset, str(tmp_path / "out"), "points_status != 'ok'", names)
    table = pq.read_table(tmp_path / "out" / "data")
    rows = np.flatnonzero(BLIND)
    assert table.column_names == names
    assert table.column("sample_id").to_pylist() == [truth()["sample_id"][1][row] for row in rows]
    assert table.column("points_landmarks").null_count == len(rows)
    odd = np.float32([truth()[ODD][1][row] for row in rows])
    assert table.column(ODD).to_numpy().tobytes() == odd.tobytes()
    assert made.statuses == {"points": {"no_face": len(rows)}}
    assert table.schema.field("points_yaw").metadata[b"unit"] == b"degrees"
    text = (tmp_path / "out" / "README.md").read_text()
    assert "those with `points_status != 'ok'`" in text


def test_a_short_name_of_an_attribute_gives_its_column(dataset, tmp_path):
    made = export_to(dataset, str(tmp_path / "out"), columns=["yaw"])
    assert [field.name for field in made.fields] == ["points_yaw"]
    assert made.statuses == {}  # no status column was chosen


def test_the_same_choice_gives_the_same_bytes(dataset, tmp_path):
    config = ExportConfig(file_bytes=6_000)
    for folder in ("one", "two"):
        export_to(dataset, str(tmp_path / folder), None, None, 17, 5, config)
    one = digests(tmp_path / "one")
    assert one == digests(tmp_path / "two") and len(one) > 4
    export_to(dataset, str(tmp_path / "three"), None, None, 17, 6, config)
    assert one != digests(tmp_path / "three")


def test_the_day_is_that_of_the_last_run(dataset, tmp_path):
    for day, updated in ((20_000, 20_000 * 86_400), (20_001, 20_001 * 86_400)):
        record = RunRecord(dataset.dataset_id, started=float(day), state=DONE)
        record.save(dataset.store)
        told = json.loads(dataset.store.read(record.name))
        dataset.store.replace(record.name, json.dumps(told | {"updated": updated}).encode())
    assert export_here(dataset).published == "2024-10-05"
    export_to(dataset, str(tmp_path / "out"))
    croissant = json.loads((tmp_path / "out" / "croissant.json").read_text())
    assert croissant["datePublished"] == "2024-10-05"


@pytest.mark.parametrize("most", [1, 3_000, 10**9])
def test_files_are_of_bounded_size_and_in_order(dataset, tmp_path, most):
    export_to(dataset, str(tmp_path / "out"), config=ExportConfig(file_bytes=most))
    files = sorted((tmp_path / "out" / "data").iterdir())
    tables = [pq.read_table(file) for file in files]
    assert all(table.nbytes <= most or len(table) == 1 for table in tables)
    assert len(files) == (ROWS if most == 1 else len(files)) and (most < 10**9 or len(files) == 1)
    ids = pa.concat_tables(tables).column("sample_id").to_pylist()
    assert ids == truth()["sample_id"][1]


@given(sizes=st.lists(st.integers(0, 40), max_size=6), most=st.integers(1, 300))
def test_packing_keeps_every_row(sizes, most):
    rows = iter(range(sum(sizes)))
    tables = [
        pa.table({"a": pa.array([next(rows) for _ in range(size)], "int64")}) for size in sizes
    ]
    made = list(packed(iter(tables), most))
    assert [each for table in made for each in table.column("a").to_pylist()] == [
        *range(sum(sizes))
    ]
    assert all(len(table) and (table.nbytes <= most or len(table) == 1) for table in made)


def test_no_row_is_an_error_and_writes_nothing(dataset, tmp_path):
    with pytest.raises(InputError, match="no row with points_faces > 1000"):
        export_to(dataset, str(tmp_path / "out"), "points_faces > 1000")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"where": "yaww > 1"}, "yaww"),
        ({"where": "points_yaw +"}, "--where"),
        ({"columns": ["nothing"]}, "nothing"),
        ({"sample": 0}, "sample 0"),
        ({"sample": 10_000}, "10,000"),
        ({"config": ExportConfig(published="1 March")}, "date '1 March'"),
        ({"config": ExportConfig(homepage="example.org")}, "homepage"),
        ({"config": ExportConfig(file_bytes=0)}, "file_bytes"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(dataset, tmp_path, arguments, said):
    before = digests(tmp_path)
    with pytest.raises(InputError, match=said):
        export_to(dataset, str(tmp_path / "out"), **arguments)
    assert digests(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_a_folder_in_the_datasets_own_is_refused(dataset, tmp_path):
    """A reader of data/ would find the rows twice, and `verify` a stranger."""
    before = digests(tmp_path)
    for inside in ("data/part", "part"):
        with pytest.raises(InputError, match="lies in the dataset itself"):
            export_to(dataset, f"{dataset.url}/{inside}", sample=3)
    assert digests(tmp_path) == before
    assert export_to(dataset, f"{dataset.url}_part", sample=3).rows == 3


def test_what_lacks_shards_is_refused_without_partial(tmp_path):
    dataset = write(tmp_path / "dataset", shards=[0, 2])
    for call in (lambda: export_here(dataset), lambda: export_to(dataset, str(tmp_path / "out"))):
        with pytest.raises(InputError, match="lacks 1 of 3 shards.*--partial"):
            call()
    assert not (tmp_path / "dataset" / "README.md").exists()

    (tmp_path / "dataset/data/train-00001-of-00003.parquet").write_bytes(b"being written")
    made = export_here(dataset, ExportConfig(partial=True))
    assert (made.missing, made.rows) == (1, 15)
    text = (tmp_path / "dataset" / "README.md").read_text()
    assert "1 of 3 shards are missing" in text
    assert "train-00000-of-00003" in text and "train-00001-of-00003" not in text
    export_to(dataset, str(tmp_path / "out"), config=ExportConfig(partial=True))
    assert len(pq.read_table(tmp_path / "out" / "data")) == 15


def test_a_dataset_without_any_shard_is_refused(tmp_path):
    with pytest.raises(InputError, match="no finished shard"):
        export_here(write(tmp_path, shards=[]), ExportConfig(partial=True))


def test_damage_is_told(dataset, tmp_path):
    shard = tmp_path / "dataset" / dataset.receipts[1].file
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CorruptDataError, match="lode dataset repair"):
        export_here(dataset)
    with pytest.raises(CorruptDataError, match="lode dataset repair"):
        export_to(dataset, str(tmp_path / "out"))
    assert not (tmp_path / "out" / "croissant.json").exists()


def test_an_earlier_export_is_replaced_only_by_force(dataset, tmp_path):
    out = tmp_path / "out"
    export_to(dataset, str(out), config=ExportConfig(file_bytes=3_000))
    before = digests(out)
    with pytest.raises(ConflictError, match="--force"):
        export_to(dataset, str(out), "points_yaw < 1")
    assert digests(out) == before
    made = export_to(dataset, str(out), "points_yaw < 1", config=ExportConfig(force=True))
    assert len(made.files) == 1 < len(before) - 2
    assert set(digests(out)) == {"README.md", "croissant.json", made.files[0].name}


def test_force_with_no_matching_row_leaves_the_earlier_export(dataset, tmp_path):
    out = tmp_path / "out"
    export_to(dataset, str(out))
    before = digests(out)
    with pytest.raises(InputError, match="no row"):
        export_to(dataset, str(out), "points_faces > 1000", config=ExportConfig(force=True))
    assert digests(out) == before


@pytest.mark.parametrize("stranger", ["notes.txt", "data/mine.parquet", "data/train-1.csv"])
def test_files_of_others_are_never_touched(dataset, tmp_path, stranger):
    path = tmp_path / "out" / stranger
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(ConflictError, match=f"holds {stranger}"):
        export_to(dataset, str(tmp_path / "out"), config=ExportConfig(force=True))
    assert path.read_text() == "mine"


def test_a_dataset_is_never_the_target(dataset, tmp_path):
    before = digests(tmp_path)
    for config in (None, ExportConfig(force=True)):
        with pytest.raises(ConflictError, match=r"manifest.json|receipts"):
            export_to(dataset, dataset.url, config=config)
    assert digests(tmp_path) == before


def test_a_derived_dataset_tells_its_parents_and_not_where_they_lay():
    parent, away = manifest(), "/somewhere/else"
    told = {"where": "points_yaw < 1", "columns": None, "sample": None, "seed": 0}
    child = filtered(parent, away, told, parent.fields, 4, "0" * 64, {"numpy": "2.4.6"})
    fields = tuple(child.fields)
    about = Exported(child, fields, (), {}, 0, "2026-03-01", steps=origin(child))
    text, metadata = card(about), croissant(about)
    assert f"- of `{parent.dataset_id}`: chosen: the rows with points_yaw \\< 1" in text
    assert parent.dataset_id in metadata
    assert away not in text + metadata


def test_a_target_that_cannot_be_written_is_told(dataset, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/below"):
        with pytest.raises(InputError, match=r"cannot be written|holds"):
            export_to(dataset, str(tmp_path / out), config=ExportConfig(force=True))
    assert (tmp_path / "file").read_text() == "mine"


def test_to_and_from_an_object_store(bucket, tmp_path):
    pytest.importorskip("s3fs")
    dataset = write(f"{bucket}/dataset")
    export_here(dataset)
    out = f"{bucket}/part"
    made = export_to(dataset, out, "points_yaw < 1", config=ExportConfig(file_bytes=3_000))
    store = Store(out)
    assert store.names() == ["README.md", "croissant.json", "data"]
    for file in made.files:
        assert hashlib.sha256(store.read(file.name)).hexdigest() == file.sha256
    with pytest.raises(ConflictError, match="--force"):
        export_to(dataset, out)
    again = export_to(dataset, out, "points_yaw < 1", ["yaw"], config=ExportConfig(force=True))
    assert store.names("data") == [file.name.removeprefix("data/") for file in again.files]
    assert not verify(f"{bucket}/dataset").problems

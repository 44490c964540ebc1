"""Shards and receipts: create-if-absent, checksums, and datasets that refuse to be mixed."""

from __future__ import annotations

import hashlib
import io
import json
import os

import pyarrow.parquet as pq
import pytest

from mining.description import describe
from mining.sampling import Measurer, Renderer
from schemas.errors import ConflictError, CorruptDataError, InputError
from schemas.samples import samples_schema
from schemas.settings import RunSettings
from storage.dataset import Dataset
from storage.files import Store
from storage.manifest import Manifest, claim
from storage.shards import check_files, commit, finished

POINTS = "tests.examples.points"


def manifest_of(**dataset) -> Manifest:
    return describe(
        RunSettings.model_validate(
            {
                "generator": {"name": f"{POINTS}:PointsGenerator"},
                "extractors": {f"{POINTS}:PointsExtractor": {}},
                "dataset": {"samples": 20, "shard_size": 10, "thumbnail": 0, **dataset},
            }
        )
    )


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return manifest_of()


@pytest.fixture(scope="module")
def tables(manifest):
    render, measure = Renderer(manifest), Measurer(manifest)
    return [measure(render(shard)) for shard in range(manifest.shards)]


@pytest.fixture
def store(tmp_path, manifest, tables) -> Store:
    store = Store(str(tmp_path / "dataset"))
    claim(store, manifest)
    for shard, table in enumerate(tables):
        commit(store, manifest, shard, table)
    return store


def test_a_dataset_reads_back_what_was_committed(store, tables):
    dataset = Dataset(store.url)
    assert dataset.complete
    assert dataset.rows == 20
    assert dataset.read(["index"]).column("index").to_pylist() == list(range(20))
    values, field = dataset.attribute("smile")
    assert values.shape == (20,)
    assert field.unit == "1"


def test_committing_again_changes_nothing(store, manifest, tables):
    before = store.read(manifest.shard_file(0)), store.read(manifest.receipt_file(0))
    commit(store, manifest, 0, tables[0])
    assert before == (store.read(manifest.shard_file(0)), store.read(manifest.receipt_file(0)))


def test_a_shard_without_its_receipt_does_not_exist_and_is_vouched_for_later(
    store, manifest, tables
):
    store.remove(manifest.receipt_file(1))
    assert list(finished(store, manifest)) == [0]
    assert Dataset(store.url).rows == 10
    commit(store, manifest, 1, tables[1])
    assert Dataset(store.url).complete


def test_a_broken_file_without_receipt_is_replaced(store, manifest, tables):
    store.remove(manifest.receipt_file(1))
    store.replace(manifest.shard_file(1), b"PAR1 but not really")
    commit(store, manifest, 1, tables[1])
    assert Dataset(store.url).read(["index"]).num_rows == 20


def test_a_damaged_page_without_receipt_is_replaced_not_vouched_for(store, manifest, tables):
    good = store.read(manifest.shard_file(1))
    store.remove(manifest.receipt_file(1))
    data = bytearray(good)
    data[good.index(b"PAR1") + 2000] ^= 1  # inside the pages of the latents
    store.replace(manifest.shard_file(1), bytes(data))
    commit(store, manifest, 1, tables[1])
    assert store.read(manifest.shard_file(1)) == good


def test_a_whole_shard_of_other_bytes_stands_and_is_vouched_for(store, manifest, tables):
    # as another Parquet library might write the same rows
    other = io.BytesIO()
    schema = samples_schema(manifest.fields, manifest.dataset_id)
    pq.write_table(tables[1].select(schema.names).cast(schema), other, compression="none")
    store.remove(manifest.receipt_file(1))
    store.replace(manifest.shard_file(1), other.getvalue())
    receipt = commit(store, manifest, 1, tables[1])
    assert store.read(manifest.shard_file(1)) == other.getvalue()
    assert receipt.sha256 == hashlib.sha256(other.getvalue()).hexdigest()


def test_a_receipt_without_its_shard_is_found(store, manifest):
    check_files(store, finished(store, manifest))
    store.remove(manifest.shard_file(0))
    with pytest.raises(CorruptDataError, match=r"1 shards are missing .* first data/train-00000"):
        check_files(store, finished(store, manifest))


def test_a_changed_byte_is_found(store, manifest):
    path = store.path(manifest.shard_file(0))
    data = bytearray(store.read(manifest.shard_file(0)))
    data[len(data) // 2] ^= 1
    store.replace(manifest.shard_file(0), bytes(data))
    with pytest.raises(CorruptDataError, match="do not match the receipt's checksum") as caught:
        Dataset(store.url).read(["index"])
    assert path in str(caught.value)


def test_a_receipt_of_another_dataset_is_found(store, manifest):
    name = manifest.receipt_file(0)
    stored = json.loads(store.read(name))
    store.replace(name, json.dumps({**stored, "dataset_id": "f" * 16}).encode())
    with pytest.raises(CorruptDataError, match="is of dataset ffff"):
        Dataset(store.url)


def test_rows_of_another_shard_are_refused(store, manifest, tables):
    with pytest.raises(CorruptDataError, match="shard 1: 10 rows came, expected indices 10..19"):
        commit(store, manifest, 1, tables[0])


def test_another_runs_dataset_is_refused_and_left_alone(store, manifest):
    before = {name: store.read(f"data/{name}") for name in store.names("data")}
    with pytest.raises(ConflictError, match=r"other dataset\.seed"):
        claim(store, manifest_of(seed=9))
    assert before == {name: store.read(f"data/{name}") for name in store.names("data")}


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path, manifest):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(ConflictError, match=r"holds holiday\.jpg but no manifest"):
        claim(Store(str(tmp_path)), manifest)
    assert os.listdir(tmp_path) == ["holiday.jpg"]


def test_a_manifest_of_a_later_format_is_refused(tmp_path, manifest):
    store = Store(str(tmp_path))
    content = {**manifest.content, "format": 99}
    store.create("manifest.json", json.dumps(content).encode())
    with pytest.raises(InputError, match="has format 99"):
        Dataset(store.url)


def test_a_damaged_manifest_is_found(tmp_path):
    (tmp_path / "manifest.json").write_bytes(b"{")
    with pytest.raises(CorruptDataError, match="is not a manifest"):
        Dataset(str(tmp_path))


def test_no_dataset_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="generate_dataset"):
        Dataset(str(tmp_path / "none"))


def test_shards_carry_units_but_no_trace_of_the_machine(store, manifest):
    schema = pq.read_schema(store.path(manifest.shard_file(0)))
    assert set(schema.metadata) == {b"table", b"version", b"dataset"}
    assert schema.field("points_landmarks").metadata[b"unit"] == b"fraction of the image"
    assert os.uname().nodename.encode() not in store.read(manifest.receipt_file(0))


def test_unknown_columns_name_the_nearest(store):
    with pytest.raises(InputError, match="did you mean 'points_smile'"):
        Dataset(store.url).read(["points_smle"])
    with pytest.raises(InputError, match="did you mean 'smile'"):
        Dataset(store.url).attribute("smle")


def test_other_libraries_may_read_a_finished_dataset_but_not_go_on_with_half_of_one(tmp_path):
    store, mine = Store(str(tmp_path)), manifest_of()
    other = Manifest({**mine.content, "made_with": {"numpy": "1.0"}})
    claim(store, other)
    with pytest.raises(ConflictError, match=r"begun with other versions .*made_with.numpy"):
        claim(store, mine)
    for shard in range(other.shards):
        store.create(other.receipt_file(shard), b"{}")
    assert claim(store, mine).dataset_id == other.dataset_id

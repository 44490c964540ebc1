"""The reader that watches the other tests sees what is wrong, or its silence would mean nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.reader import Reader

pytestmark = pytest.mark.ray
SHARD, RECEIPT = "data/train-00003-of-00030.parquet", "receipts/00003.json"


@pytest.fixture
def out(undisturbed, tmp_path) -> Path:
    """A run's folder with a dataset that nobody has touched yet."""
    shutil.copytree(undisturbed.folder, tmp_path / "dataset")
    return tmp_path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_without_receipt(dataset: Path) -> None:
    (dataset / RECEIPT).unlink()
    cut(dataset / SHARD)


def swapped(dataset: Path) -> None:
    shutil.copy(dataset / SHARD, dataset / SHARD.replace("00003", "00004"))


DAMAGE = {
    "a cut shard": (lambda dataset: cut(dataset / SHARD), "ArrowInvalid"),
    "a cut shard without a receipt": (cut_without_receipt, "ArrowInvalid"),
    "another shard's rows": (swapped, "rows that are not its own"),
    "a cut receipt": (lambda dataset: cut(dataset / RECEIPT), "JSONDecodeError"),
    "a scratch file": (lambda dataset: (dataset / "data" / "x.tmp").touch(), "data holds x.tmp"),
    "an empty shard": (lambda dataset: (dataset / SHARD).write_bytes(b""), "ArrowInvalid"),
    "lost rows": (lambda dataset: (dataset / RECEIPT).unlink(), "20 rows have vanished"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_the_reader_sees(name, out):
    damage, said = DAMAGE[name]
    reader = Reader(out / "dataset")
    reader.poll()
    assert reader.violations == [] and reader.rows == 600
    damage(out / "dataset")
    reader.poll()
    assert any(said in violation for violation in reader.violations), reader.violations

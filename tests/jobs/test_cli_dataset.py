"""`lode dataset`: verify finds damage, repair mends it to the byte, info tells what there is."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli_dataset import lines
from storage.dataset import Dataset
from storage.verify import STRANGER, UNMADE, Problem

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
PARTS = ("data", "receipts")


def lode(environment, *words) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "jobs.cli", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def digests(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file in data/ and receipts/."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in PARTS
        for path in (folder / part).rglob("*")
    }


@pytest.fixture(scope="module")
def whole(shared_tiny, tmp_path_factory, environment) -> Path:
    """An undamaged dataset of 6 shards."""
    out = tmp_path_factory.mktemp("whole")
    words = ("--config", shared_tiny, "--out", out, "--dataset.samples", "120")
    done = lode(environment, "generate", *words)
    assert done.returncode == 0, done.stderr
    return out / "dataset"


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "dataset"))


def shard_file(shard: int) -> str:
    return f"data/train-{shard:05d}-of-00006.parquet"


def damage(folder: Path) -> dict[str, bytes]:
    """Two damaged files and a deleted receipt; the damaged bytes by name."""
    flipped, cut = folder / shard_file(1), folder / shard_file(4)
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    cut.write_bytes(cut.read_bytes()[:100])
    (folder / "receipts" / "00002.json").unlink()
    return {shard_file(1): flipped.read_bytes(), shard_file(4): cut.read_bytes()}


def test_a_repaired_dataset_has_the_bytes_of_an_undamaged_one(copy, whole, environment):
    damaged = damage(copy)
    found = lode(environment, "dataset", "verify", copy)
    assert found.returncode == 1, found.stderr
    *problems, last = found.stdout.splitlines()
    assert [line.split()[:2] for line in problems] == [
        ["1", shard_file(1)],
        ["2", "receipts/00002.json"],
        ["4", shard_file(4)],
    ]
    assert last.endswith("3 of 6 shards whole, 60 rows, 3 problems")

    done = lode(environment, "dataset", "repair", copy, "--engine.workers", "1")
    assert done.returncode == 0, done.stderr
    assert "made      3 shards: 1..2, 4" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("6 of 6 shards whole, 120 rows, 0 problems")
    assert digests(copy) == digests(whole)
    (aside,) = (copy / ".broken").iterdir()
    kept = {str(p.relative_to(aside)): p.read_bytes() for p in aside.rglob("*") if p.is_file()}
    assert damaged.items() <= kept.items()
    assert set(kept) == {
        *(shard_file(shard) for shard in (1, 2, 4)),
        *("receipts/00001.json", "receipts/00004.json"),
    }


def test_a_whole_dataset_needs_no_repair(copy, environment):
    found = lode(environment, "dataset", "verify", copy, "--output", "json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["problems"] == []
    assert json.loads(found.stderr.splitlines()[-1])["done"] == 6
    done = lode(environment, "dataset", "repair", copy)
    assert done.returncode == 0, done.stderr
    assert not (copy / ".broken").exists()


def test_files_that_no_shard_owns_are_named_and_left(copy, environment):
    (copy / "data" / "notes.txt").write_text("mine")
    done = lode(environment, "dataset", "repair", copy)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].split()[:2] == ["-", "data/notes.txt"]
    assert (copy / "data" / "notes.txt").read_text() == "mine"


def test_what_cannot_be_made_again_is_left_alone(copy, environment):
    """Another version of the generator, and a manifest that was changed."""
    manifest = json.loads((copy / "manifest.json").read_bytes())
    manifest["generator"]["fingerprint"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))
    before = digests(copy)
    changed = lode(environment, "dataset", "repair", copy)
    assert changed.returncode == 1
    assert changed.stderr.splitlines()[-1].startswith("error:")
    assert "put back the manifest" in changed.stderr
    assert digests(copy) == before
    for receipt in (copy / "receipts").iterdir():
        receipt.unlink()
    before = digests(copy)
    other = lode(environment, "dataset", "repair", copy)
    assert other.returncode == 1
    assert "has fingerprint" in other.stderr.splitlines()[-1]
    assert digests(copy) == before
    assert not (copy / ".broken").exists()


def test_info_tells_what_a_dataset_is_made_of(whole, environment):
    done = lode(environment, "dataset", "info", whole, "--output", "json")
    assert done.returncode == 0, done.stderr
    about, dataset = json.loads(done.stdout), Dataset(str(whole))
    assert about["dataset_id"] == dataset.dataset_id
    assert about["generator"]["name"] == "points"
    assert about["generator"]["licence"] == about["extractors"][0]["licence"] == "Apache-2.0"
    assert about["settings"]["samples"] == about["rows"] == 120
    assert about["shards_done"] == about["shards"] == 6
    assert sum(about["statuses"]["points"].values()) == 120
    assert about["bytes"] == sum(path.stat().st_size for path in (whole / "data").iterdir())
    columns = {column["name"]: column for column in about["columns"]}
    assert columns["points_landmarks"]["shape"] == [68, 2]
    assert columns["points_landmarks"]["unit"] == "fraction of the image"
    table = lode(environment, "dataset", "info", whole)
    assert "6 of 6 done" in table.stdout
    assert "68 x 2" in table.stdout


@pytest.mark.parametrize("command", ["verify", "repair", "info"])
def test_no_dataset_is_said_in_one_line(command, tmp_path, environment):
    done = lode(environment, "dataset", command, tmp_path / "none")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: dataset: ") and "holds no manifest.json" in line
    assert not list(tmp_path.iterdir())


def test_shards_in_a_row_that_are_not_made_share_a_line():
    unmade = [Problem(k, f"receipts/{k:05d}.json", UNMADE) for k in (0, 2, 3, 4)]
    others = [Problem(3, "data/x", "missing"), Problem(None, "data/notes", STRANGER)]
    assert [line[:2] for line in lines([*unmade, *others])] == [
        ("0", "receipts/00000.json"),
        ("2..4", "receipts/00002.json"),
        ("3", "data/x"),
        ("-", "data/notes"),
    ]

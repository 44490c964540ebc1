"""Disks that fill up or turn read-only in the middle of a run, and datasets that are not whole."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree

import pytest
import yaml

from mining.description import describe
from mining.sampling import Measurer, Renderer
from schemas.errors import CorruptDataError
from schemas.settings import RunSettings
from storage.dataset import Dataset
from storage.files import Store
from storage.manifest import claim
from storage.runs import runs
from storage.shards import commit

ROOT = Path(__file__).parents[2]
FAULTY = "tests.examples.faulty"
SHARD, RECEIPT = "data/train-00005-of-00012.parquet", "receipts/00005.json"


@dataclass(frozen=True)
class Scene:
    """Settings of twelve shards, and the dataset that they make where no fault is."""

    config: str
    armed: Path
    undisturbed: Path


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    armed = folder / "armed"
    content = {
        "generator": {
            "name": f"{FAULTY}:FaultyGenerator",
            "options": {"slow": 0.02, "armed": str(armed)},
        },
        "extractors": {f"{FAULTY}:FaultyExtractor": {"armed": str(armed)}},
        "dataset": {"samples": 240, "shard_size": 20, "thumbnail": 0},
        "engine": {"workers": 2, "object_store_mb": 128},
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(content))
    manifest = describe(RunSettings.model_validate(content))
    store = Store(str(folder / "dataset"))
    claim(store, manifest)
    render, measure = Renderer(manifest), Measurer(manifest)
    for shard in range(manifest.shards):
        commit(store, manifest, shard, measure(render(shard)))
    return Scene(str(folder / "settings.yaml"), armed, folder / "dataset")


def everything(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of each file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def data(folder: Path) -> dict[str, str]:
    """As `everything`, of what readers of the data see."""
    kept = ("manifest.json", "data/", "receipts/")
    return {name: digest for name, digest in everything(folder).items() if name.startswith(kept)}


def started(scene: Scene, out: Path, *words: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "jobs.generate_dataset", "--config", scene.config]
    return subprocess.Popen(
        [*command, "--out", str(out), *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(run: subprocess.Popen) -> tuple[int, str]:
    """Its exit status, and what stderr holds beside progress."""
    _, stderr = run.communicate(timeout=240)
    told = [line for line in stderr.splitlines() if not line.startswith("{")]
    return run.returncode, "\n".join(told)


def generate(scene: Scene, out: Path, *words: object) -> tuple[int, str]:
    return ended(started(scene, out, *words))


def when_made(run: subprocess.Popen, folder: Path, more: int) -> None:
    """Wait until the run has made `more` shards, or is over."""
    receipts = folder / "receipts"
    standing = len([*receipts.glob("*")])
    deadline = time.monotonic() + 120
    while run.poll() is None and len([*receipts.glob("*")]) < standing + more:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def check_whole(scene: Scene, folder: Path) -> int:
    """How many shards have a receipt; each is as undisturbed, down to the byte."""
    whole = data(scene.undisturbed)
    found = data(folder)
    receipts = [name for name in found if name.startswith("receipts/")]
    assert found.items() <= whole.items()
    dataset = Dataset(str(folder))
    assert len(dataset.receipts) == len(receipts)
    if receipts:
        dataset.read(["index"])
    return len(receipts)


@pytest.mark.ray
@pytest.mark.faults
def test_a_worker_that_can_write_no_more_ends_the_run_and_a_rerun_completes_it(scene, tmp_path):
    """A limit on the size of files stands for the full disk: that takes no privileges."""
    scene.armed.write_text("slow")
    run = started(scene, tmp_path)
    when_made(run, tmp_path / "dataset", 2)
    scene.armed.write_text("full")
    status, told = ended(run)
    scene.armed.write_text("")
    assert status == 1
    assert told.startswith("error: writing ") and "ulimit -f" in told and "\n" not in told
    assert 2 <= check_whole(scene, tmp_path / "dataset") < 12
    (record,) = runs(Store(str(tmp_path / "dataset")))
    assert record.state == "failed" and "ulimit -f" in record.error
    assert generate(scene, tmp_path) == (0, "")
    assert data(tmp_path / "dataset") == data(scene.undisturbed)


def mount(*words: object) -> bool:
    return subprocess.run(["mount", *map(str, words)], capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of 2 MB in memory."""
    path = tmp_path / "disk"
    path.mkdir()
    if sys.platform != "linux" or not mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", path):
        pytest.skip("no disk may be mounted here")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.ray
@pytest.mark.faults
def test_a_full_disk_and_one_that_turns_read_only_lose_nothing(scene, disk):
    out, folder = disk / "out", disk / "out" / "dataset"
    scene.armed.write_text("slow")
    full = disk / "somebody's"
    full.write_bytes(bytes(2**21 - 2**17))  # leaves room for some shards
    status, told = generate(scene, out)
    assert status == 1
    assert told.startswith("error: writing ") and "\n" not in told
    assert "the disk is full; free some space and run again" in told
    first = check_whole(scene, folder)
    assert 0 < first < 12
    full.unlink()

    run = started(scene, out)
    when_made(run, folder, 1)
    while run.poll() is None and not mount("-o", "remount,ro", disk):
        time.sleep(0.001)  # busy as long as a file is being written
    status, told = ended(run)
    assert status == 1
    assert told.startswith("error: ") and "\n" not in told
    assert "the file system is read-only" in told
    assert first < check_whole(scene, folder) < 12
    refused, told = generate(scene, out)
    assert refused == 2 and "the file system is read-only" in told
    assert mount("-o", "remount,rw", disk)

    assert generate(scene, out) == (0, "")
    assert data(folder) == data(scene.undisturbed)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told(scene, tmp_path):
    copytree(scene.undisturbed, tmp_path / "dataset")
    (tmp_path / "dataset" / RECEIPT).unlink()
    (tmp_path / "dataset").chmod(0o555)
    status, told = generate(scene, tmp_path)
    (tmp_path / "dataset").chmod(0o755)
    assert status == 2 and "permission denied" in told


def cut(folder: Path) -> None:
    (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[:100])


def flip(folder: Path) -> None:
    content = bytearray((folder / SHARD).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / SHARD).write_bytes(content)


def edit(name: str, **changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_bytes())
        (folder / name).write_text(json.dumps({**content, **changes}))

    return change


def unlink(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def garble(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text("{")


LENGTH = "1 shards are missing or have another length than their receipt says, first " + SHARD


@pytest.mark.parametrize(
    ("damage", "status", "said"),
    [
        (unlink(SHARD), 1, LENGTH),
        (cut, 1, LENGTH),
        (garble(RECEIPT), 1, "is not a receipt"),
        (edit(RECEIPT, dataset_id="e" * 16), 1, "is of dataset eeeeeeeeeeeeeeee shard 5; expected"),
        (edit(RECEIPT, shard=6), 1, "shard 6; expected"),
        (edit("manifest.json", format=99), 2, "has format 99, this LatentLode reads 1"),
        (edit("manifest.json", dataset={}), 2, "choose another --out. Nothing was changed."),
        (garble("manifest.json"), 1, "is not a manifest"),
        (unlink("manifest.json"), 2, "but no manifest.json; choose an empty folder"),
    ],
    ids=[
        *("no shard", "cut shard", "no receipt", "receipt of another dataset"),
        *("receipt of another shard", "another version", "another dataset"),
        *("damaged manifest", "no manifest"),
    ],
)
def test_what_is_not_whole_is_told_and_left_as_it_is(scene, tmp_path, damage, status, said):
    folder = Path(copytree(scene.undisturbed, tmp_path / "dataset"))
    damage(folder)
    before = everything(tmp_path)
    found, told = generate(scene, tmp_path)
    assert found == status
    assert told.startswith("error: ") and said in told and "\n" not in told
    assert everything(tmp_path) == before


def test_changed_bytes_are_found_by_their_checksum(scene, tmp_path):
    """A rerun looks at lengths alone: `verify` and every reader look at the bytes."""
    folder = Path(copytree(scene.undisturbed, tmp_path / "dataset"))
    flip(folder)
    before = everything(tmp_path)
    generate(scene, tmp_path)
    verify = [sys.executable, "-m", "jobs.cli", "dataset", "verify", str(folder)]
    done = subprocess.run(verify, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.startswith(f"5  {SHARD}  SHA-256 ")
    with pytest.raises(CorruptDataError, match="do not match the receipt's checksum"):
        Dataset(str(folder)).read(["index"])
    assert everything(tmp_path) == before


def test_other_settings_never_touch_a_dataset(scene, tmp_path):
    copytree(scene.undisturbed, tmp_path / "dataset")
    before = everything(tmp_path)
    status, told = generate(scene, tmp_path, "--dataset.seed", 1)
    assert status == 2
    assert "(other dataset.seed); choose another --out. Nothing was changed." in told
    assert everything(tmp_path) == before

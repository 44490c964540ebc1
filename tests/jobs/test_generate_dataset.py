"""Datasets made on a real Ray: whatever happens on the way, the same bytes at the end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from storage.dataset import Dataset

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, str(ROOT / "jobs" / "generate_dataset.py"), "--config"]


def digests(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of everything that a reader of the data sees."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".partial", "runs"} & set(path.parts)
    }


def generate(tiny, out, environment, *words, **kwargs) -> subprocess.CompletedProcess:
    command = [*PROGRAM, tiny, "--out", str(out), *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, **kwargs
    )


@pytest.fixture(scope="module")
def undisturbed(shared_tiny, tmp_path_factory, environment) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    done = generate(shared_tiny, out, environment)
    assert done.returncode == 0, done.stderr
    return out / "dataset"


def test_one_worker_split_stages_and_a_rerun_give_the_same_bytes(
    tiny, tmp_path, environment, undisturbed
):
    assert Dataset(str(undisturbed)).rows == 240
    one = generate(tiny, tmp_path / "one", environment, "--engine.workers", "1")
    split = generate(tiny, tmp_path / "split", environment, "--engine.stages", "split")
    again = generate(tiny, tmp_path / "one", environment)
    for done in (one, split, again):
        assert done.returncode == 0, done.stderr
    expected = digests(undisturbed)
    assert digests(tmp_path / "one" / "dataset") == expected
    assert digests(tmp_path / "split" / "dataset") == expected


@pytest.mark.slow
def test_a_driver_killed_in_the_middle_and_run_again_gives_the_same_bytes(
    tiny, tmp_path, environment
):
    out = tmp_path / "killed"
    many = ("--dataset.samples", "900")  # 45 shards, so that there is a middle
    driver = subprocess.Popen(
        [*PROGRAM, tiny, "--out", str(out), "--engine.workers", "1", *many],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    receipts = out / "dataset" / "receipts"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and driver.poll() is None:
        if receipts.is_dir() and any(receipts.iterdir()):
            break
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    left = Dataset(str(out / "dataset"))
    assert 0 < left.rows < 900, "the kill came too late or too early to show anything"
    left.read(["index"])  # what has a receipt is whole
    done = generate(tiny, out, environment, *many)
    assert done.returncode == 0, done.stderr
    whole = generate(tiny, tmp_path / "undisturbed", environment, *many)
    assert whole.returncode == 0, whole.stderr
    assert digests(out / "dataset") == digests(tmp_path / "undisturbed" / "dataset")


def with_extractor(tiny: str, options: dict) -> str:
    """The settings with the dying extractor in place of the example's."""
    settings = yaml.safe_load(Path(tiny).read_text())
    settings["extractors"] = {"tests.examples.dying:DyingExtractor": options}
    path = Path(tiny).with_name("dying.yaml")
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def test_a_worker_that_dies_once_is_replaced(tiny, tmp_path, environment):
    settings = with_extractor(tiny, {"once": str(tmp_path / "died")})
    done = generate(settings, tmp_path / "out", environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "died").exists()
    assert Dataset(str(tmp_path / "out" / "dataset")).rows == 240


@pytest.mark.slow
def test_a_worker_that_always_dies_ends_the_run_instead_of_trying_for_ever(
    tiny, tmp_path, environment
):
    few = ("--dataset.samples", "10", "--dataset.shard_size", "5")
    done = generate(with_extractor(tiny, {}), tmp_path / "out", environment, *few)
    assert done.returncode == 1
    *before, last = done.stderr.splitlines()
    assert last.startswith("error: generate: 5 of 5 rows failed")
    assert "the process ended with status 1" in last
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_real_chain_gives_the_same_bytes_with_one_and_two_workers(tiny, tmp_path, environment):
    settings = yaml.safe_load(Path(tiny).read_text())
    settings["generator"] = {"name": "head", "options": {"resolution": 128}}
    settings["extractors"] = {"dlib": {}, "geometry": {}}
    settings["dataset"] = {"samples": 36, "shard_size": 9, "batch_size": 5}
    path = tmp_path / "head.yaml"
    path.write_text(yaml.safe_dump(settings))
    for workers in ("1", "2"):
        done = generate(str(path), tmp_path / workers, environment, "--engine.workers", workers)
        assert done.returncode == 0, done.stderr
    one, two = (digests(tmp_path / workers / "dataset") for workers in ("1", "2"))
    assert one == two
    assert Dataset(str(tmp_path / "1" / "dataset")).statuses()["dlib"]["ok"] > 20


def test_a_relative_path_is_refused_on_a_cluster(tiny, tmp_path, environment):
    away = {**environment, "RAY_ADDRESS": "192.0.2.1:6379"}  # refused before it is dialled
    done = generate(tiny, "relative/out", away, cwd=tmp_path)
    assert done.returncode == 2
    assert "expected an absolute path on a shared disk, or a URL" in done.stderr
    assert not (tmp_path / "relative").exists()


def test_progress_is_json_lines_where_there_is_no_terminal(tiny, tmp_path, environment):
    done = generate(tiny, tmp_path / "out", environment)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[-1]["state"] == "done"
    assert lines[-1]["done"] == lines[-1]["total"] == 240
    assert lines[-1]["notes"]["points no_face"] > 0
    assert "240 rows" in done.stdout


@pytest.mark.slow
def test_what_a_worker_cannot_write_ends_the_run_with_one_line(tiny, tmp_path, environment):
    out = tmp_path / "out"
    target = out / "dataset" / "data"
    target.parent.mkdir(parents=True)
    assert generate(tiny, out, environment, "--dataset.samples", "20").returncode == 0
    for name in os.listdir(target):
        (target / name).unlink()
    target.rmdir()
    target.write_bytes(b"a file where the folder should be")
    for name in os.listdir(out / "dataset" / "receipts"):
        (out / "dataset" / "receipts" / name).unlink()
    done = generate(tiny, out, environment, "--dataset.samples", "20")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(errors) == 1 and "a file stands where a folder should be" in errors[0], done.stderr
    assert target.read_bytes() == b"a file where the folder should be"

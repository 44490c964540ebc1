"""Whole runs in which images crash, hang and raise, and a shard cannot be made.

One run has it all; the tests look at what it left, mend it, and compare it with what the same
settings give where nothing strikes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from mining.description import describe
from mining.sampling import Measurer, Renderer
from schemas.settings import RunSettings
from storage.dataset import Dataset
from storage.files import Store
from storage.manifest import Manifest, claim
from storage.runs import runs
from storage.shards import commit
from tests.examples.faulty import ABORTS, HANGS, RAISES, sums

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
FAULTY = "tests.examples.faulty"
SAMPLES, SIZE, BATCH, TIMEOUT = 240, 20, 10, 4
SPOILT = 7  # the shard in which the generator hangs


@dataclass(frozen=True)
class Scene:
    """Settings under which images are struck, where the files say so."""

    folder: Path
    config: str
    manifest: Manifest
    struck: dict[int, tuple[str, str]]  # row -> status and reason

    def arm(self, extractor: str = "", generator: str = "") -> None:
        """What strikes from now on."""
        (self.folder / "extractor").write_text(extractor)
        (self.folder / "generator").write_text(generator)

    @property
    def calls(self) -> list[int]:
        """Images in each call of the extractor so far."""
        return [int(line) for line in (self.folder / "log").read_text().split()]


def program(*words: object) -> subprocess.CompletedProcess:
    """`python -m ...` in this repository."""
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def generate(config: str, out: Path, *words: object) -> subprocess.CompletedProcess:
    return program("jobs.generate_dataset", "--config", config, "--out", out, *words)


def errors(done: subprocess.CompletedProcess) -> list[str]:
    """What stderr holds beside progress."""
    return [line for line in done.stderr.splitlines() if not line.startswith("{")]


def said(done: subprocess.CompletedProcess) -> list[str]:
    """The warnings among the progress."""
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return [line["text"] for line in lines if line["state"] == "warning"]


def digests(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of manifest, shards and receipts."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] in PARTS
    }


PARTS = ("manifest.json", "data", "receipts", "quarantine")


def settings(folder: Path, generator: dict, extractor: dict) -> dict:
    options = {**extractor, "log": str(folder / "log"), "armed": str(folder / "extractor")}
    return {
        "generator": {
            "name": f"{FAULTY}:FaultyGenerator",
            "options": {**generator, "armed": str(folder / "generator")},
        },
        "extractors": {f"{FAULTY}:FaultyExtractor": options},
        "dataset": {"samples": SAMPLES, "shard_size": SIZE, "batch_size": BATCH, "thumbnail": 8},
        "engine": {
            "workers": 2,
            "object_store_mb": 128,
            "timeout": TIMEOUT,
            "attempts": 2,
            "max_failed": 0.5,
        },
    }


def every(values: np.ndarray, kind: int, among: set[int], count: int) -> int:
    """A number by which exactly `count` images are struck, all of them among these rows."""
    for number in range(5, 10**6):
        rows = set(np.flatnonzero(values % number == kind).tolist())
        if len(rows) == count and rows <= among:
            return number
    raise AssertionError("there is no such number")


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    """Three images abort, one hangs and four raise, in other shards than the one that hangs."""
    folder = tmp_path_factory.mktemp("scene")
    manifest = describe(RunSettings.model_validate(settings(folder, {}, {})))
    render, measure = Renderer(manifest), Measurer(manifest)
    tables = [render(shard) for shard in range(manifest.shards)]
    values = np.concatenate([sums(measure.images(table)) for table in tables])
    spoilt = set(manifest.rows(SPOILT))
    free = set(range(SAMPLES)) - spoilt
    numbers = {
        "aborts": every(values, ABORTS, free, 3),
        "hangs": every(values, HANGS, free, 1),
        "raises": every(values, RAISES, free, 4),
    }
    content = settings(folder, {"hangs": every(values, HANGS, spoilt, 1)}, numbers)
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(content))
    told = {
        "raises": (RAISES, "failed", "ArithmeticError: this image is odd"),
        "hangs": (HANGS, "timeout", f"no answer in {TIMEOUT} s"),
        "aborts": (ABORTS, "crashed", "the process was ended by SIGABRT"),
    }
    struck = {}
    for word, (kind, status, reason) in told.items():
        for row in np.flatnonzero(values % numbers[word] == kind).tolist():
            struck[row] = (status, reason)
    manifest = describe(RunSettings.model_validate(content))
    return Scene(folder, str(path), manifest, struck)


@pytest.fixture(scope="module")
def undisturbed(scene) -> Path:
    """The dataset of the scene's settings, where nothing strikes."""
    scene.arm()
    folder = scene.folder / "undisturbed"
    store = Store(str(folder))
    claim(store, scene.manifest)
    render, measure = Renderer(scene.manifest), Measurer(scene.manifest)
    for shard in range(scene.manifest.shards):
        commit(store, scene.manifest, shard, measure(render(shard)))
    return folder


@pytest.fixture(scope="module")
def storm(scene, undisturbed) -> subprocess.CompletedProcess:
    """One fused run in which everything strikes, into scene.folder/storm."""
    (scene.folder / "log").unlink(missing_ok=True)
    scene.arm("aborts hangs raises", "hangs")
    return generate(scene.config, scene.folder / "storm")


def compare(found: Path, undisturbed: Path, struck: dict[int, tuple[str, str]]) -> None:
    """Struck rows have their status, their reason and no values; all others are as undisturbed."""
    table, whole = rows(found), rows(undisturbed).to_pylist()
    kept = set(table.column("index").to_pylist())
    expected = []
    for row in (row for row in whole if row["index"] in kept):
        if row["index"] in struck:
            row = {key: None if key.startswith("points_") else row[key] for key in row}
            row["points_status"], row["points_reason"] = struck[row["index"]]
        expected.append(row)
    assert table.to_pylist() == expected


def rows(folder: Path) -> pa.Table:
    return pa.concat_tables(Dataset(str(folder)).tables())


def test_only_what_is_struck_is_lost(scene, storm, undisturbed):
    found = scene.folder / "storm" / "dataset"
    assert sorted(status for status, _ in scene.struck.values()) == (
        ["crashed"] * 3 + ["failed"] * 4 + ["timeout"]
    )
    compare(found, undisturbed, scene.struck)
    made = sorted(Dataset(str(found)).receipts)
    assert made == [shard for shard in range(12) if shard != SPOILT]


def test_nothing_is_tried_for_ever(scene, storm):
    """A batch with an image that ends the process: twice, then image by image, once more each."""
    ends = [row for row, (status, _) in scene.struck.items() if status != "failed"]
    raises = [row for row in scene.struck if row not in ends]
    batches = (SAMPLES - SIZE) // BATCH
    calls = batches + len(ends) * (2 + 2 * BATCH) + len(raises) * BATCH
    assert batches < len(scene.calls) <= calls
    deaths = [text for text in said(storm) if "shard" in text and "quarantined" not in text]
    assert len(deaths) <= 3 * len(ends) + 2 + 3  # three to spare, where the machine is slow


def test_a_shard_that_hangs_is_told_tried_again_and_quarantined(scene, storm):
    assert storm.returncode == 1
    reason = f"no answer in {TIMEOUT} s (render, 2 times)"
    (error,) = errors(storm)
    assert error.startswith("error: generate: 1 of 12 shards could not be made")
    assert f"first shard {SPOILT}: {reason}" in error
    hung = f"shard {SPOILT}: no answer in {TIMEOUT} s (render"
    assert sum(text.startswith(hung) for text in said(storm)) == 2
    folder = scene.folder / "storm" / "dataset"
    note = json.loads((folder / "quarantine" / f"{SPOILT:05d}.json").read_text())
    assert note == {"dataset_id": scene.manifest.dataset_id, "shard": SPOILT, "reason": reason}
    told = program("jobs.cli", "dataset", "info", folder, "-o", "json")
    about = json.loads(told.stdout)
    assert about["quarantined"] == {str(SPOILT): reason}
    (run,) = about["runs"]
    assert run["state"] == "failed"
    assert (run["quarantined"], run["shards"], run["rows"]) == (1, 11, 220)
    assert run["rejects"] == {"points crashed": 3, "points failed": 4, "points timeout": 1}
    assert run["lost"] == sum("shard" in text for text in said(storm)) - 1
    checked = program("jobs.cli", "dataset", "verify", folder)
    assert checked.returncode == 1
    problem, last = checked.stdout.splitlines()
    assert problem.split(maxsplit=2)[::2] == [str(SPOILT), f"quarantined: {reason}"]
    assert last.endswith("11 of 12 shards whole, 220 rows, 1 problems")


@pytest.mark.faults
def test_what_can_be_mended_is_made_by_a_rerun_and_by_repair(scene, storm, undisturbed, tmp_path):
    """A rerun makes the shard; `repair --failed` makes those with rows that failed."""
    folder = Path(shutil.copytree(scene.folder / "storm" / "dataset", tmp_path / "dataset"))
    before = digests(folder)
    scene.arm()
    rerun = generate(scene.config, tmp_path)
    assert rerun.returncode == 0, rerun.stderr
    after = digests(folder)
    assert set(before) - set(after) == {f"quarantine/{SPOILT:05d}.json"}
    assert {name: before[name] for name in after if name in before}.items() <= after.items()
    compare(folder, undisturbed, scene.struck)

    spoilt = sorted({row // SIZE for row in scene.struck})
    mended = program(
        *("jobs.cli", "dataset", "repair", folder, "--failed"),
        *("--config", scene.config, "--engine.workers", 1),
    )
    assert mended.returncode == 0, mended.stderr
    assert f"made      {len(spoilt)} shards" in mended.stdout
    assert digests(folder) == digests(undisturbed)
    (aside,) = (folder / ".broken").iterdir()
    assert len([*aside.rglob("*.*")]) == 2 * len(spoilt)
    assert [run.state for run in runs(Store(str(folder)))] == ["failed", "done", "done"]


@pytest.mark.slow
def test_split_stages_lose_the_same_rows(scene, undisturbed):
    struck = {row: said for row, said in scene.struck.items() if said[0] != "timeout"}
    scene.arm("aborts raises")
    split = generate(scene.config, scene.folder / "split", "--engine.stages", "split")
    assert split.returncode == 0, split.stderr
    assert Dataset(str(scene.folder / "split" / "dataset")).complete
    compare(scene.folder / "split" / "dataset", undisturbed, struck)


def test_too_many_failures_stop_a_run_early(scene, tmp_path):
    content = settings(tmp_path, {}, {"raises": 4})
    content["dataset"]["samples"] = 8000
    content["engine"].pop("max_failed")
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "extractor").write_text("raises")
    done = generate(str(tmp_path / "settings.yaml"), tmp_path)
    assert done.returncode == 1
    (error,) = errors(done)
    assert error.startswith("error: generate: ")
    for part in ("extractor 'points'", "engine.max_failed 0.05", "ArithmeticError: this image is"):
        assert part in error
    assert "Traceback" not in done.stdout + done.stderr
    dataset = Dataset(str(tmp_path / "dataset"))
    assert 0 < len(dataset.receipts) < 20  # of 400
    dataset.read(["index"])  # what stands is whole
    (run,) = runs(dataset.store)
    assert run.state == "failed" and run.error.startswith("RunError: generate: ")

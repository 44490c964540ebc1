"""Datasets extended on a real Ray: the bytes of measuring at once, whatever happens on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from jobs.cli import _lode as lode
from jobs.cli import guarded
from jobs.extend_dataset import fitted
from jobs.filter_dataset import filter_dataset
from mining.description import describe_extension
from schemas.settings import EngineSettings
from storage.catalog import Catalog
from storage.dataset import Dataset
from storage.verify import verify
from tests.examples.points import PointsGenerator
from tests.storage.points_dataset import (
    BRIGHTNESS,
    EXTRACTOR,
    GEOMETRY,
    SHAPE,
    SOME_BLIND,
    column_bytes,
    extended,
    file_digests,
    sampled,
)

pytestmark = pytest.mark.ray
PROGRAM = [sys.executable, "-m", "jobs.cli", "dataset", "extend"]
ADDED = {BRIGHTNESS: {}, **GEOMETRY}
WORDS = [f"--extractors.{BRIGHTNESS}", "{}", "--extractors.geometry.source", "points"]


def extend(parent: Dataset, out: Path, environment, *words) -> subprocess.CompletedProcess:
    command = [*PROGRAM, parent.url, "--out", str(out), "--engine.object_store_mb", "128", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Dataset:
    return sampled(tmp_path_factory.mktemp("sampled") / "dataset")


@pytest.fixture(scope="module")
def expected(parent, tmp_path_factory) -> dict[str, str]:
    """What one process without Ray makes of it."""
    made = extended(tmp_path_factory.mktemp("plain") / "made", parent, ADDED)
    return file_digests(made.url)


@pytest.mark.parametrize(
    "engine", [pytest.param(("1", "fused"), marks=pytest.mark.slow), ("2", "fused"), ("2", "split")]
)
@pytest.mark.slow
def test_any_engine_gives_the_same_bytes(parent, tmp_path, environment, expected, engine):
    workers, stages = engine
    words = [*WORDS, "--engine.workers", workers, "--engine.stages", stages]
    done = extend(parent, tmp_path / "made", environment, *words)
    assert done.returncode == 0, done.stderr
    assert file_digests(tmp_path / "made") == expected
    assert f"parent    {parent.dataset_id}" in done.stdout
    assert "brightness: 45 ok" in done.stdout


@pytest.mark.slow
def test_from_a_file_without_images_and_a_rerun(parent, tmp_path, environment):
    path = tmp_path / "more.yaml"
    path.write_text(yaml.safe_dump({"extractors": {**GEOMETRY, **SHAPE}, "engine": {"workers": 1}}))
    first = extend(parent, tmp_path / "made", environment, "--config", str(path))
    assert first.returncode == 0, first.stderr
    made = Dataset(str(tmp_path / "made"))
    assert made.manifest.derived["images"] == "none"
    whole = sampled(tmp_path / "whole", {**SOME_BLIND, **GEOMETRY, **SHAPE})
    found, wanted = column_bytes(made), column_bytes(whole)
    assert found.pop("sample_id") != wanted.pop("sample_id")
    assert found == wanted
    before = file_digests(made.url)
    (Path(made.url) / made.manifest.receipt_file(2)).unlink()
    again = extend(parent, tmp_path / "made", environment, "--config", str(path))
    assert again.returncode == 0, again.stderr
    assert file_digests(made.url) == before and not verify(made.url).problems


@pytest.mark.slow
def test_a_driver_killed_in_the_middle_and_run_again_gives_the_same_bytes(tmp_path, environment):
    parent = sampled(tmp_path / "parent", samples=300, shard_size=4)
    out = tmp_path / "killed"
    words = [f"--extractors.{BRIGHTNESS}", "{}", "--engine.workers", "1"]
    command = [*PROGRAM, parent.url, "--out", str(out), *words]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as driver:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and driver.poll() is None:
            if (out / "receipts").is_dir() and os.listdir(out / "receipts"):
                break
            time.sleep(0.005)
        driver.send_signal(signal.SIGKILL)
    left = Dataset(str(out))
    assert 0 < left.rows < 300, "the kill came too late or too early to show anything"
    left.read(["index"])  # what has a receipt is whole
    done = extend(parent, out, environment, *words)
    assert done.returncode == 0, done.stderr
    whole = extended(tmp_path / "whole", parent, {BRIGHTNESS: {}})
    assert file_digests(out) == file_digests(whole.url)


def test_a_worker_that_dies_is_replaced_and_old_failures_are_not_judged(tmp_path, environment):
    """Of the parent every row failed; the new extractor ends its process once."""
    parent = sampled(tmp_path / "parent", {"tests.examples.faulty:FaultyExtractor": {"raises": 1}})
    assert parent.statuses()["points"] == {"failed": 45}
    died = str(tmp_path / "died")
    words = ["--extractors.tests.examples.further:DyingBrightness.once", died]
    done = extend(parent, tmp_path / "made", environment, *words)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "died").exists()
    assert Dataset(str(tmp_path / "made")).statuses()["brightness"] == {"ok": 45}


@pytest.mark.slow
def test_a_repair_renders_the_parents_latents_again(parent, tmp_path, environment):
    kept = filter_dataset(parent.url, str(tmp_path / "kept"), where="points_yaw > 0")
    copy = shutil.copytree(kept.url, tmp_path / "copy")
    made = extended(tmp_path / "made", Dataset(str(copy)), {BRIGHTNESS: {}})
    before = file_digests(made.url)
    (Path(made.url) / made.manifest.shard_file(1)).write_bytes(b"damaged")
    moved = copy.rename(tmp_path / "moved")
    command = [sys.executable, "-m", "jobs.cli", "dataset", "repair", made.url]
    gone = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert gone.returncode == 2
    assert f"no longer at {copy}" in gone.stderr.splitlines()[-1]
    assert verify(made.url).broken == [1]  # nothing was moved
    command += ["--parent", str(moved)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert file_digests(made.url) == before


@pytest.mark.slow
def test_directions_are_mined_of_what_was_filtered_and_extended(tiny, tmp_path, environment):
    parent = sampled(tmp_path / "parent", samples=240, shard_size=60)
    kept = filter_dataset(parent.url, str(tmp_path / "kept"), where="points_status = 'ok'")
    made = extended(tmp_path / "made", kept, {BRIGHTNESS: {}})
    command = [sys.executable, "-m", "jobs.cli", "mine", "--config", tiny]
    command += ["--dataset_url", made.url, "--mining.attributes", "[yaw, brightness_x, half]"]
    command += ["--mining.labels.half", "0.5 * yaw + 0 * brightness_x"]
    command += ["--mining.methods.nrsfm", "null"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["dataset_id"], told["rows"]) == (made.dataset_id, kept.rows)
    cards = Catalog(told["catalog"]).cards()
    found = {card.attribute: card for card in cards if card.method == "ridge"}
    truth = PointsGenerator().truth_rows[0]
    assert abs(found["yaw"].vector @ truth) > 0.95 * np.linalg.norm(found["yaw"].vector)
    assert "brightness_x" in found
    assert found["half"].vector @ found["yaw"].vector > 0.999  # a label, mined as columns are
    halves = (found["half"].response(name).per_step for name in ("half", "yaw"))
    assert next(halves) == pytest.approx(next(halves) / 2, rel=1e-3)  # and measured on edits
    assert "0.5 * yaw" in json.loads(found["half"].provenance.settings)["label"]
    assert found["yaw"].provenance.dataset_id == made.dataset_id


WRONG = {
    "no extractor": [],
    "an unknown one": ["--extractors.geomtry", "{}"],
    "one that is there": [f"--extractors.{EXTRACTOR}", "{}"],
    "columns that are there": [f"--extractors.{EXTRACTOR}@two", "{}"],
    "a source that is not": ["--extractors.geometry", "{}"],
    "an unknown option": [f"--extractors.{BRIGHTNESS}.most", "3"],
    "no options": [f"--extractors.{BRIGHTNESS}", "much"],
    "only one taken away": ["--extractors.geometry", "null"],
    "no images": [f"--extractors.{BRIGHTNESS}", "{}", "--images", "none"],
    "unknown images": [f"--extractors.{BRIGHTNESS}", "{}", "--images", "photographs"],
    "a setting of the dataset": [*WORDS, "--dataset.seed", "3"],
    "what decides the images": [*WORDS, "--generator.options.seed", "3"],
    "an unknown setting": [*WORDS, "--engine.wrkers", "3"],
    "an image too large for the store": [
        *(f"--extractors.{BRIGHTNESS}", "{}", "--engine.stages", "split"),
        *("--engine.object_store_mb", "50"),
    ],
}


@pytest.mark.parametrize("words", WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_one_line_and_status_2(parent, tmp_path, capsys, words):
    out = tmp_path / "made"
    assert guarded(lode, ["dataset", "extend", parent.url, "--out", str(out), *words]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ")
    assert not out.exists()


def test_a_wrong_file_parent_or_target_is_refused(parent, tmp_path, capsys):
    full = tmp_path / "full.yaml"
    full.write_text(yaml.safe_dump({"extractors": GEOMETRY, "dataset": {"samples": 3}}))
    (tmp_path / "file").write_text("a file")
    out = str(tmp_path / "made")
    for words, word in (
        ([parent.url, "--out", out, "--config", str(full)], "sets dataset"),
        ([parent.url, "--out", out, "--config", str(tmp_path / "none.yaml")], "cannot be read"),
        ([str(tmp_path / "nowhere"), "--out", out, *WORDS], "no manifest.json"),
        ([parent.url, "--out", parent.url, *WORDS], "lies in the dataset"),
        ([parent.url, "--out", str(tmp_path / "file" / "made"), *WORDS], "cannot be used"),
    ):
        assert guarded(lode, ["dataset", "extend", *words]) == 2
        assert word in capsys.readouterr().err
    assert not Path(out).exists()


def test_a_generators_gpu_is_not_asked_for_where_nothing_is_rendered(parent):
    engine = EngineSettings.model_validate({"generator": {"gpus": 1}, "workers": 3})
    none = describe_extension(parent.manifest, parent.url, GEOMETRY, "auto")
    drawn = describe_extension(parent.manifest, parent.url, ADDED, "auto")
    assert fitted(engine, drawn) is engine and fitted(engine, parent.manifest) is engine
    assert (fitted(engine, none).generator.gpus, fitted(engine, none).stages) == (0, "fused")

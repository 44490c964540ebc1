"""Datasets of sequences through everything that is done with datasets."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

from jobs.cli_dataset import dataset_app
from jobs.filter_dataset import filter_dataset
from mining.description import describe
from storage.dataset import Dataset
from storage.verify import verify
from tests.storage.croissant_rules import broken
from tests.storage.points_dataset import (
    GEOMETRY,
    extended,
    file_digests,
    make,
    settings,
)

MOVING = "tests.examples.moving:MovingPoints"
LENGTH = 9
TOLD = {"generator": MOVING, "sequences": {"length": LENGTH, "smoothness": 0.5}}
PROGRAM = [sys.executable, "-m", "jobs.cli", "generate"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return make(tmp_path_factory.mktemp("sampled") / "dataset", describe(settings(**TOLD)))


def run(*words) -> Result:
    return CliRunner().invoke(dataset_app, [str(word) for word in words])


def test_places_stay_whatever_is_filtered(dataset, tmp_path):
    found = filter_dataset(dataset.url, str(tmp_path / "some"), "frame > 3", ["yaw"])
    rows = found.arrays(["index", "sequence", "frame", "points_yaw"])
    assert found.rows == 5 * (LENGTH - 4)
    assert rows["frame"].min() == 4
    np.testing.assert_array_equal(rows["sequence"] * LENGTH + rows["frame"], rows["index"])
    assert not verify(found.url).problems


def test_one_sequence_is_chosen_by_its_number(dataset):
    words = ["--where", "sequence == 2", "-n", 50, "--output", "json", "--columns", "index,frame"]
    rows = json.loads(run("head", dataset.url, *words).stdout)
    assert [row["frame"] for row in rows] == list(range(LENGTH))
    assert rows[0]["index"] == 2 * LENGTH


def test_they_are_extended_by_their_stored_latents(dataset, tmp_path):
    found = extended(tmp_path / "more", dataset, GEOMETRY, "render")
    assert found.dataset_id != dataset.dataset_id
    one, other = (each.arrays(["sequence", "frame", "w"]) for each in (found, dataset))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not verify(found.url).problems


def test_a_lost_shard_is_made_again_to_the_byte(dataset, tmp_path):
    again = make(tmp_path / "again", describe(settings(**TOLD)), shards=[3, 0])
    expected = file_digests(dataset.url)
    made = file_digests(again.url)
    assert made == {name: expected[name] for name in made} and len(made) == 5


def test_cards_and_croissant_name_the_columns(dataset, tmp_path):
    out = tmp_path / "out"
    assert run("export", dataset.url, "--out", out).exit_code == 0
    document = json.loads((out / "croissant.json").read_text())
    assert not broken(document)
    named = {field["name"]: field for field in document["recordSet"][0]["field"]}
    assert named["sequence"]["dataType"] == named["frame"]["dataType"] == "sc:Integer"
    assert "its place in the sequence, 0 .. 8" in named["frame"]["description"]
    text = (out / "README.md").read_text()
    assert "Rows of one `sequence` show one identity" in text
    assert '`{"length": 9, "smoothness": 0.5}`' in text
    assert pq.read_table(out / "data")["sequence"].to_pylist()[:LENGTH] == [0] * LENGTH


def test_what_reads_z_says_that_there_is_none(dataset, tmp_path):
    done = subprocess.run(
        [*PROGRAM[:-1], "control", "fit", dataset.url, "--out", str(tmp_path / "control")]
        + ["--space", "z", "--landmarks", "points_landmarks"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "no column z, which space z is read from" in done.stderr
    assert "Traceback" not in done.stderr


def written(folder: Path, **dataset) -> str:
    """The settings of `dataset` as a file, with shards as asked."""
    told = settings(**{**TOLD, **dataset}).model_dump()
    content = {key: told[key] for key in ("generator", "extractors", "dataset")}
    path = folder / "moving.yaml"
    path.write_text(yaml.safe_dump({**content, "engine": {"object_store_mb": 128}}))
    return str(path)


def generate(config: str, out: Path, environment, *words) -> subprocess.CompletedProcess:
    command = [*PROGRAM, "--config", config, "--out", str(out), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.ray
def test_workers_make_the_bytes_that_one_process_makes(dataset, tmp_path, environment):
    done = generate(written(tmp_path), tmp_path / "out", environment, "--engine.workers", "2")
    assert done.returncode == 0, done.stderr
    assert file_digests(tmp_path / "out" / "dataset") == file_digests(dataset.url)


def test_a_generator_that_cannot_is_one_line_before_work(tmp_path, environment):
    name = "tests.examples.points:PointsGenerator"
    done = generate(written(tmp_path, generator=name), tmp_path / "out", environment)
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(said) == 1 and "dataset.sequences.length 9 came" in said[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.ray
@pytest.mark.slow
def test_a_driver_killed_and_run_again_gives_the_same_bytes(tmp_path, environment):
    many = written(tmp_path, samples=900, shard_size=20)
    out = tmp_path / "killed"
    driver = subprocess.Popen(
        [*PROGRAM, "--config", many, "--out", str(out), "--engine.workers", "1"],
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
    assert 0 < Dataset(str(out / "dataset")).rows < 900, "the kill came too late or too early"
    done = generate(many, out, environment)
    assert done.returncode == 0, done.stderr
    told = describe(settings(**TOLD, samples=900, shard_size=20))
    expected = make(tmp_path / "whole", told)
    assert file_digests(out / "dataset") == file_digests(expected.url)

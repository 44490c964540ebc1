"""A manifest tells of the GPU that the generator's workers have, wherever the driver runs."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from jobs.description import described
from schemas.config import load_settings
from storage.dataset import Dataset
from tests.jobs.conftest import ROOT
from tests.jobs.head_node import Head, head_node

GPU_MODEL = ["--generator.name", "tests.examples.gpu_model:GpuGenerator"]


def fingerprint(given: str) -> str:
    return hashlib.sha256(f"points on {given}".encode()).hexdigest()


def test_without_gpus_for_the_stage_the_driver_sees_none(tiny, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    settings = load_settings(["--config", tiny, *GPU_MODEL], "test", "", tiny)
    assert described(settings).generator["fingerprint"] == fingerprint("none")


@pytest.fixture(scope="module")
def machine(tmp_path_factory, environment) -> Iterator[Head]:
    """A head node with a GPU that every process of its finds."""
    visible = {**environment, "CUDA_VISIBLE_DEVICES": "0"}
    words = ("--num-cpus=4", "--num-gpus=1")
    with head_node(tmp_path_factory.mktemp("machine"), visible, *words) as head:
        yield head


@pytest.mark.ray
@pytest.mark.parametrize(
    ("words", "given"),
    [
        pytest.param(["--engine.generator.gpus", "0.5"], "a GPU", marks=pytest.mark.slow),
        ([], "none"),  # Ray leaves the node's GPU in the sight of workers that were given none
        # one process renders and measures, so the generator has the extractors' GPU
        pytest.param(["--engine.extractor.gpus", "0.5"], "a GPU", marks=pytest.mark.slow),
    ],
)
def test_a_manifest_tells_of_the_gpu_that_workers_have(machine, tiny, tmp_path, words, given):
    program = [sys.executable, str(ROOT / "jobs" / "generate_dataset.py"), "--config", tiny]
    command = [*program, *GPU_MODEL, "--dataset.samples", "60", *words]
    done = subprocess.run(command, env=machine.joining, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    dataset = Dataset(str(tmp_path / "out" / "dataset"))
    assert dataset.complete
    assert dataset.manifest.generator["fingerprint"] == fingerprint(given)

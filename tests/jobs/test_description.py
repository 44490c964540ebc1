"""A manifest tells of the GPU that the generator's workers have, wherever the driver runs."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from jobs.description import described
from schemas.config import load_settings
from storage.dataset import Dataset
from tests.jobs.conftest import ROOT
from tests.jobs.head_node import head_node

GPU_MODEL = ["--generator.name", "tests.examples.gpu_model:GpuGenerator"]


def fingerprint(given: str) -> str:
    return hashlib.sha256(f"points on {given}".encode()).hexdigest()


def test_without_gpus_for_the_stage_the_driver_sees_none(tiny, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    settings = load_settings(["--config", tiny, *GPU_MODEL], "test", "", tiny)
    assert described(settings).generator["fingerprint"] == fingerprint("none")


@pytest.mark.ray
def test_with_gpus_a_worker_that_has_one_is_asked(tiny, tmp_path, environment):
    environment = {k: v for k, v in environment.items() if k != "CUDA_VISIBLE_DEVICES"}
    program = [sys.executable, str(ROOT / "jobs" / "generate_dataset.py"), "--config", tiny]
    words = [*GPU_MODEL, "--dataset.samples", "60", "--engine.generator.gpus", "0.5"]
    with head_node(tmp_path, environment, "--num-cpus=4", "--num-gpus=1") as head:
        done = subprocess.run(
            [*program, *words], env=head.joining, capture_output=True, text=True, timeout=240
        )
    assert done.returncode == 0, done.stderr
    dataset = Dataset(str(tmp_path / "out" / "dataset"))
    assert dataset.complete
    assert dataset.manifest.generator["fingerprint"] == fingerprint("a GPU")

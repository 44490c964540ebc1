"""Threads of the numerical libraries, each case in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mining.threads import VARIABLES

ROOT = Path(__file__).parents[2]
COUNT = """
import json, threadpoolctl
import cv2
before = cv2.getNumThreads()
import scipy.linalg, torch
pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
print(json.dumps({"cv2": before, "torch": torch.get_num_threads(), "pools": pools}))
"""
MANIFEST = """
from mining.description import describe
from mining.sampling import Measurer, Renderer
from schemas.settings import RunSettings
manifest = describe(RunSettings.model_validate({
    "generator": {"name": "tests.examples.points:PointsGenerator"},
    "extractors": {"tests.examples.points:PointsExtractor": {}},
    "dataset": {"samples": 3, "thumbnail": 0},
}))
"""


def counted(code: str) -> dict:
    """What the libraries say after `code`, in a process that nobody has told a thread count."""
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", code + COUNT],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "code",
    [
        "from mining.threads import limit_threads; limit_threads(1)",
        "import cv2, scipy.linalg, torch\n"
        "from mining.threads import limit_threads; limit_threads(1)",
        MANIFEST + "Renderer(manifest)(0)",
        MANIFEST + "Measurer(manifest)",
    ],
    ids=["before the libraries", "after the libraries", "Renderer", "Measurer"],
)
def test_every_library_keeps_to_one_thread_whenever_it_is_loaded(code):
    found = counted(code)
    assert (found["cv2"], found["torch"]) == (1, 1)
    assert found["pools"] and set(found["pools"]) == {1}

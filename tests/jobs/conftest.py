"""Settings for runs that are small and fast."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
POINTS = "tests.examples.points"
TINY = {
    "generator": {"name": f"{POINTS}:PointsGenerator"},
    "extractors": {f"{POINTS}:PointsExtractor": {"blind_every": 23}},
    "dataset": {"samples": 240, "shard_size": 20, "thumbnail": 16},
    "engine": {"workers": 2, "object_store_mb": 128},
    "mining": {
        "attributes": ["yaw", "pitch", "smile", "mouth_open"],
        "methods": {"ridge": {}, "svm": {"share": 0.3}, "nrsfm": {}, "robust_pca": {}},
        "landmarks": "points_landmarks",
        "nrsfm": {"components": 4},
        "regressor": {"epochs": 8, "hidden": [64]},
    },
    "evaluation": {"identities": 6, "steps": [-1.0, 1.0], "bootstrap": 50},
}


def write_tiny(folder: Path) -> str:
    """The path of a settings file for a tiny run into folder/out."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, "out": str(folder / "out")}))
    return str(path)


@pytest.fixture
def tiny(tmp_path) -> str:
    """As `write_tiny`, for one test alone."""
    return write_tiny(tmp_path)


@pytest.fixture(scope="module")
def shared_tiny(tmp_path_factory) -> str:
    """As `write_tiny`, for all tests of a file."""
    return write_tiny(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """For programs started as processes of their own: the repository is on their path."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
    return {**inherited, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}

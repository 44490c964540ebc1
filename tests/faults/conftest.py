"""One undisturbed run, to which every disturbed one is compared."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.dataset import Dataset
from tests.faults.runs import PROGRAM, ROOT, SAMPLES, SHARDS, Run, digests, running, write_settings


@dataclass(frozen=True)
class Undisturbed:
    """What every run must leave."""

    folder: Path
    digests: dict[str, str]
    sample_ids: list[str]

    def check(self, out: Path) -> None:
        """No sample lost, none there twice, and every byte the same."""
        ids = Dataset(str(out / "dataset")).read(["sample_id"]).column("sample_id").to_pylist()
        assert ids == self.sample_ids
        assert digests(out) == self.digests


@pytest.fixture(scope="session")
def environment() -> Iterator[dict[str, str]]:
    """For programs started as processes of their own; their Rays share a folder that is removed."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    folder = f"/tmp/ll{secrets.token_hex(3)}"  # Unix sockets below must stay under 107 characters
    yield {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_TMPDIR": folder,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def settings(tmp_path_factory) -> str:
    """The path of the settings file."""
    return write_settings(tmp_path_factory.mktemp("settings"))


@pytest.fixture
def start(settings, environment, tmp_path) -> Callable[..., Run]:
    """Starts `generate_dataset.py` into a folder, with more words and more environment."""

    def start(out: Path, *words: str, **more: str) -> Run:
        log = tmp_path / f"{len(list(tmp_path.glob('*.log')))}.log"
        return Run([*PROGRAM, settings, "--out", str(out), *words], {**environment, **more}, log)

    return start


@pytest.fixture(scope="session")
def undisturbed(settings, environment, tmp_path_factory) -> Undisturbed:
    """A run that nobody disturbs."""
    out = tmp_path_factory.mktemp("undisturbed")
    command = [*PROGRAM, settings, "--out", str(out)]
    with running(Run(command, environment, out / "log")) as run:
        assert run.end() == 0, run.said
    ids = Dataset(str(out / "dataset")).read(["sample_id"]).column("sample_id").to_pylist()
    assert len(set(ids)) == len(ids) == SAMPLES
    assert len(digests(out)) == 2 * SHARDS + 1  # shards, receipts, manifest
    return Undisturbed(out / "dataset", digests(out), ids)

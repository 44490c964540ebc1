"""A process that is ended or stopped from outside while its supervisor talks to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from jobs.isolation.messages import COMMIT, MEASURE, At, Setup
from jobs.isolation.supervisor import Supervisor
from mining.description import describe
from schemas.settings import RunSettings
from storage.files import Store
from storage.manifest import claim

POINTS = "tests.examples.points"


@pytest.fixture
def started(tmp_path) -> Iterator[Supervisor]:
    """A supervisor of an extractor's process that has loaded."""
    manifest = describe(
        RunSettings.model_validate(
            {
                "generator": {"name": f"{POINTS}:PointsGenerator"},
                "extractors": {f"{POINTS}:PointsExtractor": {}},
                "dataset": {"samples": 4, "shard_size": 4},
            }
        )
    )
    claim(Store(str(tmp_path)), manifest)
    setup = Setup(manifest.content, str(tmp_path), (MEASURE, COMMIT), timeout=5.0, attempts=2)
    supervisor = Supervisor(setup)
    supervisor.start()
    yield supervisor
    supervisor.close()


def test_a_process_that_does_not_take_its_images_is_ended_in_time(started):
    os.kill(started.pid, signal.SIGSTOP)
    done = started.run(0, bytes(20_000_000))  # more than a socket holds
    assert "no answer in 5 s" in done.deaths[0]
    # the next process takes them, and finds that they are none
    assert "Arrow" in done.failure or "Invalid" in done.failure, done.failure


@pytest.mark.parametrize(
    ("number", "outside"),
    [(signal.SIGTERM, True), (signal.SIGKILL, True), (signal.SIGABRT, False)],
)
def test_only_signals_from_outside_leave_the_image_without_blame(started, number, outside):
    os.kill(started.pid, number)
    lost = started._death(At(MEASURE, 0, 1, "points"))
    assert lost.killed is outside
    assert number.name in lost.reason

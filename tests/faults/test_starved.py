"""A stage whose only worker is lost while another stage's wait for the same CPU."""

from __future__ import annotations

import os

import pytest

from tests.faults.runs import GENERATOR, kill, receipts, running, until

pytestmark = [pytest.mark.ray, pytest.mark.slow]
# a local Ray has as many CPUs as the machine: all are taken, and extractors wait for one
MOST = (os.cpu_count() or 1) + 1
CROWDED = (
    *("--engine.workers", "1", "--engine.stages", "split", "--engine.generator.cpus", "1"),
    *("--engine.extractor.cpus", "1", "--engine.extractor.max_actors", str(MOST)),
)


def test_the_other_stage_makes_room(start, undisturbed, tmp_path):
    """The extractor that takes the lost generator's CPU gives it up again."""
    out = tmp_path / "out"
    with running(start(out, *CROWDED)) as run:
        assert until(lambda: (run.actors(GENERATOR) and receipts(out) > 2) or run.over)
        assert not run.over, run.said
        (generator,) = run.actors(GENERATOR)
        kill(generator)
        assert run.end() == 0, run.said
    undisturbed.check(out)

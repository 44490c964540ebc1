"""Whoever is killed with -9, and whenever: the same bytes, and readers never see a half of one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from tests.faults.reader import watched
from tests.faults.runs import (
    EXTRACTOR,
    GENERATOR,
    GRACE,
    Process,
    Run,
    kill,
    receipts,
    running,
    until,
)

pytestmark = pytest.mark.ray
RUNS = 50
QUICK = (6, 1)  # a driver and a generator's actor, each killed once; make faults has them all
WORKERS = {1: GENERATOR, 2: EXTRACTOR}
Starter = Callable[..., Run]


@pytest.fixture
def trial(start, undisturbed, tmp_path) -> Callable[[int], None]:
    """One run by its number: the driver, a generator or an extractor is killed, in turn."""

    def trial(number: int) -> None:
        out, rng = tmp_path / "out", np.random.default_rng(number)
        turn, victim = divmod(number, 3)
        with watched(out) as reader:
            if victim == 0:
                killed = kill_drivers(start, out, ("fused", "split")[turn % 2], rng)
            else:
                killed = kill_workers(start, out, WORKERS[victim], turn % 2 == 1, rng)
        print(f"run {number} killed: {'; '.join(killed)}; {reader.polls} polls")  # pytest -rP
        assert killed, "the run was over before anything could be killed"
        undisturbed.check(out)
        assert not reader.violations, reader.violations[:5]
        assert reader.polls > 10 and reader.growths > 3
        assert reader.rows == len(undisturbed.sample_ids)

    return trial


@pytest.mark.parametrize("number", QUICK)
def test_a_killed_run_leaves_the_bytes_of_an_undisturbed_one(number, trial):
    trial(number)


@pytest.mark.faults
@pytest.mark.parametrize("number", range(RUNS))
def test_fifty_killed_runs_leave_the_bytes_of_an_undisturbed_one(number, trial):
    trial(number)


def test_nothing_of_a_run_outlives_its_killed_driver(start, tmp_path):
    with running(start(tmp_path / "out", "--engine.stages", "split")) as run:
        assert until(lambda: run.isolated(GENERATOR) and run.isolated(EXTRACTOR)), run.said
        run.kill_driver()
        assert until(lambda: not run.workers(), GRACE), run.workers()


def test_a_run_that_is_stopped_says_so_and_goes_on_when_run_again(start, undisturbed, tmp_path):
    out = tmp_path / "out"
    # a pytest in the background of a shell ignores SIGINT, and what it starts would inherit that
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        stopped = start(out)
    finally:
        signal.signal(signal.SIGINT, before)
    with running(stopped):
        assert until(lambda: receipts(out) > 2 or stopped.over)
        os.killpg(stopped.driver.pid, signal.SIGINT)  # as a terminal does, to Ray's processes too
        assert stopped.end() == 130, stopped.said
        assert stopped.lines == ["stopped; run the same command again to go on."]
        assert until(lambda: not stopped.processes(), GRACE), stopped.processes()
    assert 0 < receipts(out) < 30
    with running(start(out)) as again:
        assert again.end() == 0, again.said
    undisturbed.check(out)


def kill_drivers(start: Starter, out: Path, stages: str, rng: np.random.Generator) -> list[str]:
    """Kill the driver once or twice, start it again at once each time, and let the last one end.

    What its Ray is doing goes on for a moment beside the next one.
    """
    killed: list[str] = []
    words = ("--engine.stages", stages)
    with ExitStack() as stack:
        for _ in range(rng.integers(1, 3)):
            run = stack.enter_context(running(start(out, *words)))
            if rng.random() < 0.25:  # while Ray and the workers start
                time.sleep(rng.uniform(0, 6))
            else:
                wait_for_more(run, out, rng)
            if not run.over:
                run.kill_driver()
                killed.append(f"{stages} driver at {receipts(out)} shards")
        last = stack.enter_context(running(start(out, *words)))
        assert last.end() == 0, last.said
        assert until(lambda: not last.processes(), GRACE), last.processes()
    return killed


def kill_workers(
    start: Starter, out: Path, title: str, isolated: bool, rng: np.random.Generator
) -> list[str]:
    """Kill a Ray actor or its isolated process once or twice; the run goes on by itself."""
    killed: list[str] = []
    with running(start(out, "--engine.stages", "split")) as run:
        find = run.isolated if isolated else run.actors
        for _ in range(rng.integers(1, 3)):
            found: list[Process] = []
            wait_for_more(run, out, rng, lambda find=find: find(title))
            until(lambda found=found, find=find: found.extend(find(title)) or found or run.over)
            if found and not run.over:
                victim = found[rng.integers(len(found))]
                kill(victim)
                killed.append(f"{title} {'process' if isolated else 'actor'} at {receipts(out)}")
        assert run.end() == 0, run.said
        assert until(lambda: not run.processes(), GRACE), run.processes()
    return killed


def wait_for_more(
    run: Run, out: Path, rng: np.random.Generator, look: Callable[[], object] = lambda: None
) -> None:
    """Wait for a random number of further shards, and a little more; not beyond the run's end."""
    wanted = receipts(out) + int(rng.integers(0, 13))

    def enough() -> bool:
        look()  # actors are told apart by what they are seen doing
        return receipts(out) >= wanted or run.over

    until(enough)
    time.sleep(rng.uniform(0, 0.3))

"""Two drivers on one dataset, each with a Ray of its own: no damage, and nothing twice."""

from __future__ import annotations

import json
import os
import signal

import pytest

from storage.files import Store
from storage.runs import DONE, runs
from tests.faults.reader import watched
from tests.faults.runs import ACTOR, SHARDS, receipts, running, until

pytestmark = pytest.mark.ray


@pytest.mark.faults
def test_two_drivers_started_at_once_leave_the_bytes_of_one(start, undisturbed, tmp_path):
    out = tmp_path / "out"
    with watched(out) as reader, running(start(out)) as one, running(start(out)) as other:
        assert one.end() == 0, one.said
        assert other.end() == 0, other.said
    undisturbed.check(out)
    assert not reader.violations, reader.violations[:5]
    assert reader.polls > 10 and reader.rows == len(undisturbed.sample_ids)
    records = runs(Store(str(out / "dataset")))
    assert {record.state for record in records} == {DONE}
    assert sum(record.shards for record in records) >= SHARDS


@pytest.mark.slow
def test_a_driver_that_comes_later_says_that_it_helps(start, undisturbed, tmp_path):
    out = tmp_path / "out"
    with watched(out) as reader, running(start(out, "--engine.workers", "1")) as one:
        assert until(lambda: receipts(out) > 2 or one.over)
        (worker,) = one.isolated(ACTOR)
        os.kill(worker.pid, signal.SIGSTOP)  # so that the other one cannot come too late to help
        with running(start(out)) as other:
            assert until(lambda: "helping" in other.said or other.over)
            os.kill(worker.pid, signal.SIGCONT)
            assert one.end() == 0, one.said
            assert other.end() == 0, other.said
    first = json.loads(other.said.splitlines()[0])
    assert " s ago) is making this dataset too: helping" in first["text"], other.said
    assert "helping" not in one.said
    undisturbed.check(out)
    assert not reader.violations, reader.violations[:5]

"""A node is lost in the middle of a run and another one comes: the run finishes by itself."""

from __future__ import annotations

import secrets
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.files import Store
from storage.runs import DONE, runs
from tests.faults.reader import watched
from tests.faults.runs import ACTOR, SHARDS, Run, receipts, running, until

pytestmark = pytest.mark.ray
CLUSTER = [sys.executable, str(Path(__file__).with_name("cluster.py"))]


class Nodes:
    """The nodes of `cluster.py`."""

    def __init__(self, run: Run):
        self._run = run
        assert until(lambda: self._heard("at ") or run.over)
        assert not run.over, run.said
        self.address = self._heard("at ")[0].removeprefix("at ")

    def lose_one(self) -> None:
        """End the node on which the most actors are working, without grace."""
        actors = self._run.actors(ACTOR)
        assert actors, "no actor is at work"
        raylet, _ = Counter(actor.parent for actor in actors).most_common(1)[0]
        self._do(f"remove {raylet}")

    def add_one(self) -> None:
        """Start another node."""
        self._do("add")

    def _do(self, words: str) -> None:
        before = len(self._heard("done"))
        self._run.tell(words)
        assert until(lambda: len(self._heard("done")) > before or self._run.over)
        assert not self._run.over, self._run.said

    def _heard(self, start: str) -> list[str]:
        return [line for line in self._run.lines if line.startswith(start)]


@pytest.fixture(scope="module")
def authentic(environment, tmp_path_factory) -> dict[str, str]:
    """The environment of a cluster that asks for a token, and of its drivers."""
    token = tmp_path_factory.mktemp("cluster") / "token"
    token.write_text(secrets.token_hex(32))
    return {**environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


@pytest.fixture
def nodes(authentic, tmp_path) -> Iterator[Nodes]:
    """A head that takes no work, and two nodes that do."""
    with running(Run(CLUSTER, authentic, tmp_path / "cluster.log")) as run:
        yield Nodes(run)


@pytest.mark.parametrize("stages", [pytest.param("fused", marks=pytest.mark.slow), "split"])
def test_a_run_goes_on_when_a_node_is_lost_and_another_comes(
    stages, nodes, authentic, start, undisturbed, tmp_path
):
    out = tmp_path / "out"
    joined = {**authentic, "RAY_ADDRESS": nodes.address}
    words = ("--engine.workers", "3", "--engine.stages", stages)
    with watched(out) as reader, running(start(out, *words, **joined)) as run:
        assert until(lambda: receipts(out) > 3 or run.over)
        nodes.lose_one()
        assert receipts(out) < SHARDS and not run.over, "the run was over before a node was lost"
        nodes.add_one()
        assert run.end() == 0, run.said
    undisturbed.check(out)
    assert not reader.violations, reader.violations[:5]
    (record,) = runs(Store(str(out / "dataset")))
    assert record.state == DONE
    assert record.lost >= 1, run.said

"""The actors of one stage: as many as the cluster has room for, replaced when they are lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.isolation.messages import Setup
from jobs.isolation.supervisor import Outcome, Supervisor
from jobs.placement import Need, hide_gpus

DEPTH = 2  # shards that an actor is given at once, so that it never waits for the driver


class StageActor:
    """What Ray runs: one supervised process, and what it makes of each shard.

    Args:
        gpus: what Ray gives it; with 0 it sees none.
    """

    def __init__(self, setup: Setup, gpus: float):
        if not gpus:
            hide_gpus()
        self._supervisor = Supervisor(setup)

    def here(self) -> None:
        """Nothing; that it answers says that the cluster had room for it."""

    def start(self) -> None:
        """Load generator and extractors; LodeError where that cannot be."""
        self._supervisor.start()

    def make(self, shard: int, images: Any = None) -> Outcome:
        """The shard, committed; `images` are a rendered shard as uint8 numbers."""
        return self._supervisor.run(shard, None if images is None else memoryview(images))

    def render(self, shard: int) -> tuple[Outcome, Any]:
        """The shard's outcome without its images, and the images, which stay out of the driver."""
        done = self._supervisor.run(shard)
        if done.images is None:
            return done, None
        # as an array the bytes go into the object store, and out of it, without a copy
        rest = {key: value for key, value in vars(done).items() if key != "images"}
        return Outcome(**rest), np.frombuffer(done.images, np.uint8)


@dataclass(eq=False)
class Worker:
    """One actor, as the driver sees it."""

    actor: Any
    placing: Any  # the reference that is ready once the cluster has room for it
    starting: Any  # and the one that is ready once it has loaded
    placed: bool = False
    ready: bool = False
    load: int = 0  # shards that it was given and has not answered


class Pool:
    """The workers of one stage, between `need.least` and `need.most`."""

    def __init__(self, need: Need, setup: Setup):
        self.need = need
        self._setup = setup
        self.workers: list[Worker] = []
        self.grow(need.least)

    def grow(self, count: int) -> None:
        """Ask for workers up to `count`; those without room wait in Ray until there is some."""
        while len(self.workers) < count:
            self.workers.append(self._ask())

    def idle(self, depth: int) -> Worker | None:
        """The ready worker with the least to do; None where all have `depth` shards."""
        free = [worker for worker in self.workers if worker.ready and worker.load < depth]
        return min(free, key=lambda worker: worker.load, default=None)

    @property
    def placed(self) -> int:
        """How many workers the cluster has found room for."""
        return sum(worker.placed for worker in self.workers)

    @property
    def awaited(self) -> dict[Any, Worker]:
        """Reference -> worker of what those that have not will answer next."""
        return {
            worker.starting if worker.placed else worker.placing: worker
            for worker in self.workers
            if not worker.ready
        }

    def drop(self, worker: Worker) -> None:
        """End one worker for good."""
        import ray

        if worker in self.workers:
            self.workers.remove(worker)
            ray.kill(worker.actor)

    def close(self) -> None:
        """End all workers."""
        for worker in list(self.workers):
            self.drop(worker)

    def _ask(self) -> Worker:
        import ray

        remote: Any = ray.remote(
            num_cpus=self.need.cpus, num_gpus=self.need.gpus, max_restarts=0, max_task_retries=0
        )(StageActor)
        actor = remote.remote(self._setup, self.need.gpus)
        return Worker(actor, actor.here.remote(), actor.start.remote())

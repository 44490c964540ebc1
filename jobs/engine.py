"""The scheduler that turns shard numbers into committed shards on the running Ray.

Two shapes: one stage whose actors do everything, or generators and extractors apart with the
images between them in Ray's object store. The driver holds the numbers of shards and what is in
flight, nothing else. That a shard exists once and whole rests on the files alone; here it is only
decided who makes it, and what happens when a worker or a node is lost on the way.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from jobs.cluster import check_stop, plain_errors
from jobs.isolation.messages import Setup
from jobs.isolation.supervisor import Outcome
from jobs.placement import is_split, shards_in_flight, stage_needs
from jobs.pool import DEPTH, Pool, Worker
from schemas.errors import LostWorkerError
from schemas.settings import EngineSettings
from storage.manifest import Manifest

MOST_LOSSES = 10  # of workers on one shard, after which the shard is given up
BEGUN = 2.0  # seconds at a worker after which a shard counts as begun
PATIENCE = 30.0  # seconds without a single worker before that is said
STARVED = 5.0  # seconds without one in a stage before another stage makes room for it


@dataclass(frozen=True)
class Event:
    """A shard was rendered, or finished, or there is something to say; or a second went by."""

    kind: Literal["rendered", "finished", "said", "waiting"]
    outcome: Outcome | None = None
    text: str = ""
    lost: bool = False  # a worker or its process died or hung


@dataclass(frozen=True)
class _Flight:
    """One shard at one worker."""

    shard: int
    pool: Pool
    worker: Worker
    images: Any = None  # the reference to what a generator makes, or an extractor reads
    since: float = field(default_factory=time.monotonic)


def stream(
    manifest: Manifest, url: str, shards: Sequence[int], engine: EngineSettings
) -> Iterator[Event]:
    """Make the given shards of the dataset at an absolute URL.

    Raises:
        InputError: the object store cannot hold the images of one shard.
        LodeError: as raised in a worker; it concerns every shard, such as a full disk.
        LostWorkerError: workers are lost again and again, and no shard is finished.
    """
    scheduler = _Scheduler(manifest, url, shards, engine)
    try:
        with plain_errors("generating"):
            yield from scheduler.run()
    finally:
        scheduler.close()


class _Scheduler:
    def __init__(self, manifest: Manifest, url: str, shards: Sequence[int], engine: EngineSettings):
        self._todo = deque(shards)
        self._rendered: deque[tuple[int, Any]] = deque()  # shard and the reference to its images
        self._flights: dict[Any, _Flight] = {}
        self._losses: dict[int, float] = {}  # shard -> how often it was lost
        self._lost_in_a_row = 0
        split = is_split(engine)
        self._room = shards_in_flight(engine, manifest) if split else len(self._todo)
        self._pools: list[Pool] = []
        content = dict(manifest.content)
        for need in stage_needs(engine):
            setup = Setup(
                content, url, need.does, engine.timeout, engine.attempts, engine.max_failed
            )
            self._pools.append(Pool(need, setup))
        self._grow()
        self._first, self._last = self._pools[0], self._pools[-1]
        self._without = {id(pool): time.monotonic() for pool in self._pools}
        self._said = self._made_room = time.monotonic()

    def _grow(self) -> None:
        """Ask for all workers once every stage has its least: none takes another's last CPU."""
        if len(self._pools) == 1 or all(p.placed >= p.need.least for p in self._pools):
            for pool in self._pools:
                pool.grow(pool.need.most)

    def run(self) -> Iterator[Event]:
        """Until every shard is finished, one way or another."""
        import ray

        while self._todo or self._rendered or self._flights:
            self._submit()
            awaited = {ref: (p, w) for p in self._pools for ref, w in p.awaited.items()}
            refs = [*self._flights, *awaited]
            done, _ = ray.wait(refs, num_returns=1, timeout=1.0, fetch_local=False)
            check_stop()
            for ref in done:
                if ref in awaited:
                    yield from self._answered(ref, *awaited[ref])
                else:
                    yield from self._landed(ref, self._flights.pop(ref))
            yield from self._look_around()
            yield Event("waiting")

    def close(self) -> None:
        """End all workers."""
        for pool in self._pools:
            pool.close()

    def _submit(self) -> None:
        """Give every free worker a shard, those that are rendered first."""
        while self._rendered and (worker := self._last.idle(DEPTH)):
            shard, images = self._rendered.popleft()
            self._fly(worker.actor.make.remote(shard, images), shard, self._last, worker, images)
        split = self._first is not self._last
        while self._todo and self._aloft < self._room:
            # towards the end nobody queues behind a busy worker while another has nothing
            few = len(self._todo) <= len(self._first.workers)
            worker = self._first.idle(1 if few else DEPTH)
            if worker is None:
                return
            shard = self._todo.popleft()
            if split:
                info, images = worker.actor.render.options(num_returns=2).remote(shard)
                self._fly(info, shard, self._first, worker, images)
            else:
                self._fly(worker.actor.make.remote(shard), shard, self._first, worker)

    @property
    def _aloft(self) -> int:
        """Shards whose images are in the object store, or on their way there."""
        return len(self._flights) + len(self._rendered)

    def _fly(self, ref: Any, shard: int, pool: Pool, worker: Worker, images: Any = None) -> None:
        worker.load += 1
        self._flights[ref] = _Flight(shard, pool, worker, images)

    def _answered(self, ref: Any, pool: Pool, worker: Worker) -> Iterator[Event]:
        """A worker was placed, or has loaded."""
        import ray
        from ray.exceptions import RayError

        try:
            ray.get(ref)
        except RayError as error:
            if not _is_loss(error):
                raise
            yield from self._replace(pool, worker, error)
            return
        worker.ready, worker.placed = worker.placed, True
        self._grow()

    def _landed(self, ref: Any, flight: _Flight) -> Iterator[Event]:
        import ray
        from ray.exceptions import ObjectLostError, RayError

        flight.worker.load -= 1
        try:
            outcome: Outcome = ray.get(ref)
        except ObjectLostError:  # with the node that held the images
            yield Event("said", text=f"shard {flight.shard}: its images were lost", lost=True)
            yield from self._again(replace(flight, images=None))
            return
        except RayError as error:
            if not _is_loss(error):
                raise
            yield from self._replace(flight.pool, flight.worker, error)
            yield from self._again(flight)
            return
        for death in outcome.deaths:
            yield Event("said", text=death, lost=True)
        if outcome.receipt is None and not outcome.failure:
            self._rendered.append((outcome.shard, flight.images))
            yield Event("rendered", outcome)
            return
        self._lost_in_a_row = 0
        yield Event("finished", outcome)

    def _again(self, flight: _Flight) -> Iterator[Event]:
        """Give a shard whose worker was lost to another."""
        # a shard that was hardly begun was given to a worker that was gone already, perhaps with
        # many others of its node
        begun = time.monotonic() - flight.since > BEGUN
        losses = self._losses.get(flight.shard, 0.0) + (1.0 if begun else 0.05)
        self._losses[flight.shard] = losses
        if losses >= MOST_LOSSES:
            failure = "its workers, or the nodes with its images, were lost again and again"
            yield Event("finished", Outcome(flight.shard, failure=failure))
        elif flight.pool is self._last and flight.images is not None:
            self._rendered.appendleft((flight.shard, flight.images))
        else:
            self._todo.appendleft(flight.shard)

    def _replace(self, pool: Pool, worker: Worker, error: BaseException) -> Iterator[Event]:
        """End a lost worker, once, and ask for another."""
        if worker not in pool.workers:
            return
        pool.drop(worker)
        self._lost_in_a_row += 1
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        most = MOST_LOSSES + sum(p.need.most for p in self._pools)
        if self._lost_in_a_row > most:
            raise LostWorkerError(
                f"generating: {self._lost_in_a_row} workers were lost and no shard was finished: "
                f"{said}"
            )
        yield Event("said", text=f"a worker of {pool.need.stage} was lost: {said}", lost=True)
        pool.grow(len(pool.workers) + 1)

    def _look_around(self) -> Iterator[Event]:
        """Say what the run waits for, and make room for a stage that has no worker."""
        now = time.monotonic()
        for pool in self._pools:
            if pool.placed:
                self._without[id(pool)] = now
                continue
            missing = now - self._without[id(pool)]
            if min(missing, now - self._made_room) > STARVED and not self._flights:
                self._made_room = now
                self._make_room(pool)
            if missing > PATIENCE and now - self._said > PATIENCE:
                self._said = now
                asked = ", ".join(f"{name} {n:g}" for name, n in pool.need.resources.items() if n)
                text = f"waiting {missing:.0f} s for room for a worker of {pool.need.stage}"
                yield Event("said", text=f"{text} ({asked})")

    def _make_room(self, starved: Pool) -> None:
        """End a worker of a stage that has more than it must; one that holds no room first.

        Only where it holds what the starved stage waits for: ending CPU workers makes no GPU free.
        """
        scarce = "GPU" if starved.need.gpus else "CPU"
        for pool in self._pools:
            holds = pool.need.resources[scarce] > 0
            if pool is not starved and holds and len(pool.workers) > pool.need.least:
                unplaced = [worker for worker in pool.workers if not worker.placed]
                pool.drop((unplaced or pool.workers)[-1])
                return


def _is_loss(error: BaseException) -> bool:
    """Whether Ray's error says that a worker or its node is gone, or cannot start its process."""
    from ray.exceptions import (
        NodeDiedError,
        OutOfMemoryError,
        RayActorError,
        RayTaskError,
        WorkerCrashedError,
    )

    if isinstance(error, RayTaskError):
        return isinstance(error.cause, LostWorkerError | OSError)
    return isinstance(error, RayActorError | NodeDiedError | WorkerCrashedError | OutOfMemoryError)

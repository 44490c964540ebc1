"""The shape model's fit over the shards of a dataset: every step of every part is a Ray task.

What a part keeps between steps lies in Ray's object store, which spills to disk; the landmarks are
read from the shards, twice, and are never held together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cluster import plain_errors
from mining.methods.fit_parts import PartsFit, fit_parts
from mining.methods.nrsfm import NrsfmConfig
from mining.methods.parts import Step, total
from mining.threads import limit_threads
from schemas.samples import from_column
from storage.dataset import Dataset
from storage.files import Store
from storage.shards import Receipt, read_shard

ROWS = 4096  # of a part, at least: small shards go together, as a task has its cost
AHEAD = 2  # tasks for each processor, whose answers may wait to be added


@dataclass(frozen=True)
class ShardLandmarks:
    """Reads the landmarks of some shards."""

    url: str
    receipts: tuple[Receipt, ...]
    column: str

    def __call__(self) -> NDArray[np.float32]:
        """(N, L, 2) of all their rows, NaN where nothing was measured."""
        store = Store(self.url)
        tables = (read_shard(store, receipt, [self.column]) for receipt in self.receipts)
        return np.concatenate([from_column(table.column(self.column)) for table in tables])


def landmark_parts(dataset: Dataset, column: str, rows: int = ROWS) -> list[ShardLandmarks]:
    """The finished shards in order, so many together that a part has `rows` rows or is the last."""
    parts: list[list[Receipt]] = [[]]
    for shard in sorted(dataset.receipts):
        if sum(receipt.rows for receipt in parts[-1]) >= rows:
            parts.append([])
        parts[-1].append(dataset.receipts[shard])
    return [ShardLandmarks(dataset.url, tuple(receipts), column) for receipts in parts if receipts]


class RayParts:
    """Parts in Ray's object store; a step of a part is a task of one processor."""

    def __init__(self, parts: Sequence[Any]):
        """
        Args:
            parts: what the first step takes, or references to it.
        """
        import ray

        self._parts = [p if isinstance(p, ray.ObjectRef) else ray.put(p) for p in parts]

    def each(self, step: Step, *arguments: Any) -> tuple[RayParts, list[Any]]:
        """As `mining.methods.parts.Parts`."""
        import ray

        run = ray.remote(num_cpus=1, num_returns=2)(_run)
        given = ray.put(arguments)
        made: list[Any] = [run.remote(step, part, given) for part in self._parts]
        with plain_errors("nrsfm"):
            said = ray.get([said for _, said in made])
        return RayParts([part for part, _ in made]), said

    def sum(self, question: Callable[..., Any], *arguments: Any) -> Any:
        """As `mining.methods.parts.Parts`."""
        with plain_errors("nrsfm"):
            return total(self._answers(question, *arguments))

    def _answers(self, question: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
        """In the order of the parts; few more tasks than there are processors are on their way."""
        import ray

        run = ray.remote(num_cpus=1)(_run)
        given = ray.put(arguments)
        ahead = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting: deque[Any] = deque()
        for part in self._parts:
            waiting.append(run.remote(question, part, given))
            if len(waiting) > ahead:
                yield ray.get(waiting.popleft())
        while waiting:
            yield ray.get(waiting.popleft())

    def __iter__(self) -> Iterator[Any]:
        import ray

        return (ray.get(part) for part in self._parts)


def _run(step: Callable[..., Any], part: Any, arguments: tuple[Any, ...]) -> Any:
    limit_threads(1)
    return step(part, *arguments)


def factorise(sources: Sequence[ShardLandmarks], config: NrsfmConfig) -> PartsFit:
    """The shape model of the shards' landmarks, on the running Ray.

    Raises:
        InputError: there are too few rows or landmarks.
        CorruptDataError: a shard is damaged.
    """
    return fit_parts(RayParts(sources), config)

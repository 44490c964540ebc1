"""The chosen rows of a dataset as shards of another: read again by their place among the chosen.

A survey reads what decides once; then any shard of the new dataset can be made alone.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa

from storage.dataset import Dataset
from storage.sample_rows import Indices
from storage.selecting import INDEX, Choice, chosen, lots


@dataclass(frozen=True)
class Survey:
    """How many rows of which shards are chosen."""

    drawn: bytes | None  # the highest lot in the sample
    counts: tuple[int, ...]  # chosen rows of each shard of the parent
    indices: str  # SHA-256 of the chosen samples' indices

    @property
    def rows(self) -> int:
        """Of all shards."""
        return sum(self.counts)


def survey(dataset: Dataset, choice: Choice, watch: Callable[[], None] | None = None) -> Survey:
    """Count the chosen rows of a complete dataset, reading only the columns that decide.

    Args:
        watch: called after each shard.

    Raises:
        InputError: fewer rows match than the sample asks for.
        CorruptDataError: a shard is not what its receipt says.
    """
    drawn = lots(dataset, choice)
    decide = Choice(choice.where, (INDEX,), choice.sample, choice.seed)
    counts, indices = [], Indices()
    for _, table in chosen(dataset, decide, range(dataset.manifest.shards), drawn):
        counts.append(len(table))
        indices.take(table.column(INDEX).to_numpy())
        if watch is not None:
            watch()
    return Survey(drawn, tuple(counts), indices.hexdigest())


class Chosen:
    """The chosen rows of a complete dataset, in order, by their place among each other.

    Holds the rows of one shard of the parent at a time, beside those that are asked for.
    """

    def __init__(self, dataset: Dataset, choice: Choice, found: Survey):
        self._dataset, self._choice, self._found = dataset, choice, found
        self._starts = [0, *accumulate(found.counts)]
        self._last: tuple[int, pa.Table] | None = None

    def rows(self, first: int, stop: int) -> pa.Table:
        """Rows first .. stop - 1 of those chosen; stop > first."""
        parts: list[pa.Table] = []
        shard = bisect.bisect_right(self._starts, first) - 1
        while shard < len(self._found.counts) and self._starts[shard] < stop:
            start, end = self._starts[shard : shard + 2]
            begin, length = max(first - start, 0), min(stop, end) - max(first, start)
            if length > 0:
                parts.append(self._shard(shard).slice(begin, length))
            shard += 1
        return pa.concat_tables(parts)

    def _shard(self, shard: int) -> pa.Table:
        if self._last is None or self._last[0] != shard:
            ((_, table),) = chosen(self._dataset, self._choice, [shard], self._found.drawn)
            self._last = shard, table
        return self._last[1]

"""Versions derived: a card's rank within its lineage, in the order of commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

pc: Any = pyarrow.compute  # whose functions pyright does not see

LINEAGE = ("generator_fingerprint", "space", "attribute", "method")
DERIVED = (
    pa.field("version", pa.int32()),  # from 1
    pa.field("latest", pa.bool_()),  # no other of its lineage is newer
    pa.field("commit", pa.int64()),  # the Delta version; null where the log forgot it
)
_FINGERPRINT_DIGITS = 8  # fewer do not name a generator
_MOST_POSITION = 2**32  # beyond every position within a publication


def order(rows: pa.Table, commits: Mapping[str, int]) -> tuple[pa.Table, NDArray[np.int64]]:
    """The rows in the order of commits and of publishing within one, and their commit numbers.

    A publication that the log has forgotten is older than all that it remembers and has the
    number -1; among those the publishers' clocks decide.

    Args:
        rows: of `card_table.SCHEMA`, or some of its columns.
        commits: commit number by publication id.
    """
    names = pc.unique(rows["publication_id"])
    known = np.array([commits.get(name, -1) for name in names.to_pylist()], np.int64)
    alphabetic = np.empty(len(names), np.int64)
    alphabetic[pc.sort_indices(names).to_numpy()] = np.arange(len(names))
    each = pc.index_in(rows["publication_id"], value_set=names).to_numpy()
    numbers = known[each]
    clocks = rows["created_at"].cast(pa.int64()).to_numpy()
    sorted_ = np.lexsort((rows["position"].to_numpy(), alphabetic[each], clocks, numbers))
    if np.any(np.diff(sorted_) < 0):
        rows = rows.take(pa.array(sorted_))
    return rows.combine_chunks(), numbers[sorted_]


def codes(rows: pa.Table, columns: Sequence[str]) -> NDArray[np.int64]:
    """(N,) numbers, the same where the text columns are the same."""
    found = np.zeros(len(rows), np.int64)
    for name in columns:
        known = pc.unique(rows[name])
        each = pc.index_in(rows[name], value_set=known).to_numpy()
        # dense again, so that the product stays within 64 bits
        _, found = np.unique(found * len(known) + each, return_inverse=True)
    return found.astype(np.int64, copy=False)


def versions(lineages: NDArray[np.int64]) -> NDArray[np.int32]:
    """(N,) the rank of each row among those of its lineage before it, from 1."""
    sorted_ = np.argsort(lineages, kind="stable")
    starts = np.flatnonzero(np.diff(lineages[sorted_], prepend=-1))
    ranks = np.arange(len(lineages)) - np.repeat(starts, np.diff(starts, append=len(lineages)))
    found = np.empty(len(lineages), np.int32)
    found[sorted_] = ranks + 1
    return found


def newest(lineages: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether no later row is of the same lineage."""
    last = np.full(int(lineages.max(initial=-1)) + 1, -1)
    last[lineages] = np.arange(len(lineages))  # of rows with one code, the last is kept
    found = np.zeros(len(lineages), bool)
    found[last[last >= 0]] = True
    return found


class Places:
    """Where rows stand in one table, by their publication and position in it."""

    def __init__(self, within: pa.Table) -> None:
        self._names = pc.unique(within["publication_id"])
        keys = self._keys(within)
        self._order = np.argsort(keys)
        self._sorted = keys[self._order]

    def of(self, rows: pa.Table | pa.RecordBatch) -> NDArray[np.int64]:
        """(N,) the place of each row, -1 where it is not in the table."""
        keys = self._keys(rows)
        if not len(self._sorted):
            return np.full(len(keys), -1)
        at = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return np.where(self._sorted[at] == keys, self._order[at], -1)

    def _keys(self, rows: pa.Table | pa.RecordBatch) -> NDArray[np.int64]:
        found = pc.fill_null(pc.index_in(rows["publication_id"], value_set=self._names), -1)
        positions = rows["position"].to_numpy()
        return found.to_numpy().astype(np.int64) * _MOST_POSITION + positions


def made_by(rows: pa.Table, generator: str) -> NDArray[np.bool_]:
    """Which rows are of the generator of this name, or whose fingerprint starts so (8 digits)."""
    found = pc.equal(rows["generator"], generator)
    if len(generator) >= _FINGERPRINT_DIGITS:
        starts = pc.starts_with(rows["generator_fingerprint"], generator.lower())
        found = pc.or_(found, starts)
    return found.to_numpy()

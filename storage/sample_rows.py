"""Which samples a shard holds: all in order, or those that were picked of another dataset."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import CorruptDataError
from storage.manifest import Manifest


def check_indices(manifest: Manifest, shard: int, table: pa.Table) -> None:
    """Refuse a table that cannot be this shard by its indices.

    Raises:
        CorruptDataError: they are others, or not as many, or do not rise.
    """
    expected = manifest.rows(shard)
    indices = table.column("index").to_numpy()
    if manifest.picked is None:
        if not np.array_equal(indices, np.asarray(expected)):
            raise CorruptDataError(
                f"shard {shard}: {len(indices)} rows came, expected indices "
                f"{expected.start}..{expected.stop - 1} in order."
            )
    elif len(indices) != len(expected) or not rising(indices):
        raise CorruptDataError(
            f"shard {shard}: {len(indices)} rows came, expected {len(expected)} with rising "
            "indices."
        )


def check_samples(manifest: Manifest, shard: int, table: pa.Table) -> None:
    """Refuse a table of the right length whose indices or ids are not this shard's.

    Raises:
        CorruptDataError: names the first row that is wrong.
    """
    indices = table.column("index").to_numpy()
    if manifest.picked is None:
        rows = manifest.rows(shard)
        _check_column(table, "index", pa.array(rows, pa.int64()))
        _check_column(table, "sample_id", pa.array(manifest.sample_ids(shard), pa.string()))
        return
    if table.column("index").null_count or (len(indices) and indices[0] < 0):
        raise CorruptDataError("an index is missing or below 0")
    if not rising(indices):
        row = int(np.flatnonzero(np.diff(indices) <= 0)[0]) + 1
        raise CorruptDataError(
            f"row {row} has index {indices[row]} after {indices[row - 1]}, expected rising ones"
        )
    ids = manifest.ids_of(indices.tolist())
    _check_column(table, "sample_id", pa.array(ids, pa.string()))


def rising(indices: NDArray[np.int64]) -> bool:
    """Whether each index is higher than the one before."""
    return bool((np.diff(indices) > 0).all())


class Indices:
    """The SHA-256 of all indices of a dataset, taken shard by shard, in order."""

    def __init__(self) -> None:
        self._digest: Any = hashlib.sha256()
        self._last = -1
        self.count = 0
        self.ordered = True  # whether the indices rose over all shards

    def take(self, indices: NDArray[np.int64]) -> None:
        """The next shard's indices, which rise."""
        if len(indices):
            self.ordered &= int(indices[0]) > self._last
            self._last = int(indices[-1])
        self.count += len(indices)
        self._digest.update(np.ascontiguousarray(indices, "<i8").tobytes())

    def hexdigest(self) -> str:
        """64 hex digits over the 64-bit little-endian indices."""
        return self._digest.hexdigest()


def _check_column(table: pa.Table, name: str, expected: pa.Array) -> None:
    column = table.column(name)
    if column.equals(pa.chunked_array([expected])):
        return
    pairs = zip(column.to_pylist(), expected.to_pylist(), strict=True)
    row, came, wanted = next((k, a, b) for k, (a, b) in enumerate(pairs) if a != b)
    raise CorruptDataError(f"row {row} has {name} {came}, expected {wanted}")

"""The vectors of a catalogue's cards: read when they are asked for, a space's kept as a matrix."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from schemas.errors import CorruptDataError, StorageError
from storage import delta
from storage.card_table import SCHEMA
from storage.lineages import Places

if TYPE_CHECKING:
    from deltalake import DeltaTable

pc: Any = pyarrow.compute  # whose functions pyright does not see
_SCHEMA = pa.schema([SCHEMA.field(name) for name in ("publication_id", "position", "vector")])
_MOST_NAMED = 500  # publications, or ids, that a read is limited to; beyond, all are read
_MOST_KEPT = 4  # matrices; the one asked for longest ago is forgotten


@dataclass(frozen=True)
class Matrix:
    """Vectors of one shape, one per row."""

    values: NDArray[np.float32]  # (N, D), or (N, num_ws * D)
    norms: NDArray[np.float32]  # (N,)


@final
class Vectors:
    """Reads the vectors of one table; its threads take turns."""

    def __init__(self, url: str, table: DeltaTable) -> None:
        self.url, self.table = url, table
        self.lock = threading.RLock()
        self._matrices: OrderedDict[Any, Matrix] = OrderedDict()

    def each(self, rows: pa.Table) -> list[NDArray[np.float32]]:
        """The flat vector of every row, in memory of its own.

        Args:
            rows: with publication_id, position and direction_id.

        Raises:
            StorageError: a vector cannot be read, or is not there any more.
        """
        found: list[NDArray[np.float32] | None] = [None] * len(rows)
        for at, vectors in self._read(rows):
            for place, vector in zip(at.tolist(), vectors, strict=True):
                found[place] = _plain(vector.values).copy()
        vectors = [vector for vector in found if vector is not None]
        if len(vectors) < len(rows):
            raise self._gone(len(rows) - len(vectors))
        return vectors

    def column(self, rows: pa.Table) -> pa.ChunkedArray:
        """The vectors of the rows as the table's column; otherwise as `each`."""
        chunks, places = [], [np.empty(0, np.int64)]
        for at, vectors in self._read(rows):
            chunks.append(vectors)
            places.append(at)
        at = np.concatenate(places)
        if len(at) < len(rows):
            raise self._gone(len(rows) - len(at))
        column = pa.chunked_array(chunks, SCHEMA.field("vector").type)
        if np.array_equal(at, np.arange(len(at))):
            return column
        return pa.table({"vector": column}).take(pa.array(np.argsort(at)))["vector"]

    def matrix(
        self,
        key: Any,
        count: int,
        rows: Callable[[int], pa.Table],
        width: int,
        **equal: str,
    ) -> Matrix:
        """The vectors of rows that have one shape, as one matrix that is kept.

        Args:
            key: of the rows: the longer of two calls' rows begin with the shorter one's.
            count: of the rows.
            rows: from a place on, with publication_id, position and direction_id.
            width: numbers in each vector.
            equal: columns that have one value in all of the rows, so that less is read.

        Raises:
            CorruptDataError: a vector is not as long as the others.
            StorageError: as `each`.
        """
        with self.lock:
            known = self._matrices.pop(key, None) or _empty(width)
            have = len(known.norms)
            if have < count:
                known = _joined(known, self._filled(rows(have), width, equal))
            self._matrices[key] = known
            while len(self._matrices) > _MOST_KEPT:
                self._matrices.popitem(last=False)
        return Matrix(known.values[:count], known.norms[:count])

    def _filled(self, rows: pa.Table, width: int, equal: Mapping[str, str]) -> NDArray[np.float32]:
        values = np.empty((len(rows), width), np.float32)
        count = 0
        for at, vectors in self._read(rows, equal):
            flat = _plain(vectors.flatten())
            if flat.size != len(at) * width:
                raise CorruptDataError(
                    f"{self.url}: vectors do not have the {width} numbers that their shape says; "
                    "another program changed them. Publish the directions again."
                )
            values[at] = flat.reshape(len(at), width)
            count += len(at)
        if count < len(rows):
            raise self._gone(len(rows) - count)
        return values

    def _read(
        self, rows: pa.Table, same: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[tuple[NDArray[np.int64], pa.ListArray]]:
        """The vectors a batch at a time, and the places of their rows."""
        if not len(rows):
            return
        equal: dict[str, Any] = dict(same)
        names = pc.unique(rows["publication_id"])
        if len(names) <= _MOST_NAMED:
            equal["publication_id"] = names.to_pylist()
        if len(rows) <= _MOST_NAMED:
            equal["direction_id"] = rows["direction_id"].to_pylist()
        places = Places(rows)
        with self.lock:
            for batch in delta.stream(self.table, _SCHEMA, **equal):
                at = places.of(batch)
                if (at < 0).any():
                    batch, at = batch.filter(pa.array(at >= 0)), at[at >= 0]
                yield at, batch["vector"]

    def _gone(self, count: int) -> StorageError:
        return StorageError(
            f"{self.url}: {count} of the cards' vectors are not there any more; their rows were "
            "deleted since they were listed. List them again."
        )


def _plain(values: pa.Array) -> NDArray[np.float32]:
    return values.to_numpy(zero_copy_only=False)


def _empty(width: int) -> Matrix:
    return Matrix(np.empty((0, width), np.float32), np.empty(0, np.float32))


def _joined(known: Matrix, more: NDArray[np.float32]) -> Matrix:
    norms = np.sqrt(np.einsum("nd,nd->n", more, more))
    if not len(known.norms):
        return Matrix(more, norms)
    return Matrix(np.concatenate([known.values, more]), np.concatenate([known.norms, norms]))

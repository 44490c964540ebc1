"""The samples table: one row per latent, whatever its image turned out to be.

Columns, in this order:
    sample_id       <dataset id>-<index>, unique for ever
    index           0 .. samples - 1
    z               (z_dim,) the latent drawn from the prior; (num_ws, z_dim) where space is w+
    w               (w_dim,) the w that made the image, truncated
    w_plus          (num_ws, w_dim) the rows that made it, only where they are not all the same w
    condition       (c_dim,) the class or camera, where the generator takes one
    camera_*        yaw, pitch and roll in degrees, where the condition is a camera
    truth_*         parameters and landmarks, where the generator knows them
    thumbnail       a small JPEG
    <extractor>_*   status, reason and values of each extractor
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

VERSION = "2"
DTYPES = {
    "float32": pa.float32(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "string": pa.string(),
    "binary": pa.binary(),
}


@dataclass(frozen=True)
class Field:
    """One column of a dataset: its name, type, shape, unit and meaning."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    unit: str = ""
    text: str = ""
    names: tuple[str, ...] = field(default=())  # of the entries of a vector column
    nullable: bool = False

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Field:
        """The inverse of `to_json`."""
        shape, names = tuple(stored["shape"]), tuple(stored["names"])
        return cls(**{**stored, "shape": shape, "names": names})

    def to_json(self) -> dict[str, Any]:
        """Plain containers."""
        return {**asdict(self), "shape": list(self.shape), "names": list(self.names)}

    def to_arrow(self) -> pa.Field:
        """An Arrow field: nested fixed-size lists for tensors, unit and text as metadata."""
        about = {"unit": self.unit, "text": self.text, "names": ",".join(self.names)}
        about = {key: value for key, value in about.items() if value}
        return pa.field(
            self.name,
            tensor_type(DTYPES[self.dtype], self.shape),
            nullable=self.nullable,
            metadata=about or None,
        )


def tensor_type(value: pa.DataType, shape: Sequence[int]) -> pa.DataType:
    """list[shape[0]] of list[shape[1]] ... of value; the value itself for ()."""
    for size in reversed(shape):
        value = pa.list_(pa.field("item", value, nullable=False), size)
    return value


def samples_schema(fields: Iterable[Field], dataset_id: str) -> pa.Schema:
    """The Arrow schema of a dataset's shards."""
    about = {"table": "samples", "version": VERSION, "dataset": dataset_id}
    return pa.schema([item.to_arrow() for item in fields], metadata=about)


def to_column(values: NDArray, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """(N, *shape) to nested fixed-size lists; rows that are `missing` become null."""
    values = np.ascontiguousarray(values)
    column: pa.Array = pa.array(values.reshape(-1))
    for size in reversed(values.shape[1:]):
        item = pa.field("item", column.type, nullable=False)
        column = pa.FixedSizeListArray.from_arrays(column, type=pa.list_(item, size))
    if missing is None or not missing.any():
        return column
    # taking with a null index gives a null row, whatever the nesting
    rows = np.arange(len(values))
    return column.take(pa.array(rows, pa.int64(), mask=missing))


def from_column(column: pa.Array | pa.ChunkedArray) -> NDArray:
    """Nested fixed-size lists to (N, *shape); null rows become NaN (0 for whole numbers)."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    shape: list[int] = []
    kind = column.type
    while pa.types.is_fixed_size_list(kind):
        shape.append(kind.list_size)
        kind = kind.value_type
    count, valid = len(column), np.asarray(column.is_valid())
    if not shape:
        return column.to_numpy(zero_copy_only=False)
    flat = column.drop_null()
    for _ in shape:
        flat = flat.flatten()
    dtype = kind.to_pandas_dtype()
    result = np.full((count, *shape), np.nan if kind == pa.float32() else 0, dtype)
    result[valid] = np.asarray(flat).reshape(-1, *shape)
    return result

"""Columns, NumPy or Arrow, as expressions reckon with them.

Numbers are float64 arrays (N, *shape) with NaN for what is unknown; texts are Arrow large strings
with nulls; truth values are `schemas.expression_masks.Masks`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.expression_functions import aligned, finite
from schemas.expression_kinds import Kind, kind_of

Column: TypeAlias = NDArray | pa.Array


def readable(column: Any, name: str, who: str, wanted: Kind = "number") -> Column:
    """The column in one piece, and as Arrow where NumPy holds texts or objects in it.

    Args:
        wanted: the kind that it becomes where it holds nulls of no type.

    Raises:
        InputError: NumPy objects that are neither texts, numbers nor truth values.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not isinstance(column, pa.Array):
        column = _from_numpy(np.asarray(column), name, who)
    if isinstance(column, np.ndarray) or not pa.types.is_null(column.type):
        return column
    if wanted in ("text", "truth"):
        return column.cast(pa.large_string() if wanted == "text" else pa.bool_())
    shape = wanted[1] if isinstance(wanted, tuple) else ()
    return np.full((len(column), *shape), np.nan)


def _from_numpy(column: NDArray, name: str, who: str) -> Column:
    if column.dtype.kind in "biuf" and column.ndim:
        return column
    try:
        return pa.array(column, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{who}: the column {name!r} cannot be read: {said}") from None


def column_kind(column: Column, name: str, who: str) -> Kind:
    """The kind of a column; InputError where expressions do not read its type."""
    if isinstance(column, np.ndarray):
        if column.dtype.kind == "b" and column.ndim == 1:
            return "truth"
        return ("number", column.shape[1:]) if column.ndim > 1 else "number"
    kind = kind_of(column.type)
    if kind is None:
        raise InputError(
            f"{who}: the column {name!r} has the type {column.type}; expected numbers, fixed-size "
            "lists of them, texts or truth values."
        )
    return kind


def as_numbers(column: Column, indices: tuple[int, ...] = ()) -> NDArray[np.float64]:
    """(N, *shape) float64, of these entries only; NaN for nulls and whatever is not finite."""
    if isinstance(column, np.ndarray):
        return finite(column[(slice(None), *indices)])
    shape, gaps = [len(column)], []
    leaves: Any = column
    while pa.types.is_fixed_size_list(leaves.type):  # null lists at any depth keep their place
        if leaves.null_count:
            gaps.append(np.asarray(leaves.is_null()).reshape(shape))
        size = leaves.type.list_size
        leaves = leaves.values.slice(leaves.offset * size, len(leaves) * size)
        shape.append(size)
    taken = (slice(None), *indices)
    values = finite(_plain(leaves).reshape(shape)[taken])
    for gap in gaps:
        values = np.where(*aligned([gap[taken[: gap.ndim]], np.array(np.nan), values]))
    return values


def _plain(column: Any) -> NDArray:
    """Numbers without nesting; NaN for nulls."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        column = column.cast(pa.float64())  # decimals
    return column.to_numpy(zero_copy_only=False)


def as_texts(column: Any) -> pa.Array:
    """(N,) large strings."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.large_string())

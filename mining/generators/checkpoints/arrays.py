"""Tensors as places in a file: their numbers are read when asked for, and not before."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.generators.checkpoints.nodes import Slice
from schemas.errors import InputError

MOST_DIMENSIONS = 16
MOST_NUMBERS = 1 << 48  # in a tensor; as bytes they still fit into NumPy's 64 bits
NUMPY_CODES = re.compile(r"b1|[iu][1248]|f[248]")
BYTE_ORDERS = {"<": "<", "|": "", "=": "<", ">": ">"}  # "=" was written by a little-endian machine


@dataclass(frozen=True)
class Storage:
    """A run of equal numbers in a file."""

    dtype: str  # as torch names it: "float32", "bfloat16"
    count: int
    data: Slice  # count numbers, little-endian


@dataclass(frozen=True, eq=False)
class TensorRef:
    """A tensor that still lies in the file."""

    dtype: str  # as torch and NumPy name it: "float32"; "bfloat16" reads as float32
    stored: str  # NumPy's code of the stored numbers: "<f4", ">f4"; bfloat16 is "<u2"
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in numbers, not in bytes
    data: Slice  # its first number comes first

    def read(self) -> NDArray[Any]:
        """The numbers: a read-only view of the file, with the strides that it was saved with.

        bfloat16 comes widened to float32, which holds each of its numbers exactly.
        """
        kind = np.dtype(self.stored)
        view = np.ndarray(
            self.shape,
            kind,
            buffer=memoryview(self.data.buffer).toreadonly(),
            offset=self.data.offset,
            strides=[step * kind.itemsize for step in self.strides],
        )
        if self.dtype == "bfloat16":
            return (view.astype(np.uint32) << 16).view(np.float32)
        return view if kind.isnative else view.astype(kind.newbyteorder("="))


def tensor(
    storage: Storage, offset: int, shape: Sequence[int], strides: Sequence[int]
) -> TensorRef:
    """A tensor inside a storage, as torch lays them out.

    Raises:
        InputError: it reaches beyond the storage or has more numbers than the storage.
    """
    _check_shape(shape)
    _check_counts((offset, *strides))
    asked = f"a tensor of shape {tuple(shape)}, strides {tuple(strides)} and offset {offset}"
    if len(strides) != len(shape):
        raise InputError(f"{asked} does not say one stride for each dimension")
    count = math.prod(shape)
    reach = sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + 1 if count else 0
    if count > storage.count or offset + reach > storage.count:
        raise InputError(f"{asked} does not fit into its storage of {storage.count} numbers")
    stored = "<u2" if storage.dtype == "bfloat16" else np.dtype(storage.dtype).str
    size = np.dtype(stored).itemsize
    data = storage.data.part(offset * size, reach * size) if count else storage.data.part(0, 0)
    return TensorRef(storage.dtype, stored, tuple(shape), tuple(strides), data)


def array(code: str, shape: Sequence[int], fortran: bool, data: Slice) -> TensorRef:
    """A NumPy array: a contiguous run of numbers.

    Args:
        code: as `numpy_code` gives it.
        fortran: whether the first index runs fastest.

    Raises:
        InputError: the bytes are not as many as the shape needs.
    """
    _check_shape(shape)
    kind = np.dtype(code)
    if math.prod(shape) * kind.itemsize != data.length:
        raise InputError(
            f"an array of shape {tuple(shape)} and type {kind.name} does not pair up with its "
            f"{data.length} bytes"
        )
    order = shape if fortran else shape[::-1]
    strides = [math.prod(order[:axis]) for axis in range(len(order))]
    return TensorRef(
        kind.name, kind.str, tuple(shape), tuple(strides if fortran else strides[::-1]), data
    )


def numpy_code(code: Any, order: Any) -> str:
    """NumPy's code of plain numbers, from the two texts that a pickled dtype has.

    Raises:
        InputError: it is of another kind: objects, texts, records, dates.
    """
    texts = isinstance(code, str) and isinstance(order, str)
    if not (texts and NUMPY_CODES.fullmatch(code) and order in BYTE_ORDERS):
        raise InputError(
            f"arrays of type {shown(code)} in byte order {shown(order)} are not read; expected "
            "plain numbers: bool, int, uint or float"
        )
    return BYTE_ORDERS[order] + code


def shown(value: Any) -> str:
    """A value in an error's text; a nested one by its type alone, as its text may be endless."""
    return repr(value)[:40] if isinstance(value, str | int | float) else type(value).__name__


def _check_shape(shape: Sequence[Any]) -> None:
    """Counts whose product NumPy can hold, also where one of them is 0."""
    _check_counts(shape)
    if math.prod(length or 1 for length in shape) >= MOST_NUMBERS:
        raise InputError(f"a tensor of shape {tuple(shape)} does not fit into any file")


def _check_counts(values: Sequence[Any]) -> None:
    if len(values) > MOST_DIMENSIONS + 1:
        raise InputError(f"a tensor has {len(values)} dimensions, expected {MOST_DIMENSIONS}")
    for value in values:
        if type(value) is not int or not 0 <= value < MOST_NUMBERS:
            raise InputError(f"a tensor's size, stride or offset is {shown(value)}, not a count")

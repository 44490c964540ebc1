"""Reads named arrays of numbers from MATLAB's files of version 5; everything else is passed over.

The format: MathWorks, "MAT-File Format", sections on level 5: tags, compressed elements, arrays.
"""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.shape3d.readers.checks import check_room
from schemas.errors import InputError

START = 128  # bytes before the first element
MOST_ELEMENTS = 10_000
HEAD = 1 << 10  # bytes of an array before its numbers: flags, dimensions, name
MATRIX, PACKED = 14, 15  # element types: an array, a compressed element
INT8, INT32, UINT32 = 1, 5, 6
STORED = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
NUMERIC = range(6, 16)  # array classes: double, single and whole numbers
COMPLEX = 0x08  # flag
KINDS = {1: "cells", 2: "a struct", 3: "an object", 4: "text", 5: "a sparse matrix", 17: "opaque"}
Buffer = bytes | mmap.mmap


@dataclass(frozen=True)
class Tag:
    """What stands before an element's bytes."""

    kind: int
    start: int
    length: int

    @property
    def after(self) -> int:
        """Where the next element begins, at a whole number of 8 bytes."""
        return self.start + self.length + (-(self.start + self.length)) % 8


def read_mat5(who: str, path: Path, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """The named arrays, as they are stored, in MATLAB's order.

    Raises:
        InputError: it is no such file, is damaged, or a name means something other than numbers.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _arrays(who, data, names)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{who}: {error}; expected a MATLAB file.") from None
    except (struct.error, zlib.error, IndexError):
        raise InputError(f"{who}: it is cut short or damaged; get it again.") from None


def _arrays(who: str, data: mmap.mmap, names: Collection[str]) -> dict[str, NDArray[Any]]:
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or not data[:6] == b"MATLAB":
        raise InputError(f"{who}: it is no MATLAB file of version 5 (save -v6 or -v7 writes one).")
    found: dict[str, NDArray[Any]] = {}
    for tag in _elements(who, data, order):
        if tag.kind == PACKED:
            packed = data[tag.start : tag.start + min(tag.length, 1 << 16)]
            head = zlib.decompressobj().decompress(packed, HEAD)
            inner = _tag(head, 0, order)
        else:
            head = data[tag.start : tag.start + min(tag.length, HEAD)]
            inner = Tag(tag.kind, 0, tag.length)
        if inner.kind != MATRIX:
            continue
        name, rest = _name(head, inner.start, order)
        if name not in names:
            continue
        if name in found:
            raise InputError(f"{who}: it has two arrays {name!r}; it is damaged or hostile.")
        shape, numbers = _checked(who, name, head, inner.start, rest, order, len(data))
        raw = data[tag.start : tag.start + tag.length]
        end = numbers.start + numbers.length
        body = zlib.decompressobj().decompress(raw, end) if tag.kind == PACKED else raw[:end]
        kind = np.dtype(order + STORED[numbers.kind])
        flat = np.frombuffer(body, kind, offset=numbers.start)
        if flat.size != math.prod(shape):
            raise InputError(f"{who}: {name} is cut short or damaged; get it again.")
        found[name] = flat.reshape(shape, order="F")
    return found


def _elements(who: str, data: mmap.mmap, order: str) -> Iterator[Tag]:
    at, count = START, 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from(order + "II", data, at)
        count += 1
        if at + 8 + length > len(data) or count > MOST_ELEMENTS:
            raise InputError(f"{who}: it is cut short or damaged; get it again.")
        yield Tag(kind, at + 8, length)
        at += 8 + length + (0 if kind == PACKED else -length % 8)


def _tag(data: Buffer, at: int, order: str) -> Tag:
    """A tag of 8 bytes; those of small elements hold up to 4 bytes of data in themselves."""
    first, second = struct.unpack_from(order + "II", data, at)
    if first >> 16:
        return Tag(first & 0xFFFF, at + 4, min(first >> 16, 4))
    return Tag(first, at + 8, second)


def _name(head: Buffer, at: int, order: str) -> tuple[str, int]:
    """An array's name, and where its numbers' tag begins."""
    flags = _tag(head, at, order)
    dimensions = _tag(head, flags.after, order)
    name = _tag(head, dimensions.after, order)
    if (flags.kind, flags.length) != (UINT32, 8) or name.length > HEAD:
        return "", 0
    return head[name.start : name.start + name.length].decode("ascii", "replace"), name.after


def _checked(
    who: str, name: str, head: Buffer, at: int, rest: int, order: str, size: int
) -> tuple[tuple[int, ...], Tag]:
    """An array's shape and its numbers' place, before any of them is read."""
    flags = _tag(head, at, order)
    (bits,) = struct.unpack_from(order + "I", head, flags.start)
    dimensions = _tag(head, flags.after, order)
    kind = bits & 0xFF
    if kind not in NUMERIC or bits >> 8 & COMPLEX:
        what = KINDS.get(kind, "complex numbers" if kind in NUMERIC else f"of class {kind}")
        raise InputError(f"{who}: {name} is {what}; expected an array of plain numbers.")
    if dimensions.kind != INT32 or not 8 <= dimensions.length <= 32:
        raise InputError(f"{who}: {name} has no plain dimensions; it is damaged.")
    count = dimensions.length // 4
    shape = struct.unpack_from(f"{order}{count}i", head, dimensions.start)
    numbers = _tag(head, rest, order)
    if numbers.kind not in STORED:
        raise InputError(f"{who}: {name} has numbers of type {numbers.kind}; it is damaged.")
    item = np.dtype(STORED[numbers.kind]).itemsize
    check_room(who, name, shape, item, size)
    if math.prod(shape) * item != numbers.length:
        raise InputError(
            f"{who}: {name} of shape {shape} does not pair up with its {numbers.length:,} bytes."
        )
    return shape, numbers

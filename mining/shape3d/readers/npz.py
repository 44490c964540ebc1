"""Reads .npz files of plain numbers; pickled members, lying headers and bombs are refused."""

from __future__ import annotations

import ast
import math
import struct
import zipfile
import zlib
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.shape3d.readers.checks import check_room
from schemas.errors import InputError

MOST_MEMBERS = 1000
HEADER = 1 << 14  # bytes of a member in which its header must lie
MOST_AXES = 8
LONGEST = 1 << 31  # of an axis
PACKING = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes
KINDS = "biuf"
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError),
    *(RuntimeError, ValueError, OverflowError, KeyError, IndexError),
)
NO_HEADER = (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError)
MAGIC = b"\x93NUMPY"


def read_npz(who: str, path: Path, names: Container[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file by their names.

    Args:
        names: the only ones that are read; None reads all.

    Raises:
        InputError: it is no npz file, is damaged, or holds something other than numbers.
    """
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MOST_MEMBERS or len({m.filename for m in members}) < len(members):
                raise InputError(f"{who}: it has too many members, or two of one name.")
            if any(member.compress_type not in PACKING for member in members):
                raise InputError(f"{who}: it is packed as NumPy packs no .npz file.")
            check_room(who, "all it holds", (sum(m.file_size for m in members),), 1, size)
            found = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                if names is None or name in names:
                    with archive.open(member) as file:
                        found[name] = _array(who, name, file.read(member.file_size + 1))
            return found
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{who}: {error.strerror or error}; expected an .npz file.") from None
    except BROKEN as error:
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise InputError(f"{who}: it is no sound .npz file: {said}.") from None


def npy_header(data: bytes) -> tuple[np.dtype, bool, tuple[int, ...], int]:
    """An .npy file's kind of numbers, whether the first index runs fastest, its shape, and where
    its numbers begin.

    The format: numpy.lib.format, versions 1.0 and 2.0. Its dict is read as literals.

    Raises:
        ValueError: it is no such header.
    """
    if data[:6] != MAGIC or data[6:8] not in (b"\x01\x00", b"\x02\x00"):
        raise ValueError("it does not begin as an .npy file does")
    start = 10 if data[6] == 1 else 12
    end = start + int.from_bytes(data[8:start], "little")
    if end > min(len(data), HEADER):
        raise ValueError("its header is too long")
    try:
        told = ast.literal_eval(data[start:end].decode("latin1").strip())
        kind, fortran, shape = told["descr"], told["fortran_order"], told["shape"]
        if not (isinstance(kind, str) and isinstance(shape, tuple) and len(shape) <= MOST_AXES):
            raise ValueError
        if not all(type(length) is int and 0 <= length <= LONGEST for length in shape):
            raise ValueError
        return np.dtype(kind), fortran is True, shape, end
    except (*NO_HEADER, SyntaxError, RecursionError, MemoryError):
        raise ValueError("its header is damaged, or its numbers are no plain ones") from None


def _array(who: str, name: str, data: bytes) -> NDArray[Any]:
    """One member; the numbers fill what is behind its header."""
    try:
        kind, fortran, shape, at = npy_header(data)
    except ValueError as error:
        raise InputError(f"{who}: {name[:80]!r} is no array: {error}.") from None
    if kind.kind not in KINDS or kind.hasobject:
        raise InputError(f"{who}: {name[:80]!r} holds {str(kind)[:40]}; expected plain numbers.")
    if math.prod(shape) * kind.itemsize != len(data) - at:
        raise InputError(
            f"{who}: {name[:80]!r} of shape {shape} and type {kind} does not pair up with its "
            f"{len(data) - at:,} bytes; it is damaged."
        )
    flat = np.frombuffer(data, kind, offset=at)
    return flat.reshape(shape, order="F" if fortran else "C")

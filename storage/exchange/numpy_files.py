"""NumPy's .npy and .npz: the header is checked against the bytes that are there, then read.

The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

from __future__ import annotations

import ast
import io
import math
import re
import struct
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from storage.exchange.zip_members import Members

START = b"\x93NUMPY"
MOST_DIMENSIONS = 8
LONGEST_HEADER = 10_000  # bytes; of plain numbers it has about 70
_NUMBERS = re.compile(r"[<>=|]?(f[248]|[iu][1248]|b1)")


def read_npy(data: bytes) -> NDArray[Any]:
    """The array of a .npy file, of plain numbers and in their stored type.

    Raises:
        InputError: it is damaged, holds objects (which are pickles) or other than plain numbers,
            or says a shape that does not fit its bytes.
    """
    start, shape, itemsize = _header(data)
    wanted = math.prod(shape) * itemsize
    if wanted != len(data) - start:
        raise InputError(
            f"its header says shape {shape}, which is {wanted} bytes; {len(data) - start} follow"
        )
    return np.load(io.BytesIO(data), allow_pickle=False)


def read_npz(members: Members) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz archive by their names, without `.npy`.

    Raises:
        InputError: as `read_npy`, or a member is no .npy file.
    """
    arrays = {}
    for name in members.names:
        try:
            arrays[name.removesuffix(".npy")] = read_npy(members.read(name))
        except InputError as error:
            raise InputError(f"its member {name[:80]!r}: {error}") from None
    return arrays


def _header(data: bytes) -> tuple[int, tuple[int, ...], int]:
    """Where the numbers begin, their shape, and the bytes of one."""
    if data[:6] != START or len(data) < 12:
        raise InputError("it does not begin as a .npy file does, or ends at once")
    version = (data[6], data[7])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise InputError(f"its .npy version is {version}; expected 1.0, 2.0 or 3.0")
    layout = "<H" if version == (1, 0) else "<I"
    (length,) = struct.unpack_from(layout, data, 8)
    start = 8 + struct.calcsize(layout) + length
    if length > LONGEST_HEADER or start > len(data):
        raise InputError(f"its header has {length} bytes; expected at most {LONGEST_HEADER}")
    said = _literal(data[start - length : start])
    shape, descr = said["shape"], said["descr"]
    if not isinstance(descr, str) or not _NUMBERS.fullmatch(descr):
        raise InputError(
            f"its numbers are of type {str(descr)[:40]!r}; expected plain ones (float, int). "
            "Objects are pickles, which are never opened"
        )
    counts = isinstance(shape, tuple) and len(shape) <= MOST_DIMENSIONS
    if not counts or any(type(n) is not int or not 0 <= n < 1 << 48 for n in shape):
        raise InputError(f"its header says shape {str(shape)[:80]}; expected counts")
    return start, shape, np.dtype(descr).itemsize


def _literal(header: bytes) -> dict[str, Any]:
    """The header's dict, if it has exactly the three keys of the format."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of a literal such as 1if
            said = ast.literal_eval(header.decode("utf-8").strip(" \n"))
    # a hostile text may nest deeper than the parser goes
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        said = None
    if not isinstance(said, dict) or set(said) != {"descr", "fortran_order", "shape"}:
        raise InputError("its header is not the dict that a .npy file has; it is damaged")
    if not isinstance(said["fortran_order"], bool):
        raise InputError("its header is damaged: fortran_order is neither True nor False")
    return said

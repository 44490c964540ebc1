"""safetensors: a JSON header with every tensor's type, shape and place, then the numbers.

The format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from storage.exchange.found import MOST_FOUND, shown, text

LONGEST_HEADER = 1 << 20  # bytes; parsed, JSON takes some thirty times as much
_TYPES = {
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    "BF16": "<u2",
}


def is_safetensors(data: bytes) -> bool:
    """Whether it begins as such a file does: the length of a header, and a brace."""
    return len(data) > 9 and _length(data) <= len(data) - 8 and data[8:9] == b"{"


def read_safetensors(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors by name, in their stored type (bfloat16 as float32), and the metadata.

    Raises:
        InputError: the header is damaged, or a tensor does not lie where it says.
    """
    length = _length(data)
    if length > min(LONGEST_HEADER, len(data) - 8):
        raise InputError(f"its header has {length} bytes; expected {LONGEST_HEADER} at most")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise InputError("its header is not JSON; it is damaged") from None
    if not isinstance(header, dict) or len(header) > MOST_FOUND + 1:
        raise InputError(f"its header is no dict of at most {MOST_FOUND} tensors")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise InputError("its metadata are no dict; it is damaged")
    numbers = memoryview(data)[8 + length :]
    arrays = {name: _array(name, said, numbers) for name, said in header.items()}
    return arrays, {name: text(value, 1000) for name, value in metadata.items()}


def _length(data: bytes) -> int:
    return struct.unpack_from("<Q", data)[0] if len(data) >= 8 else 1 << 63


def _array(name: str, said: Any, numbers: memoryview) -> NDArray[Any]:
    """A view of one tensor's numbers."""
    who = f"its tensor {text(name, 80)!r}"
    match said:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise InputError(f"{who} has no dtype, shape and data_offsets; it is damaged")
    if code not in _TYPES:
        raise InputError(f"{who} is of type {code[:40]!r}; expected one of {', '.join(_TYPES)}")
    if len(shape) > 8 or any(type(n) is not int or not 0 <= n < 1 << 48 for n in shape):
        raise InputError(f"{who} has {shown(shape)} for its shape; expected counts, 8 at most")
    kind = np.dtype(_TYPES[code])
    wanted = math.prod(shape) * kind.itemsize
    if not 0 <= begin <= end <= len(numbers) or end - begin != wanted:
        raise InputError(
            f"{who} of shape {tuple(shape)} needs {wanted} bytes and lies at {begin}..{end} of "
            f"{len(numbers)}; it is cut short or damaged"
        )
    array = np.frombuffer(numbers[begin:end], kind).reshape(shape)
    return widened(array) if code == "BF16" else array


def widened(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """bfloat16, which NumPy does not have, as the float32 whose upper half it is."""
    return (halves.astype(np.uint32) << 16).view(np.float32)

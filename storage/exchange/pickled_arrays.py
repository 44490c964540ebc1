"""What pickles of NumPy and torch call to make arrays, as functions that only look at bytes.

The names and arguments are facts of NumPy's `ndarray.__reduce__` and torch's
`torch._utils._rebuild_tensor_v2`. No array is larger than the bytes that came for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError
from storage.exchange.found import shown
from storage.exchange.safetensors_files import widened

_CODES = re.compile(r"b1|[iu][1248]|f[248]")
_ORDERS = {"<": "<", "|": "", "=": "<", ">": ">"}  # "=" was written by a little-endian machine
DTYPES = {  # torch's storages -> NumPy's code; bfloat16 is read as its bits
    "Double": "<f8",
    "Float": "<f4",
    "Half": "<f2",
    "BFloat16": "bf16",
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "i1",
    "Byte": "u1",
}
STORAGES = {f"torch.{name}Storage": code for name, code in DTYPES.items()}


@dataclass(eq=False)
class Kind:
    """A pickled dtype."""

    code: str

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.code)


@dataclass(eq=False)
class Blank:
    """An array that NumPy's pickles make empty and then give a state."""

    array: NDArray[Any] | None = None


@dataclass(frozen=True)
class Storage:
    """A run of numbers that lies beside a pickle of torch."""

    key: str
    code: str
    count: int

    @property
    def itemsize(self) -> int:
        return 2 if self.code == "bf16" else np.dtype(self.code).itemsize


@dataclass(frozen=True)
class Tensor:
    """A tensor whose numbers lie in a storage; it is known to fit into it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] = field(default=())  # in numbers

    def array(self, raw: bytes | memoryview) -> NDArray[Any]:
        """Its numbers, from the storage's bytes, as many as `storage` says."""
        bits = self.storage.code == "bf16"
        kind = np.dtype("<u2" if bits else self.storage.code)
        strides = [step * kind.itemsize for step in self.strides]
        start = self.offset * kind.itemsize if math.prod(self.shape) else 0
        array = np.ndarray(self.shape, kind, raw, start, strides)
        return widened(array) if bits else array


def storage_of(reference: tuple[Any, ...]) -> Storage:
    """What torch writes where a storage belongs: "storage", its class, key, device and count.

    The older form ends with a view, which must be None.
    """
    if len(reference) == 6 and reference[5] is None:
        reference = reference[:5]
    match reference:
        case ("storage", str(kind), str(key), str(), int(count)) if (
            kind in STORAGES and 0 <= count < 1 << 48
        ):
            return Storage(key, STORAGES[kind], count)
    raise InputError("its pickle refers to a storage in a way that torch does not")


def _tensor(
    storage: Any = None, offset: Any = 0, shape: Any = (), strides: Any = (), *rest: Any
) -> Tensor:
    """A tensor, if all of it lies in its storage and it repeats no number."""
    numbers = (*_counts(shape, "a tensor"), *_counts(strides, "a tensor"))
    if not isinstance(storage, Storage) or type(offset) is not int or len(shape) != len(strides):
        raise InputError("its pickle makes a tensor of what is no storage; it is damaged")
    count = math.prod(shape)
    reach = 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    inside = 0 <= offset and (not count or offset + reach <= storage.count)
    if not inside or count > storage.count:
        raise InputError(
            f"a tensor of shape {numbers[: len(shape)]} does not fit into its storage of "
            f"{storage.count} numbers"
        )
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any = None, *rest: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise InputError("its pickle makes a parameter of what is no tensor; it is damaged")
    return tensor


def _ordered(pairs: Any = (), *rest: Any) -> dict[Any, Any]:
    """An OrderedDict, which pickles make empty or of pairs."""
    made: dict[Any, Any] = {}
    for pair in pairs if isinstance(pairs, list) else ():
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise InputError("its pickle makes a dict of what are no pairs; it is damaged")
        made[pair[0]] = pair[1]
    return made


def _kind(code: Any = None, *rest: Any) -> Kind:
    if not isinstance(code, str) or not _CODES.fullmatch(code):
        # never the text of what is none: tuples that hold themselves twice, 30 deep, have gigabytes
        raise InputError(f"its pickle has numbers of type {shown(code)}; expected plain ones")
    return Kind(f"<{code}")


def _blank(*rest: Any) -> Blank:
    return Blank()


def _array(raw: Any, kind: Any, shape: Any, fortran: bool) -> NDArray[Any]:
    """An array of bytes, exactly as many as its shape needs."""
    if not isinstance(kind, Kind) or not isinstance(raw, bytes | bytearray):
        raise InputError("its pickle makes an array of what are no bytes; it is damaged or hostile")
    counts = _counts(shape, "an array")
    if math.prod(counts) * kind.dtype.itemsize != len(raw):
        raise InputError(f"an array of shape {counts} does not pair up with its {len(raw)} bytes")
    return np.frombuffer(raw, kind.dtype).reshape(counts, order="F" if fortran else "C")


def _from_buffer(
    raw: Any = None, kind: Any = None, shape: Any = (), order: Any = "C", axes: Any = None, *_: Any
) -> NDArray[Any]:
    """As protocol 5 writes arrays: order "C", "F", or "K" with the axes of the array in memory."""
    array = _array(raw, kind, shape, isinstance(order, str) and order == "F")
    if isinstance(order, str) and order in ("C", "F"):
        return array
    if sorted(_counts(axes, "an array's axes")) != list(range(array.ndim)):
        raise InputError("its pickle makes an array of an unknown order; it is damaged or hostile")
    return array.transpose(axes)


def _scalar(kind: Any = None, raw: Any = None, *rest: Any) -> float | int:
    return _array(raw, kind, (), False).item()


def _encoded(letters: Any = None, encoding: Any = "latin1", *rest: Any) -> bytes:
    """Bytes as protocol 2 writes them."""
    if not isinstance(letters, str) or encoding not in ("latin1", "latin-1"):
        raise InputError("its pickle encodes what is no text; it is damaged or hostile")
    return letters.encode("latin1")


def _counts(values: Any, what: str) -> tuple[int, ...]:
    good = isinstance(values, Sequence) and len(values) <= 8
    if not good or any(type(n) is not int or not 0 <= n < 1 << 48 for n in values):
        raise InputError(f"{what} has the shape or strides {str(type(values))[:40]}, not counts")
    return tuple(values)


def filled(value: Any) -> Any:
    """The array of a blank that was given its state; anything else as it is."""
    return value.array if isinstance(value, Blank) else value


def give_state(target: Any, state: Any) -> None:
    """What BUILD does: fill a blank array, set a dtype's byte order; of a dict it is left out.

    Raises:
        InputError: nothing else takes a state.
    """
    if isinstance(target, Blank) and isinstance(state, tuple) and len(state) == 5:
        _, shape, kind, fortran, raw = state
        target.array = _array(raw, kind, shape, fortran is True)
    elif isinstance(target, Kind) and isinstance(state, tuple) and len(state) >= 2:
        if not isinstance(state[1], str) or state[1] not in _ORDERS:
            raise InputError("its pickle has numbers in an unknown byte order")
        target.code = _ORDERS[state[1]] + target.code.lstrip("<>|")
    elif type(target) is not dict:  # of a dict: such as a state dict's _metadata
        raise InputError("its pickle gives a state to what takes none; it is damaged or hostile")


_NUMPY = ("numpy.core", "numpy._core")  # before and since NumPy 2
CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "numpy.dtype": _kind,
    "_codecs.encode": _encoded,
    **{f"{root}.multiarray._reconstruct": _blank for root in _NUMPY},
    **{f"{root}.multiarray.scalar": _scalar for root in _NUMPY},
    **{f"{root}.numeric._frombuffer": _from_buffer for root in _NUMPY},
}
NAMES = frozenset({*STORAGES, "numpy.ndarray"})  # that are mentioned and never called

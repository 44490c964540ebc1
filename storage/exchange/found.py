"""What an importer finds in a file, and the limits within which files of others are read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

MOST_FILE = 1 << 30  # bytes of one file
MOST_UNPACKED = 2 << 30  # bytes that a file's zip members unpack to, all together
MOST_RATIO = 100  # and as a multiple of the file; arrays of float32 shrink to no less than a half
MOST_MEMBERS = 10_000  # of one zip archive
MOST_FOUND = 4_096  # directions of one file
MOST_NUMBERS = 1 << 20  # in one direction; the largest style space has about 10,000
MOST_TOTAL = 1 << 24  # in all directions of one file
MOST_ROWS = 64  # of W+; StyleGAN has 18 at 1024 x 1024 pixels


@dataclass(frozen=True)
class Found:
    """One direction as it stands in a file: neither scaled nor judged, hints empty where unsaid."""

    name: str  # the attribute, as the file or its name spells it
    vector: NDArray[np.float64]  # (D,) or (rows, D), as stored; axes of length 1 are gone
    source_format: str  # "npy", "npz", "torch", "pickle" or "safetensors"
    entry: str = ""  # the array within the file, where it has several
    method: str = "imported"
    unit: str = ""
    space_hint: str = ""  # "z", "w", "w+" or "s"
    layers: tuple[int, ...] = ()  # rows of W+ that it is meant for; empty means all
    generator_hint: str = ""
    fingerprint_hint: str = ""
    generator_licence_hint: str = ""
    licence_hint: str = ""
    source_hint: str = ""
    sigma: float = float("nan")  # standard deviation of the latents along it, where it is said
    evidence: Mapping[str, float] = field(default_factory=dict)  # other numbers that came with it
    notes: tuple[str, ...] = ()


def direction(array: Any, what: str = "its array") -> NDArray[np.float64]:
    """One direction's numbers: (D,), (1, D) and (1, rows, D) become (D,) and (rows, D).

    Args:
        array: of plain numbers, in whatever type they were stored.
        what: how an error calls it.

    Raises:
        InputError: it is no array of numbers, its shape is no direction's, a value is not finite,
            or all are 0.
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise InputError(f"{what} is {shown(array)}; expected an array of numbers")
    shape = array.shape
    if array.ndim > 1 and shape[0] == 1:
        shape = shape[1:]
    if array.ndim > 3 or len(shape) not in (1, 2) or not 2 <= shape[-1] or 0 in shape:
        raise InputError(
            f"{what} has shape {array.shape}; expected a direction: (D,), (1, D), (rows, D) or "
            "(1, rows, D)"
        )
    if len(shape) == 2 and shape[0] > MOST_ROWS:
        raise InputError(
            f"{what} has shape {array.shape}; expected at most {MOST_ROWS} rows of W+. A set of "
            "components is read from a dict with the keys comp, mean and std"
        )
    if math.prod(shape) > MOST_NUMBERS:
        raise InputError(f"{what} has {math.prod(shape)} numbers; expected at most {MOST_NUMBERS}")
    with np.errstate(invalid="ignore"):  # a NaN that signals is told of below
        vector = np.array(array.reshape(shape), np.float64)
    if not np.isfinite(vector).all():
        raise InputError(f"{what} holds NaN or infinity; a direction has finite numbers only")
    if not vector.any():
        raise InputError(f"{what} is 0 everywhere and points nowhere")
    return vector


def check_total(counts: Iterable[int]) -> None:
    """Refuse a file whose directions have too many numbers together, before they are copied.

    A file may name one large array under thousands of names.
    """
    total = sum(counts)
    if total > MOST_TOTAL:
        raise InputError(f"its arrays have {total} numbers; expected at most {MOST_TOTAL} in all")


def number(value: Any) -> float:
    """A number that came with a direction; NaN for anything else."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "fiu":
        return float(value.reshape(()))
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308:
        return float(value)
    return float("nan")


def text(value: Any, longest: int = 200) -> str:
    """A short printable text that came with a direction; "" for anything else."""
    if not isinstance(value, str):
        return ""
    return "".join(letter for letter in value[:longest] if letter.isprintable()).strip()


def shown(value: Any) -> str:
    """A value in an error's text: what it is, never all that it holds."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, dict):
        names = ", ".join(repr(text(name, 40)) for name in list(value)[:5])
        return f"a dict of {len(value)} entries ({names})"
    if isinstance(value, str | float | bool):
        return repr(value)[:60]
    return f"a {type(value).__name__}"

"""Where the 68 landmarks of a shape model lie, from a file of one's own: JSON or npz."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mining.shape3d.model import IBUG
from mining.shape3d.readers.checks import Places, checked_places, numbers, on_vertices
from mining.shape3d.readers.npz import read_npz
from schemas.errors import InputError

MOST_JSON = 1 << 20  # bytes
FORM = (
    f"expected a JSON list of {IBUG} vertices counted from 0, an object or an .npz with "
    f"'vertices' ({IBUG},), or with 'corners' ({IBUG}, 3) and 'weights' ({IBUG}, 3)"
)


def read_landmarks(
    who: str, source: str | Path, count: int, named: Mapping[str, int] | None = None
) -> Places:
    """The landmarks that a file tells, in iBUG's order.

    Args:
        count: of the model's vertices.
        named: landmarks that the model's own file names, and their vertices; a list may hold such
            names instead of numbers.

    Raises:
        InputError: it is no such file, or a landmark lies on no vertex.
    """
    path = Path(source)
    who = f"{who}, landmarks {path.name}"
    told = _json(who, path) if path.suffix == ".json" else read_npz(who, path)
    if isinstance(told, list):
        told = {"vertices": [_vertex(who, value, named or {}) for value in told]}
    if not isinstance(told, dict):
        raise InputError(f"{who}: {FORM}.")
    if "vertices" in told:
        vertices = numbers(who, "vertices", _array(who, told["vertices"]), (IBUG,))
        if vertices.dtype.kind == "f":
            raise InputError(f"{who}: vertices are not whole numbers.")
        return on_vertices(who, vertices, count)
    if "corners" not in told or "weights" not in told:
        raise InputError(f"{who}: {FORM}.")
    return checked_places(who, _array(who, told["corners"]), _array(who, told["weights"]), count)


def _vertex(who: str, value: Any, named: Mapping[str, int]) -> Any:
    if not isinstance(value, str):
        return value
    if value not in named:
        known = ", ".join(sorted(named)) or "it names none"
        raise InputError(f"{who}: no landmark {value[:80]!r} in the model's file: {known}.")
    return named[value]


def missing(who: str, why: str) -> InputError:
    """The error where neither the file nor a published table says where the landmarks lie."""
    return InputError(f"{who}: {why}. Name a file in the option landmarks: {FORM}.")


def _array(who: str, value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    try:
        return np.array(value)
    except (ValueError, TypeError, OverflowError):
        raise InputError(f"{who}: {FORM}.") from None


def _json(who: str, path: Path) -> Any:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_JSON + 1)
    except OSError as error:
        raise InputError(f"{who}: {error.strerror}; {FORM}.") from None
    if len(text) > MOST_JSON:
        raise InputError(f"{who}: it has more than {MOST_JSON:,} bytes; {FORM}.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{who}: it is no JSON; {FORM}.") from None

"""What is said of an edit by a matrix: captions, notes, what it can change, and plain records."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jobs.editing_words import CAPTIONS, finite
from mining.methods.direction_matrix import DirectionMatrix
from schemas.errors import InputError

Array = NDArray[np.float64]


def range_notes(
    matrix: DirectionMatrix, labels: Sequence[str], names: Sequence[str], targets: Sequence[Array]
) -> list[str]:
    """A sentence for each parameter that is to lie where the matrix was not trained.

    Args:
        labels: N names of latents.
        targets: (N, K) parameters that are asked for, at each end of a sweep.
    """
    notes = []
    for name in names:
        k = matrix.names.index(name)
        asked = np.stack([target[:, k] for target in targets])
        off = np.maximum(asked - matrix.high[k], matrix.low[k] - asked)
        end, row = np.unravel_index(off.argmax(), off.shape)
        slack = 1e-6 * (matrix.high[k] - matrix.low[k])
        if off[end, row] <= slack:
            continue
        others = int((off > slack).any(axis=0).sum()) - 1
        also = f" (and {others} more)" * (others > 0)
        notes.append(
            f"{labels[row]}{also} is asked for {_value_text(matrix, k, float(asked[end, row]))}; "
            f"the matrix was learned from {_range_words(matrix, k)}, beyond that the image may be "
            "off."
        )
    return notes


def parameter_changes(matrix: DirectionMatrix, names: Sequence[str], change: Array) -> str:
    """ "yaw +10 degrees, smile +1.5 standard deviations" for what is asked for."""
    parts = []
    for name in names[:CAPTIONS]:
        k = matrix.names.index(name)
        unit = "" if matrix.units[k] == "1" else f" {matrix.units[k]}"
        parts.append(f"{name} {change[k]:+.3g}{unit}")
    return ", ".join(parts) + ", ..." * (len(names) > CAPTIONS)


def parameter_lines(matrix: DirectionMatrix, names: Sequence[str], p: Array) -> str:
    """One line for each of the parameters as the matrix reads them."""
    places = [matrix.names.index(name) for name in names[:CAPTIONS]]
    return "\n".join(_value_text(matrix, k, p[k]) for k in places)


def _value_text(matrix: DirectionMatrix, k: int, value: float) -> str:
    """ "yaw 12.3°" or "smile 0.41"."""
    digits = 1 if matrix.units[k] == "degrees" else 2
    told = round(value, digits) + 0.0  # no -0.0
    return f"{matrix.names[k]} {told:.{digits}f}" + "°" * (digits == 1)


def _range_words(matrix: DirectionMatrix, k: int) -> str:
    unit = "" if matrix.units[k] == "1" else f" {matrix.units[k]}"
    return f"{matrix.low[k]:.3g} to {matrix.high[k]:.3g}{unit}"


def unit_words(unit: str) -> str:
    """What a change is to be counted in."""
    return "plain numbers" if unit == "1" else f"{unit}, written without a unit"


def known_parameters(matrix: DirectionMatrix) -> str:
    """Every parameter with its range and unit."""
    return ", ".join(f"{name} ({_range_words(matrix, k)})" for k, name in enumerate(matrix.names))


def unknown_parameter(matrix: DirectionMatrix, name: str, kind: str) -> InputError:
    """The error for a name that a matrix has not, listing what it has."""
    near = difflib.get_close_matches(name, matrix.names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return InputError(
        f"unknown {kind} {name[:80]!r}{hint} The matrix has: {known_parameters(matrix)}."
    )


def parameter_record(matrix: DirectionMatrix, p: Array) -> dict[str, float | None]:
    """Parameters by name, as JSON has them."""
    return {name: finite(value) for name, value in zip(matrix.names, p, strict=True)}

"""What every mining method returns, and the checks on what it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Direction:
    """A unit step in a latent space along which one attribute grows.

    What is mined without scores has a made-up attribute: see `made_up`.
    """

    method: str
    vector: Array  # (D,) for z and w, (num_ws, D) for w+; Frobenius norm 1
    slope: float  # the attribute's own unit per unit step, as fitted; NaN where the method has none
    attribute: str = ""
    unit: str = "1"
    space: str = "w"  # "z", "w" or "w+"
    layers: tuple[int, ...] = ()  # rows of W+ that it is applied to; empty means all
    evidence: Mapping[str, float] = field(default_factory=dict)  # accuracy, residual, iterations
    artefact: str = ""  # SHA-256 of the file that edits in its place, where no one vector does


def unit_vector(who: str, vector: Array) -> Array:
    """vector / |vector|; InputError where it is zero or not finite."""
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or norm == 0.0:
        raise InputError(f"{who}: the direction came out as norm {norm}; scores carry no signal.")
    return vector / norm


def check_pairs(who: str, latents: NDArray, scores: NDArray, least: int = 2) -> tuple[Array, Array]:
    """Latents (N, D) and scores (N,) as float64.

    Raises:
        InputError: shapes disagree, D is 0, fewer than `least` rows, a value is not finite,
            all latents are equal, or the scores are constant.
    """
    latents, scores = np.asarray(latents, np.float64), np.asarray(scores, np.float64)
    if latents.ndim != 2 or scores.ndim != 1 or len(latents) != len(scores):
        raise InputError(
            f"{who}: latents {latents.shape} and scores {scores.shape} do not pair up; "
            "expected (N, D) and (N,). Drop rows that have a reason before mining."
        )
    if latents.shape[1] == 0:
        raise InputError(f"{who}: latents {latents.shape} have no numbers; expected D >= 1.")
    if len(latents) < least:
        raise InputError(f"{who}: {len(latents)} rows came, expected at least {least}.")
    if not (np.isfinite(latents).all() and np.isfinite(scores).all()):
        raise InputError(f"{who}: latents or scores hold NaN or infinity; drop those rows first.")
    if np.ptp(latents, axis=0).max() == 0:
        raise InputError(f"{who}: all {len(latents)} latents are equal; nothing to learn from.")
    if np.ptp(scores) == 0:
        raise InputError(f"{who}: all {len(scores)} scores are {scores[0]:g}; nothing to learn.")
    return latents, scores


def check_whole(who: str, least: int, /, **settings: object) -> None:
    """InputError for the first setting that is not a whole number of at least `least`."""
    for name, value in settings.items():
        if not isinstance(value, Integral) or int(value) < least:
            raise InputError(
                f"{who}: {name} is {value!r}, expected a whole number of at least {least}."
            )


def check_positive(who: str, /, zero: bool = False, **settings: float) -> None:
    """InputError for the first setting that is not finite and above 0 (or 0, with `zero`)."""
    for name, value in settings.items():
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
            wanted = "of at least 0" if zero else "above 0"
            raise InputError(f"{who}: {name} is {value}, expected a finite number {wanted}.")


def own_order(latents: Array, *more: Array) -> NDArray[np.int64]:
    """An order of the rows that is a function of the rows alone: sorted by all their numbers.

    Seeded splits start from it, so that shuffled input gives the same split. Three columns settle
    it for most data; the others, and then `more` (each (N, ...)), are read where those tie.
    """
    order = np.lexsort(latents.T[:3][::-1])
    first = latents[order, :3]
    if (first[1:] == first[:-1]).all(axis=1).any():
        columns = [part.reshape(len(latents), -1) for part in (latents, *more)]
        order = np.lexsort(np.concatenate(columns, axis=1).T[::-1])
    return order


def principal_axes(centred: Array) -> tuple[Array, Array]:
    """Eigenvalues (R,) and eigenvectors (D, R) of X'X for X (N, D), R = min(N, D).

    Through the D x D matrix for many rows, through X's singular vectors where D is larger (W+).
    """
    if len(centred) >= centred.shape[1]:
        energy, axes = np.linalg.eigh(centred.T @ centred)
        return np.maximum(energy, 0), axes
    _, sizes, rows = np.linalg.svd(centred, full_matrices=False)
    return sizes**2, rows.T


def signed(axes: Array) -> Array:
    """Axes (D, K) whose signs mean nothing, each turned so that its largest entry is positive."""
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return axes * np.where(largest < 0, -1.0, 1.0)


def made_up(stem: str, number: int, layers: Sequence[int]) -> str:
    """The attribute of what was mined for none: "pc1" on all rows of W+, "sefa1@0-3" on some.

    Rows are part of it, as the same number on other rows is another direction, not a newer one.
    """
    return f"{stem}{number}@{layers[0]}-{layers[-1]}" if layers else f"{stem}{number}"


def check_layers(who: str, layers: Sequence[int] | None) -> tuple[int, int] | None:
    """The rows of W+ from the first of two numbers up to the second, left out; None means all."""
    if layers is None:
        return None
    pair = tuple(layers)
    whole = all(isinstance(row, Integral) for row in pair)
    if len(pair) != 2 or not whole or not 0 <= pair[0] < pair[1]:
        raise InputError(
            f"{who}: layers {list(pair)} came; expected [first, last] with 0 <= first < last: the "
            "rows of W+ from first to last - 1."
        )
    return int(pair[0]), int(pair[1])


def row_parts(rows: Array, size: int = 8192) -> Iterator[Array]:
    """The rows in parts of at most `size`, at least one part, so that memory stays bounded."""
    for start in range(0, max(len(rows), 1), size):
        yield rows[start : start + size]

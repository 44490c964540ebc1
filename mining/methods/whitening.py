"""Latents evened out before training, so that narrow axes are learnt beside the wide ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FLOOR = 1e-3  # of the largest eigenvalue: narrower axes are stretched no further
PART = 8192  # rows looked at together
WIDE = 2048  # numbers of a latent from which its axes are those of as many rows


def whitening(
    latents: NDArray, power: float, rows: NDArray[np.int64] | None = None
) -> Callable[[NDArray], Array]:
    """The map of rows by the symmetric matrix covariance^(-power/2), scaled to spread 1.

    Gradient descent learns along the widest axes first; where W is far from white, early stopping
    leaves the narrow ones out. Eigenvalues under FLOOR of the largest are raised to it, so only
    the axes above it are kept.
    Wide latents (W+, S) are decomposed on their first WIDE rows alone, which bounds the work at
    one eigenproblem of that size; a rougher covariance makes a rougher, still invertible map.

    Args:
        latents: (N, D) of any float type; never copied as a whole.
        rows: numbers of the rows that count, in random order; all where it is None.
    """
    rows = np.arange(len(latents)) if rows is None else rows
    if latents.shape[1] > WIDE:
        rows = rows[:WIDE]
    energy, axes, deviation = _principal(latents, rows)
    if energy.max() <= 0:
        return lambda rows: np.asarray(rows, np.float64)
    energy = energy / energy.max()
    rest = FLOOR ** (-power / 2)
    gains = np.maximum(energy, FLOOR) ** (-power / 2)
    spread = deviation * np.sqrt((energy * gains**2).sum() / energy.sum())
    more = gains[energy > FLOOR] - rest
    return lambda rows: (rest * rows + (rows @ axes * more) @ axes.T) / spread


def _principal(latents: NDArray, rows: NDArray[np.int64]) -> tuple[Array, Array, float]:
    """Eigenvalues of X'X for the centred rows X, the axes of those above FLOOR, and X's spread.

    Through X'X summed over parts, or where rows are fewer than numbers through XX', whose
    eigenvectors u give the axes X'u / |X'u|: exact enough this far above zero.
    """
    centre = mean_of(latents, rows)
    if len(rows) < latents.shape[1]:
        centred = latents[rows] - centre
        energy, left = np.linalg.eigh(centred @ centred.T)
        kept = energy > FLOOR * energy.max()
        axes = centred.T @ (left[:, kept] / np.sqrt(energy[kept]))
    else:
        parts = (latents[part] - centre for part in numbers_of(rows))
        energy, axes = np.linalg.eigh(sum(part.T @ part for part in parts))
        axes = axes[:, energy > FLOOR * energy.max()]
    energy = np.maximum(energy, 0)
    return energy, axes, float(np.sqrt(energy.sum() / (len(rows) * latents.shape[1])))


def numbers_of(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Row numbers in parts of at most PART, so that no copy is as large as the latents."""
    for start in range(0, len(rows), PART):
        yield rows[start : start + PART]


def mean_of(latents: NDArray, rows: NDArray[np.int64]) -> Array:
    """(D,) the mean of some rows, in float64."""
    total = np.zeros(latents.shape[1])
    for part in numbers_of(rows):
        total += latents[part].sum(axis=0, dtype=np.float64)
    return total / len(rows)

"""Means and correlations of rows, and of the same rows drawn again: one row of weights each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_whole

Array = NDArray[np.float64]


def drawn_weights(who: str, count: int, resamples: int, seed: int) -> Array:
    """(1+B, count): ones, then how often each row is drawn in each of B bootstrap resamples.

    Source: Efron (1979), doi:10.1214/aos/1176344552.

    Raises:
        InputError: resamples is no whole number above 0.
    """
    check_whole(who, 1, resamples=resamples)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    return np.concatenate([np.ones((1, count)), drawn]).astype(np.float64)


def means(values: Array, weights: Array) -> Array:
    """(1+B,) weighted means of the finite ones of (N,) values; NaN where there are none."""
    known = np.isfinite(values)
    below = weights @ known.astype(np.float64)
    sums = weights @ np.where(known, values, 0.0)
    return np.divide(sums, below, out=np.full(len(weights), np.nan), where=below > 0)


def mean_of_rows(values: Array, weights: Array) -> Array:
    """As `means`, of the means of (N, K) rows; NaN where there are no columns."""
    if not values.shape[1]:
        return np.full(len(weights), np.nan)
    return means(values.mean(axis=1), weights)


def average(parts: Sequence[Array], weights: Array) -> Array:
    """(1+B,) the plain mean of figures; NaN where there are none."""
    return np.mean(parts, axis=0) if parts else np.full(len(weights), np.nan)


def correlation(one: Array, other: Array, weights: Array) -> Array:
    """(1+B,) Pearson's, over the rows that both have; NaN where one of them is constant."""
    known = np.isfinite(one) & np.isfinite(other)
    if known.sum() < 2:
        return np.full(len(weights), np.nan)
    x, y, w = one[known], other[known], weights[:, known]
    x, y = x - x.mean(), y - y.mean()  # so that sums of squares lose no digits
    n = np.maximum(w.sum(axis=1), 1.0)  # a resample may hold none of them
    mx, my = w @ x / n, w @ y / n
    inner = (w @ x**2 / n - mx**2) * (w @ y**2 / n - my**2)
    flat = inner <= 1e-24 * max(float((x**2).mean() * (y**2).mean()), 1e-300)
    across = w @ (x * y) / n - mx * my
    return np.where(flat, np.nan, across / np.sqrt(np.where(flat, 1.0, inner)))


def spread(values: Array) -> Array:
    """(M,) standard deviations over the rows that are known; NaN where nothing varies."""
    known = values[np.isfinite(values).all(axis=1)]
    found = known.std(axis=0) if len(known) > 1 else np.full(values.shape[1], np.nan)
    return np.where(found > 0, found, np.nan)

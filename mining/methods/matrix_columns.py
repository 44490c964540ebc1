"""The steps that change one parameter alone, where the others are known with noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mining.methods.gcv_ridge import centred_within

Array = NDArray[np.float64]


def single_columns(
    vectors: Array,
    weights: Array,
    latents: NDArray,
    measured: Array,
    groups: NDArray[np.int64] | None = None,
) -> Array:
    """Columns of A for changes of one parameter: what such a change, as measured, tells of w.

    The columns of A hold what is *measured* of the other parameters where it is. Where one of them
    is read with much noise and with traces of others, holding it moves what it has traces of. With
    p = C w + e the expected step for a measured change is

        E[Delta w | Delta p] = Delta p' T^-1 V A,   V = cov(C w), T = cov(p) = V + cov(e)

    the regression of Delta w on Delta p within the span of A. Each column is then scaled so that
    its own parameter, read by C, changes by one unit. Without noise it is A itself.
    Source: errors in variables, Fuller (1987), Measurement Error Models, section 1.2.

    Args:
        vectors: (K, D) A. weights: (K, D) C.
        latents: (N, D). measured: (N, K) p, NaN where unmeasured.
        groups: (N,) the sequence of each row, -1 for none: what counts is what changes within.

    Returns:
        (K, D); those of A where the rows cannot say: too few, or a parameter that does not vary; a
        column of A where its own parameter would not grow.
    """
    known = np.isfinite(measured).all(axis=1)
    if groups is not None:
        known &= groups >= 0
    if known.sum() < 2 * len(vectors) + 2:
        return vectors
    x, p = np.asarray(latents, np.float64)[known] @ weights.T, measured[known]
    if groups is not None:
        x, p = centred_within(x, groups[known]), centred_within(p, groups[known])
    read, seen = _second_moments(x, p)
    if np.linalg.matrix_rank(seen) < len(seen):
        return vectors
    mixed = np.linalg.solve(seen, read)
    answer = np.einsum("kd,kd->k", weights, mixed @ vectors)
    good = np.isfinite(answer) & (answer > 0)  # not so of what the reading hardly sees
    return np.where(good[:, None], mixed @ vectors / np.where(good, answer, 1)[:, None], vectors)


def _second_moments(read: Array, seen: Array) -> tuple[Array, Array]:
    """V (K, K) of what is read and T (K, K) of what is measured, both about the mean."""
    parts = [rows - rows.mean(axis=0) for rows in (read, seen)]
    return tuple(rows.T @ rows / len(rows) for rows in parts)  # type: ignore[return-value]

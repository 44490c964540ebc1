"""Metric cameras from the landmarks that move with the skull, found by themselves.

The top three singular vectors of landmarks that bend hold part of the bending, and cameras read
off them give angles that are too small or too large. Here a rigid shape under scaled orthographic
cameras is fitted to the landmarks that such a shape explains best.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]

FLOOR = 0.05  # of the median variance, which no landmark's weight counts as below
FLAT = 1e-10  # of the trace of Z Z', below which the root of its determinant counts as none
LEAST = 6  # landmarks; four fix a camera, the more the steadier


@dataclass(frozen=True)
class RigidShape:
    """A rigid shape and the landmarks that it is made of."""

    landmarks: NDArray[np.intp]  # (R,) ascending, of the L
    shape: Array  # (3, R) metric, their centroid in the origin
    variance: Array  # (L,) of each landmark around the rigid fit to all, in the landmarks' unit^2
    sweeps: int  # of both alternations together
    converged: bool

    def cameras(self, points: Array, steps: int = 20) -> Array:
        """(N, 2, L) landmarks, of which the rigid ones are read -> (N, 2, 3) s [I|0] R."""
        seen = points[:, :, self.landmarks]
        return scaled_orthographic(seen - seen.mean(axis=2, keepdims=True), self.shape, steps)

    def turned(self, change: Array) -> RigidShape:
        """The shape for cameras M_n A, A a (3, 3) multiple of a rotation or mirror."""
        return replace(self, shape=np.linalg.inv(change) @ self.shape)


def rigid_shape(
    points: Array, start: Array, share: float = 0.6, sweeps: int = 300, tolerance: float = 1e-5
) -> RigidShape:
    """Find the most rigid landmarks, and their shape under scaled orthographic cameras.

    First all landmarks: cameras, shape and weights in turn, a landmark's weight being one over
    its variance around the fit, floored, so that the fit leans on those that bend least. Then the
    `share` of least variance alone, all with the same weight, until the sum of squares changes by
    less than `tolerance` of itself in a sweep. Each step is the least-squares solution for its
    part, so with fixed weights the sum of squares never grows.
    Source: weak perspective as in Poelman & Kanade (1997), doi:10.1109/34.584098; iteratively
    re-weighted least squares, Holland & Welsch (1977), doi:10.1080/03610927708827533.

    Args:
        points: (N, 2, L), N >= 4.
        start: (3, L) a first metric shape, such as that of an upgraded factorisation.
        share: of the landmarks that count as rigid, in (0, 1]; at least LEAST are taken.

    Raises:
        InputError: there are fewer than LEAST landmarks.
    """
    count = points.shape[2]
    if count < LEAST:
        raise InputError(
            f"nrsfm: {count} landmarks came; expected at least {LEAST} to find the rigid ones. "
            "Choose another calibration: none or mean."
        )
    _, shape, variance, first, _ = _alternate(points, start, sweeps, tolerance, weigh=True)
    kept = np.sort(np.argsort(variance, kind="stable")[: max(LEAST, round(share * count))])
    seen = points[:, :, kept]
    _, shape, _, second, done = _alternate(seen, shape[:, kept], sweeps, tolerance, weigh=False)
    centred = shape - shape.mean(axis=1, keepdims=True)
    return RigidShape(kept, centred, variance, first + second, done)


def _alternate(
    points: Array, shape: Array, sweeps: int, tolerance: float, weigh: bool
) -> tuple[Array, Array, Array, int, bool]:
    """Cameras, shape and weights in turn: (cameras, shape, variance, sweeps, converged)."""
    weights = np.ones(points.shape[2])
    last, sweep = np.inf, 0
    while True:
        sweep += 1
        share = weights / weights.sum()
        seen = points - (points @ share)[:, :, None]
        solid = shape - (shape @ share)[:, None]
        root = np.sqrt(weights)
        cameras = scaled_orthographic(seen * root, solid * root, steps=3)
        shape = refit_shape(cameras, seen)
        variance = ((seen - cameras @ shape) ** 2).sum(axis=1).mean(axis=0)
        floored = variance + FLOOR * np.median(variance) + np.finfo(float).tiny
        value = float(np.log(floored).sum()) if weigh else float(variance.sum())
        done = abs(last - value) <= tolerance * abs(value)
        if done or sweep >= sweeps:
            return cameras, shape, variance, sweep, done
        last = value
        if weigh:
            weights = floored.min() / floored


def refit_shape(cameras: Array, points: Array) -> Array:
    """The (3, L) shape that (N, 2, 3) cameras see best as (N, 2, L): one linear solve."""
    gram = np.einsum("nci,ncj->ij", cameras, cameras)
    return np.linalg.solve(gram, np.einsum("nci,ncl->il", cameras, points))


def scaled_orthographic(points: Array, shape: Array, steps: int = 20) -> Array:
    """argmin over s R of |X_n - s R B|_F^2 for every n, R two orthonormal rows.

    From the polar factor of the affine solution on, each step minimises a quadratic that lies
    above the objective and touches it: with A = X B', G = B B' and l its largest eigenvalue,
    R <- polar(A + s R (l I - G)), s <- <R, A> / <R G, R>. The objective never grows.
    Source: majorisation, Kiers (1990), doi:10.1007/BF02294758.

    Args:
        points: (N, 2, L) and shape: (3, L), both centred (with weights: multiplied by their root).

    Returns:
        (N, 2, 3)
    """
    gram = shape @ shape.T
    pull = points @ shape.T
    bound = float(np.linalg.eigvalsh(gram)[-1]) * np.eye(3) - gram
    rows = _polar(pull @ np.linalg.pinv(gram))
    scale = _scale(rows, pull, gram)
    for _ in range(steps):
        rows = _polar(pull + scale * (rows @ bound))
        scale = _scale(rows, pull, gram)
    return scale * rows


def _scale(rows: Array, pull: Array, gram: Array) -> Array:
    """(N, 1, 1) the scale that is best for the rows; never negative."""
    above = np.einsum("nij,nij->n", rows, pull)
    below = np.einsum("nij,jk,nik->n", rows, gram, rows)
    return (np.maximum(above, 0) / np.maximum(below, np.finfo(float).tiny))[:, None, None]


def _polar(matrices: Array) -> Array:
    """The nearest two orthonormal rows to each (2, 3): (Z Z')^(-1/2) Z in closed form.

    Where the rows of Z are parallel they stay so, and where they are zero.
    """
    square = matrices @ matrices.transpose(0, 2, 1)
    trace = square[:, 0, 0] + square[:, 1, 1]
    least = (FLAT * trace) ** 2 + np.finfo(float).tiny
    root = np.sqrt(np.maximum(np.linalg.det(square), least))
    total = np.sqrt(trace + 2 * root)
    # of a 2 x 2 matrix P: sqrt(P) = (P + sqrt(det P) I) / sqrt(tr P + 2 sqrt(det P))
    half = (square + root[:, None, None] * np.eye(2)) / total[:, None, None]
    return np.asarray(np.linalg.solve(half, matrices), np.float64)

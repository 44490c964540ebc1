"""The closed form of the rank-one shape model: singular rows, and a global search for each d_k."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]

LAST_GAIN = 1e-9  # of f, under which Newton's step is the last
FEW = 3  # directions at a time, for which their own sums are the cheapest
GRID_MOST, GRID_WORK = 20_000, 2_000_000  # grid points, and grid points times rows
STARTS_MOST, STARTS_WORK = 40, 2_400  # refined starts, and starts times rows


def singular_rows(gram: Array, components: int) -> tuple[Array, float]:
    """V's first 3 + K rows, and the share of the energy that they hold.

    The constant vector, to which X is orthogonal, is set last: landmarks of lower rank than 3 + K
    would else let it, or a mixture with it, be taken for a mode.

    Args:
        gram: (L, L) sum over all rows of X_n'X_n, X_n (2, L) centred landmarks.

    Returns:
        (3 + K, L) orthonormal rows, each with its sign fixed.

    Raises:
        InputError: the landmarks span less than three dimensions.
    """
    energy, vectors = np.linalg.eigh(gram - np.trace(gram) / len(gram))
    energy, vectors = np.maximum(energy[::-1], 0), vectors.T[::-1]
    kept = 3 + components
    if energy[2] <= 1e-12 * energy[0]:
        raise InputError("nrsfm: the landmarks span less than three dimensions; no depth to find.")
    vectors = vectors[:kept] * np.array([[_sign(row)] for row in vectors[:kept]])
    return vectors, float(energy[:kept].sum() / energy.sum())


def residual_rows(left: Array, components: int) -> Array:
    """(K, R) orthonormal rows of X - M B_0 by their energy, equation (6); each sign fixed.

    Args:
        left: (R, R) the Gram matrix of X - M B_0.
    """
    vectors = np.linalg.eigh(left)[1].T[::-1][:components]
    return vectors * np.array([[_sign(row)] for row in vectors])


def best_mode(cameras: Array, bent: Array, grid: int = 1000, starts: int = 6) -> Array:
    """argmax over unit d of f(d) = sum_n (y_n'M_n d)^2 / |M_n d|^2.

    Args:
        cameras: (N, 2, 3). bent: (N, 2), y_n.
        grid: points on the half sphere, at least. starts: of them that are refined, at least.

    Returns:
        (3,) unit vector, its sign fixed.
    """
    return candidates(cameras, bent, grid, starts)[0]


def candidates(
    cameras: Array, bent: Array, grid: int = 1000, starts: int = 6, close: float = np.inf
) -> Array:
    """The highest local maxima of f that were found, best first.

    Newton's method from the best points of a grid. Few rows make f rough, each with a sharp ridge
    of its own, so that grid and starts grow as rows get fewer: among 200 random problems of 6 to
    100 rows no search among 200,000 directions found a higher value.

    Args:
        cameras, bent, grid, starts: as `best_mode`.
        close: share of the highest f, by which others may be lower.

    Returns:
        (C, 3)
    """
    terms = ModeTerms(cameras, bent[:, :, None])
    points = half_sphere(max(grid, min(GRID_MOST, GRID_WORK // len(bent))))
    values = _explained(terms.pull[0], terms.gram, points)
    most = max(starts, min(STARTS_MOST, STARTS_WORK // len(bent)))
    ways, found = climb(terms, points[_peaks(points, values, most)][None])
    ways, order = ways[0], np.argsort(-found[0], kind="stable")
    kept: list[int] = []
    for i in order:
        if found[0, i] < (1 - close) * found[0, order[0]]:
            break
        if all(abs(ways[i] @ ways[j]) < np.cos(np.radians(1)) for j in kept):
            kept.append(int(i))
    return np.stack([ways[i] * _sign(ways[i]) for i in kept])


def half_sphere(count: int) -> Array:
    """(count, 3) unit vectors with z > 0, evenly spread: a Fibonacci lattice.

    Source: Gonzalez (2010), doi:10.1007/s11004-009-9257-x.
    """
    steps = np.arange(count) + 0.5
    z = 1 - steps / count
    angle = np.pi * (1 + np.sqrt(5)) * steps
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def _sign(vector: Array) -> float:
    """+1 or -1, so that sign * vector is the same for vector and -vector.

    The weights have no symmetry, so that a mode that moves both halves of a face in opposite
    ways does not hang on a tie.
    """
    return 1.0 if vector @ np.cos(np.arange(len(vector)) + 0.5) >= 0 else -1.0


def _explained(pull: Array, gram: Array, points: Array) -> Array:
    """f(d) for (P, 3) directions; pull (N, 3) holds M_n'y_n, gram (N, 3, 3) holds M_n'M_n."""
    squares = np.einsum("pi,pj->ijp", points, points).reshape(9, -1)
    floor = 1e-12 * np.trace(gram, axis1=1, axis2=2)[:, None]
    total = np.zeros(len(points))
    for start in range(0, len(pull), 2048):  # bounds memory: 2048 x P numbers at a time
        part = slice(start, start + 2048)
        size = gram[part].reshape(-1, 9) @ squares
        size[size <= floor[part]] = np.inf
        total += ((pull[part] @ points.T) ** 2 / size).sum(axis=0)
    return total


def _peaks(points: Array, values: Array, count: int) -> list[int]:
    """Indices of the best grid points that lie at least ten degrees apart, as axes."""
    chosen: list[int] = []
    for i in np.argsort(-values, kind="stable"):
        if all(abs(points[i] @ points[j]) < np.cos(np.radians(10)) for j in chosen):
            chosen.append(int(i))
        if len(chosen) == count:
            break
    return chosen


Terms = tuple[Array, Array, Array]  # f (K, P), its gradients (K, P, 3) and Hessians (K, P, 3, 3)


class ModeTerms:
    """f, its gradient and its Hessian as sums over rows, for K modes and P directions each."""

    def __init__(self, cameras: Array, bent: Array):
        """
        Args:
            cameras: (N, 2, 3). bent: (N, 2, K), y_nk.
        """
        self.gram = np.einsum("nci,ncj->nij", cameras, cameras)  # (N, 3, 3) M_n'M_n
        self.pull = np.einsum("nci,nck->kni", cameras, bent)  # (K, N, 3) M_n'y_nk
        self._flat = self.gram.reshape(-1, 9)
        self._floor = 1e-12 * np.trace(self.gram, axis1=1, axis2=2)[:, None]

    def __call__(self, ways: Array) -> Terms:
        """The sums for (K, P, 3) directions."""
        found = [self._of_mode(pull, part) for pull, part in zip(self.pull, ways, strict=True)]
        values, slopes, curves = (np.stack(part) for part in zip(*found, strict=True))
        return values, slopes, curves

    def _of_mode(self, pull: Array, ways: Array) -> Terms:
        if len(ways) <= FEW:
            values, slopes, curves = zip(*[self._at(pull, way) for way in ways], strict=True)
            return np.array(values), np.stack(slopes), np.stack(curves)
        squares = np.einsum("pi,pj->pij", ways, ways).reshape(-1, 9)
        size = self._flat @ squares.T  # (N, P) |M_n d|^2
        size[size <= self._floor] = np.inf
        ratio = (pull @ ways.T) / size
        values = (ratio**2 * np.where(np.isinf(size), 0.0, size)).sum(axis=0)
        weighed = ((ratio**2).T @ self._flat).reshape(-1, 3, 3)
        slopes = 2 * (ratio.T @ pull - np.einsum("pij,pj->pi", weighed, ways))
        outer = (pull[:, :, None] * pull[:, None]).reshape(-1, 9)
        curves = 2 * ((1 / size).T @ outer).reshape(-1, 3, 3) - 2 * weighed
        bent = (pull[:, :, None] * self._flat[:, None]).reshape(-1, 27)
        mixed = ((ratio / size).T @ bent).reshape(-1, 3, 3, 3)
        mixed = np.einsum("pijk,pk->pij", mixed, ways)
        pairs = ((ratio**2 / size).T @ self._pairs()).reshape(-1, 3, 3, 3, 3)
        pairs = np.einsum("pijkl,pj,pl->pik", pairs, ways, ways)
        curves += 8 * pairs - 4 * (mixed + mixed.transpose(0, 2, 1))
        return values, slopes, curves

    def _pairs(self) -> Array:
        """(N, 81) what the Hessian's last sum reads."""
        return (self._flat[:, :, None] * self._flat[:, None]).reshape(-1, 81)

    def _at(self, pull: Array, way: Array) -> tuple[float, Array, Array]:
        """The same for one direction (3,), without the sums that many would share."""
        if np.isnan(way).any():  # not asked for
            return 0.0, np.zeros(3), np.zeros((3, 3))
        bent = (self.gram @ way[:, None])[..., 0]  # (N, 3) M_n'M_n d
        size = bent @ way
        known = size > self._floor[:, 0]
        scale = 1 / np.where(known, size, np.inf)
        ratio = (pull @ way) * scale
        squared = ratio**2
        value = float((squared * np.where(known, size, 0.0)).sum())
        weighed = (squared @ self._flat).reshape(3, 3)
        slope = 2 * (ratio @ pull - weighed @ way)
        mixed = pull.T @ (bent * (ratio * scale)[:, None])
        curve = 2 * pull.T @ (pull * scale[:, None]) - 4 * (mixed + mixed.T) - 2 * weighed
        return value, slope, curve + 8 * bent.T @ (bent * (squared * scale)[:, None])


def climb(terms: Callable[[Array], Terms], ways: Array, steps: int = 200) -> tuple[Array, Array]:
    """Newton's method for f on the unit sphere, with steps that never lower f.

    Args:
        terms: the sums for (K, P, 3) directions.
        ways: (K, P, 3) unit vectors to start from; all climb at once, a call of `terms` a step,
            with NaN for those that have arrived where they are FEW.

    Returns:
        (K, P, 3) unit vectors and f there (K, P).
    """
    values, slopes, curves = terms(ways)
    length, going = np.ones(values.shape), np.ones(values.shape, bool)
    for _ in range(steps):
        step, gain = _newton(ways, values, slopes, curves)
        last = gain <= LAST_GAIN * values  # Newton's step from here ends at the top
        trial = ways + np.where(going, length, 0.0)[..., None] * step
        trial /= np.linalg.norm(trial, axis=2, keepdims=True)
        now = terms(np.where(going[..., None], trial, np.nan) if ways.shape[1] <= FEW else trial)
        better = going & (now[0] > values * np.where(last, 1 - 1e-12, 1.0))
        ways = np.where(better[..., None], trial, ways)
        values = np.where(better, now[0], values)
        slopes = np.where(better[..., None], now[1], slopes)
        curves = np.where(better[..., None, None], now[2], curves)
        length = np.where(better, 1.0, length / 4)
        going = going & ~last & (length > 4.0**-12)
        if not going.any():
            break
    return ways, values


def _newton(ways: Array, values: Array, slopes: Array, curves: Array) -> tuple[Array, Array]:
    """Steps (K, P, 3) in the tangent planes, uphill whatever the curvature, and their gain (K, P).

    No step is longer than 0.2; the gain is what a parabola would give without that bound.
    """
    tangent = np.linalg.svd(ways[..., None, :])[2][..., 1:, :]  # (K, P, 2, 3)
    bends, axes = np.linalg.eigh(tangent @ curves @ tangent.swapaxes(-1, -2))
    bends = np.maximum(abs(bends), 1e-9 * np.maximum(values, 1e-300)[..., None])
    into = axes.swapaxes(-1, -2) @ tangent  # (K, P, 2, 3)
    rise = (into @ slopes[..., None])[..., 0]
    step = ((rise / bends)[..., None, :] @ into)[..., 0, :]
    size = np.linalg.norm(step, axis=-1, keepdims=True)
    return step * np.minimum(1.0, 0.2 / np.maximum(size, 1e-300)), (rise**2 / bends).sum(axis=-1)

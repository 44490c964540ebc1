"""The closed form of the rank-one shape model: singular rows, and a global search for each d_k."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mining.methods.refine import Factors
from mining.methods.shape_model import amplitudes
from schemas.errors import InputError

Array = NDArray[np.float64]

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


def factors_for(
    cameras: Array, points: Array, shape: Array, basis: Array, grid: int, starts: int
) -> Factors:
    """The best d_k and alpha for cameras, a shape and orthonormal rows b_k that are given.

    Args:
        cameras: (N, 2, 3). points: (N, 2, R). shape: (3, R). basis: (K, R).
    """
    bent = (points - cameras @ shape) @ basis.T
    modes = np.stack([best_mode(cameras, bent[:, :, k], grid, starts) for k in range(len(basis))])
    return Factors(cameras, shape, basis, modes, amplitudes(cameras, modes, bent))


def residual_rows(points: Array, cameras: Array, shape: Array, components: int) -> Array:
    """(K, R) orthonormal rows of X - M B_0 by their energy, equation (6); each sign fixed."""
    left = (points - cameras @ shape).reshape(-1, points.shape[2])
    vectors = np.linalg.eigh(left.T @ left)[1].T[::-1][:components]
    return vectors * np.array([[_sign(row)] for row in vectors])


def best_mode(cameras: Array, bent: Array, grid: int = 1000, starts: int = 6) -> Array:
    """argmax over unit d of f(d) = sum_n (y_n'M_n d)^2 / |M_n d|^2.

    Newton's method from the best points of a grid. Few rows make f rough, each with a sharp ridge
    of its own, so that grid and starts grow as rows get fewer: among 200 random problems of 6 to
    100 rows no search among 200,000 directions found a higher value.

    Args:
        cameras: (N, 2, 3). bent: (N, 2), y_n.
        grid: points on the half sphere, at least. starts: of them that are refined, at least.

    Returns:
        (3,) unit vector, its sign fixed.
    """
    pull = np.einsum("nci,nc->ni", cameras, bent)
    gram = np.einsum("nci,ncj->nij", cameras, cameras)
    points = half_sphere(max(grid, min(GRID_MOST, GRID_WORK // len(bent))))
    values = _explained(pull, gram, points)
    most = max(starts, min(STARTS_MOST, STARTS_WORK // len(bent)))
    found = [_climb(pull, gram, points[i]) for i in _peaks(points, values, most)]
    best = max(found, key=lambda d: float(_explained(pull, gram, d[None])[0]))
    return best * _sign(best)


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


def _climb(pull: Array, gram: Array, d: Array, steps: int = 60) -> Array:
    """Newton's method for f on the unit sphere, with steps that never lower f."""
    value = float(_explained(pull, gram, d[None])[0])
    for _ in range(steps):
        tangent = np.linalg.svd(d[None])[2][1:].T
        slope, curve = _derivatives(pull, gram, d)
        bends, axes = np.linalg.eigh(tangent.T @ curve @ tangent)
        bends = np.maximum(abs(bends), 1e-9 * max(value, 1e-300))
        step = tangent @ axes @ ((axes.T @ tangent.T @ slope) / bends)
        step *= min(1.0, 0.2 / max(float(np.linalg.norm(step)), 1e-300))
        for _ in range(30):
            trial = (d + step) / np.linalg.norm(d + step)
            reached = float(_explained(pull, gram, trial[None])[0])
            if reached > value:
                break
            step /= 4
        else:
            return d
        gain, d, value = reached - value, trial, reached
        if gain <= 1e-14 * value:
            return d
    return d


def _derivatives(pull: Array, gram: Array, d: Array) -> tuple[Array, Array]:
    """Gradient (3,) and Hessian (3, 3) of f at d, in R^3; f does not change with |d|."""
    bent = gram @ d
    size = bent @ d
    keep = size > 1e-12 * np.trace(gram, axis1=1, axis2=2)
    pull, gram, bent, size = pull[keep], gram[keep], bent[keep], size[keep]
    ratio = (pull @ d) / size
    slope = 2 * (ratio @ pull - ratio**2 @ bent)
    mixed = (pull * (ratio / size)[:, None]).T @ bent
    curve = 2 * (pull / size[:, None]).T @ pull - 4 * (mixed + mixed.T)
    curve += 8 * (bent * (ratio**2 / size)[:, None]).T @ bent
    return slope, curve - 2 * np.einsum("n,nij->ij", ratio**2, gram)

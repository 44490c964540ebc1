"""Joint refinement of the rank-one shape model: cameras, shape, modes and amplitudes together.

After a closed form the top three singular vectors still hold a part of the bending. Here all
parts of X_n = M_n (B_0 + sum_k alpha_nk d_k b_k') are fitted in turn to the full objective.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EDGE = 1e-12  # of a matrix's trace, added to its diagonal: what no row or mode fixes stays small


@dataclass(frozen=True)
class Factors:
    """The parts of X_n = M_n (B_0 + sum_k alpha_nk d_k b_k') for centred measurements X_n."""

    cameras: Array  # (N, 2, 3)
    shape: Array  # (3, L), or (3, R) in the coordinates of a row space
    basis: Array  # (K, L) unit rows b_k, not orthogonal after refinement
    modes: Array  # (K, 3) unit vectors d_k
    alpha: Array  # (N, K)

    def points(self) -> Array:
        """(N, 2, L) what the factors say that is measured."""
        bent = self.alpha[:, None] * (self.cameras @ self.modes.T)
        return self.cameras @ self.shape + bent @ self.basis


@dataclass(frozen=True)
class Refined:
    """Factors at the end of the sweeps, and how it got there."""

    factors: Factors
    objectives: tuple[float, ...]  # sum of squares after each sweep; never grows
    converged: bool


def refine(
    points: Array,
    start: Factors,
    sweeps: int = 100,
    tolerance: float = 1e-6,
    rest: float = 0.0,
    rotations: Array | None = None,
) -> Refined:
    """Minimise sum_n |X_n - M_n (B_0 + sum_k alpha_nk d_k b_k')|_F^2 over all parts in turn.

    One sweep solves in closed form for the cameras, the amplitudes, for B_0 with all b_k, and for
    all d_k; each solve is exact, so the objective never grows. It ends where the relative residual
    changes by less than `tolerance` of itself.
    Source: the objective is equation (10) of Haas, Grasshof & Brandt (2022), arXiv:2211.07195,
    with M and B_0 free; the d_k are unit vectors, so its penalty is 0.

    Args:
        points: (N, 2, R) centred landmarks, or their coordinates in a row space of R dimensions.
        start: factors in the same coordinates.
        rest: sum of squares outside that row space, which no factor reaches.
        rotations: (N, 2, 3) orthonormal rows; cameras are then K_n of them, K_n upper triangular,
            so that angles stay what they are.
    """
    factors, last, objectives = start, np.inf, []
    for _ in range(sweeps):
        factors, objective = _sweep(points, factors, rotations)
        objectives.append(objective + rest)
        now = float(np.sqrt(objectives[-1]))
        if last - now <= tolerance * now:
            return Refined(factors, tuple(objectives), True)
        last = now
    return Refined(factors, tuple(objectives), False)


def _sweep(points: Array, factors: Factors, rotations: Array | None) -> tuple[Factors, float]:
    if rotations is None:
        factors = replace(factors, cameras=best_cameras(points, factors))
    else:
        factors = replace(factors, cameras=best_scales(points, factors, rotations))
    factors = replace(factors, alpha=best_amplitudes(points, factors))
    shape, basis = _rows(points, factors)
    factors = replace(factors, shape=shape, basis=basis)
    factors = _scaled(replace(factors, modes=_directions(points, factors)))
    return factors, float(((points - factors.points()) ** 2).sum())


def best_cameras(points: Array, factors: Factors) -> Array:
    """(N, 2, 3) affine cameras for the shape that each row's amplitudes make."""
    solid = factors.alpha[:, None] * factors.modes.T @ factors.basis + factors.shape
    gram = _steady(solid @ solid.transpose(0, 2, 1))
    seen = points @ solid.transpose(0, 2, 1)
    found = np.linalg.solve(gram, seen.transpose(0, 2, 1)).transpose(0, 2, 1)
    return np.asarray(found, np.float64)


def best_scales(points: Array, factors: Factors, rotations: Array) -> Array:
    """(N, 2, 3) cameras K_n [I|0] R_n for given rotations: three unknowns a row."""
    solid = factors.alpha[:, None] * factors.modes.T @ factors.basis + factors.shape
    seen = rotations @ solid
    gram = _steady(seen @ seen.transpose(0, 2, 1))
    top = np.linalg.solve(gram, seen @ points[:, 0, :, None])[..., 0]
    bottom = (seen[:, 1] * points[:, 1]).sum(axis=1) / gram[:, 1, 1]
    upper = np.stack([top, np.stack([np.zeros_like(bottom), bottom], axis=1)], axis=1)
    return np.asarray(upper @ rotations, np.float64)


def best_amplitudes(points: Array, factors: Factors) -> Array:
    """(N, K) amplitudes for given cameras: K unknowns a row, coupled where b_k overlap."""
    left = points - factors.cameras @ factors.shape
    seen = factors.cameras @ factors.modes.T
    overlap = factors.basis @ factors.basis.T
    gram = _steady((seen.transpose(0, 2, 1) @ seen) * overlap)
    pull = (seen * (left @ factors.basis.T)).sum(axis=1)
    return np.linalg.solve(gram, pull[..., None])[..., 0]


def _rows(points: Array, factors: Factors) -> tuple[Array, Array]:
    """B_0 and the rows b_k together: one linear problem of 3 + K unknowns a column."""
    bent = factors.alpha[:, None] * (factors.cameras @ factors.modes.T)
    design = np.concatenate([factors.cameras, bent], axis=2).reshape(-1, 3 + len(factors.basis))
    gram = _steady(design.T @ design)
    pull = design.T @ points.reshape(-1, points.shape[2])
    found = np.asarray(np.linalg.solve(gram, pull), np.float64)
    return found[:3], found[3:]


def _directions(points: Array, factors: Factors) -> Array:
    """All d_k together: 3 K unknowns."""
    count = len(factors.basis)
    left = points - factors.cameras @ factors.shape
    gram = (factors.cameras.transpose(0, 2, 1) @ factors.cameras).reshape(-1, 9)
    pairs = (factors.alpha[:, :, None] * factors.alpha[:, None]).reshape(-1, count * count)
    mixed = (pairs.T @ gram).reshape(count, count, 3, 3).transpose(0, 2, 1, 3)
    mixed = mixed * (factors.basis @ factors.basis.T)[:, None, :, None]
    pull = factors.cameras.transpose(0, 2, 1) @ (left @ factors.basis.T)  # (N, 3, K)
    pull = np.einsum("nk,nik->ki", factors.alpha, pull)
    normal = _steady(mixed.reshape(3 * count, 3 * count))
    return np.linalg.solve(normal, pull.ravel()).reshape(count, 3)


def _scaled(factors: Factors) -> Factors:
    """The same model with unit b_k and d_k; a mode that died keeps a zero amplitude."""
    rows = np.linalg.norm(factors.basis, axis=1)
    ways = np.linalg.norm(factors.modes, axis=1)
    tiny = np.finfo(float).tiny
    return replace(
        factors,
        basis=factors.basis / np.maximum(rows, tiny)[:, None],
        modes=factors.modes / np.maximum(ways, tiny)[:, None],
        alpha=factors.alpha * (rows * ways),
    )


def _steady(gram: Array) -> Array:
    """A Gram matrix, or a stack of them, with EDGE of its trace on the diagonal."""
    trace = np.trace(gram, axis1=-2, axis2=-1)[..., None, None]
    return gram + (EDGE * trace + np.finfo(float).tiny) * np.eye(gram.shape[-1])

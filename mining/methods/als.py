"""Alternating least squares for the directions and amplitudes of the modes, all else held.

The authors' way to d_k and alpha_nk: the closed form finds the best d_k at once instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mining.methods.refine import Factors
from schemas.errors import InputError

Array = NDArray[np.float64]
Start = Literal["normal", "least_squares"]


@dataclass(frozen=True)
class Alternated:
    """Factors after the last iteration, and how they got there."""

    factors: Factors  # cameras, shape and basis as they came; unit modes
    objectives: tuple[float, ...]  # sum of squares at the start and after each iteration


def als(
    points: Array,
    factors: Factors,
    iterations: int = 10,
    seed: int = 0,
    start: Start = "normal",
    rest: float = 0.0,
) -> Alternated:
    """Minimise sum_n |X_n - M_n (B_0 + sum_k alpha_nk d_k b_k')|_F^2 over all alpha, then all d_k.

    With Y_nk = (X_n - M_n B_0 - what the other modes say) b_k and unit b_k:
    alpha_nk = (M_n d_k)'Y_nk / |M_n d_k|^2, then
    d_k = (sum_n alpha_nk^2 M_n'M_n)^-1 sum_n alpha_nk M_n'Y_nk, scaled to length 1 with alpha_nk
    taking the length, so that the model stays the same. Each is the exact solution for its part,
    so no iteration raises the objective. Where the b_k are orthonormal, as singular vectors are,
    the other modes drop out of Y_nk, and the start of alpha only shows in objectives[0].
    It ends in the basin of its start: d_k = (1, 1, 1) / sqrt 3 for every k.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, equations (3) to (10), with the
    alternation of Brandt & Ackermann (2019), arXiv:1904.13271, to which they refer.

    Args:
        points: (N, 2, R) centred landmarks, or their coordinates in a row space of R dimensions.
        factors: M_0, B_0 and the b_k are read, modes and alpha are not.
        seed: of alpha's N(0, 1) with start "normal".
        start: of alpha; "least_squares" is the best one for the first d_k.
        rest: sum of squares outside that row space, which no factor reaches.

    Raises:
        InputError: `start` is none of those, or `iterations` is negative.
    """
    _check(iterations, start)
    cameras, basis = factors.cameras, factors.basis
    left = points - cameras @ factors.shape
    pull = np.ascontiguousarray((left @ basis.T).transpose(2, 0, 1))  # (K, N, 2): y_nk
    overlap = basis @ basis.T
    modes = np.full((len(basis), 3), 3**-0.5)
    if start == "normal":
        alpha = np.random.default_rng(seed).normal(size=(len(basis), len(points)))
    else:
        alpha = _amplitudes(cameras, pull, overlap, modes, np.zeros(pull.shape[:2]))
    objectives = [_objective(left, cameras, basis, modes, alpha) + rest]
    for _ in range(iterations):
        alpha = _amplitudes(cameras, pull, overlap, modes, alpha)
        modes, alpha = _directions(cameras, pull, overlap, modes, alpha)
        objectives.append(_objective(left, cameras, basis, modes, alpha) + rest)
    found = replace(factors, modes=modes, alpha=np.ascontiguousarray(alpha.T))
    return Alternated(found, tuple(objectives))


def _check(iterations: int, start: str) -> None:
    if start not in get_args(Start):
        raise InputError(
            f"nrsfm: als starts from {start!r}, expected one of {', '.join(get_args(Start))}."
        )
    if iterations < 0:
        raise InputError(f"nrsfm: als has {iterations} iterations, expected 0 or more.")


def _amplitudes(cameras: Array, pull: Array, overlap: Array, modes: Array, alpha: Array) -> Array:
    """(K, N) the best alpha_k for each k in turn, given those before and after it."""
    seen = np.ascontiguousarray((cameras @ modes.T).transpose(2, 0, 1))  # (K, N, 2): M_n d_k
    floor = 1e-12 * (cameras**2).sum(axis=(1, 2))
    bent, alpha = alpha[:, :, None] * seen, alpha.copy()
    for k in range(len(modes)):
        size = overlap[k, k] * (seen[k] ** 2).sum(axis=1)
        along = (seen[k] * _wanted(pull, overlap, bent, k)).sum(axis=1)
        alpha[k] = along / np.where(size > floor, size, np.inf)  # 0 where d_k is not seen
        bent[k] = alpha[k, :, None] * seen[k]
    return alpha


def _directions(
    cameras: Array, pull: Array, overlap: Array, modes: Array, alpha: Array
) -> tuple[Array, Array]:
    """(K, 3) the best d_k for each k in turn, at length 1, and (K, N) alpha with their lengths."""
    gram = (cameras.transpose(0, 2, 1) @ cameras).reshape(-1, 9)
    flat = cameras.reshape(-1, 3)
    bent = alpha[:, :, None] * (cameras @ modes.T).transpose(2, 0, 1)
    modes, alpha = modes.copy(), alpha.copy()
    for k in range(len(modes)):
        normal = overlap[k, k] * (alpha[k] ** 2 @ gram).reshape(3, 3)
        weighed = alpha[k, :, None] * _wanted(pull, overlap, bent, k)
        found = np.linalg.lstsq(normal, flat.T @ weighed.ravel())[0]
        length = float(np.linalg.norm(found))
        alpha[k] *= length
        if length > 0:  # a mode that no row has keeps its direction
            modes[k] = found / length
        bent[k] = alpha[k, :, None] * (cameras @ modes[k])
    return modes, alpha


def _wanted(pull: Array, overlap: Array, bent: Array, k: int) -> Array:
    """(N, 2) Y_nk: what mode k is to explain, the other modes taken away."""
    others = overlap[k].copy()
    others[k] = 0
    return pull[k] - np.tensordot(others, bent, axes=1)


def _objective(left: Array, cameras: Array, basis: Array, modes: Array, alpha: Array) -> float:
    return float(((left - (alpha.T[:, None] * (cameras @ modes.T)) @ basis) ** 2).sum())

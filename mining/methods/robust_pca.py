"""Robust PCA: a matrix as low rank plus sparse, by principal component pursuit."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_positive, check_whole
from schemas.errors import InputError

Array = NDArray[np.float64]
Start = Literal["mean", "norm"]

PARTIAL_FROM, PARTIAL_SHARE = 400, 0.2  # rows and columns; singular values of them, that pay off
AHEAD = 0.05  # of all singular values, asked for beyond the last rank where none was small enough
EXACT_FROM = 1e-6  # of the largest singular value: below, squares would lose a threshold's digits


@dataclass(frozen=True)
class RobustPcaConfig:
    """Settings of `robust_pca`."""

    sparsity: float | None = None  # lambda; None: 1 / sqrt(max(m, n))
    tolerance: float = 1e-7  # on |D - L - S|_F / |D|_F
    iterations: int = 5000  # at most
    growth: float = 1.01  # of mu per iteration; 1 keeps it fixed, as in the source
    start: Start = "mean"  # of mu: mn / (4 sum |D|), or 1.25 / |D|_2 with a dual to fit it

    def __post_init__(self) -> None:
        if self.sparsity is not None:
            check_positive("robust_pca", sparsity=self.sparsity)
        check_positive("robust_pca", tolerance=self.tolerance)
        check_whole("robust_pca", 1, iterations=self.iterations)
        if not 1 <= self.growth <= 2:
            raise InputError(f"robust_pca: growth is {self.growth}, expected in [1, 2].")
        if self.start not in get_args(Start):
            known = ", ".join(get_args(Start))
            raise InputError(f"robust_pca: start is {self.start!r}, expected one of {known}.")


# exact recovery of a low rank under gross damage, in some 20 to 30 iterations
CONTINUATION = RobustPcaConfig(tolerance=1e-8, iterations=100, growth=1.5, start="norm")


@dataclass(frozen=True)
class RobustPca:
    """D = low_rank + sparse, up to the residual."""

    low_rank: Array  # (m, n)
    sparse: Array  # (m, n)
    rank: int  # of low_rank
    iterations: int
    residual: float  # |D - L - S|_F / |D|_F
    converged: bool  # the residual reached the tolerance

    def component(self) -> tuple[Array, float]:
        """The first right singular vector of low_rank (n,), and its share of the energy.

        No mean is taken off: the caller centres the matrix where it means to.
        """
        _, sizes, rows = np.linalg.svd(self.low_rank, full_matrices=False)
        return rows[0], float(sizes[0] ** 2 / max((sizes**2).sum(), 1e-300))


def robust_pca(matrix: Array, config: RobustPcaConfig = RobustPcaConfig()) -> RobustPca:
    """Split D into low rank and sparse: min |L|_* + lambda |S|_1 subject to L + S = D.

    Alternating directions on the augmented Lagrangian from mu = mn / (4 sum |D|) on:
    L = shrink the singular values of D - S + Y/mu by 1/mu; S = shrink the entries of
    D - L + Y/mu by lambda/mu; Y += mu (D - L - S); until |D - L - S|_F <= tolerance |D|_F.
    A fixed mu takes thousands of iterations on anchors that hardly differ in direction; growing
    by 1 % an iteration it takes about 300 and ends within 1e-6 of the same objective (by 20 % it
    does not). Where the iterations run out, `converged` is False and a RuntimeWarning says so.
    A low rank under gross damage, which the theorem is about, needs no such care: `CONTINUATION`
    starts from mu = 1.25 / |D|_2 and Y = D / max(|D|_2, |D|_max / lambda), grows by half, and is
    exact after 20 to 30 iterations.
    Source: Candes, Li, Ma & Wright (2011), arXiv:0912.3599, algorithm 1 (fixed mu); Lin, Chen &
    Ma (2010), arXiv:1009.5055, section 3 (growing mu) and algorithm 5
    (the start).

    Args:
        matrix: (m, n), finite, not all zero.

    Raises:
        InputError: the matrix is not two-dimensional, not finite, or all zero.
    """
    data = np.asarray(matrix, np.float64)
    if data.ndim != 2 or not np.isfinite(data).all() or not data.any():
        raise InputError(f"robust_pca: a matrix of {data.shape} came that is not finite or is 0.")
    power = int(np.frexp(np.abs(data).max())[1])
    data = np.ldexp(data, -power)  # exact, and no square of a number overflows or vanishes
    weight = config.sparsity or 1 / np.sqrt(max(data.shape))
    mu, dual = _start(data, weight, config.start)
    norm, sparse = np.linalg.norm(data), np.zeros_like(data)
    low, rank, residual, step = data, min(data.shape), np.inf, 0
    while step < config.iterations and residual > config.tolerance:
        low, rank = _shrunk(data - sparse + dual / mu, 1 / mu, rank)
        rest = data - low + dual / mu
        sparse = np.sign(rest) * np.maximum(np.abs(rest) - weight / mu, 0)
        gap = data - low - sparse
        dual += mu * gap
        mu *= config.growth
        residual, step = float(np.linalg.norm(gap) / norm), step + 1
    converged = residual <= config.tolerance
    if not converged:
        message = f"robust_pca: residual {residual:.2g} after {step} iterations, not converged."
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    low, sparse = np.ldexp(low, power), np.ldexp(sparse, power)
    return RobustPca(low, sparse, rank, step, residual, converged)


def _start(data: Array, weight: float, start: Start) -> tuple[float, Array]:
    """The first mu and dual."""
    if start == "mean":
        return float(data.size / (4 * np.abs(data).sum())), np.zeros_like(data)
    largest = float(np.linalg.norm(data, 2))
    return 1.25 / largest, data / max(largest, float(np.abs(data).max()) / weight)


def _shrunk(matrix: Array, threshold: float, rank: int) -> tuple[Array, int]:
    """The matrix with its singular values lowered by `threshold`, and how many are left.

    Where the matrix is large and few are expected, only those are computed, and more until one
    falls below the threshold. Else they come from the eigenvalues s^2 of M M', the smaller way
    round: U (1 - threshold / s) U' M, three to thirteen times as fast as all of an SVD and the same
    to 1e-14 of the largest (12 x 512 to 120 x 9216 numbers).

    Args:
        rank: that of the last iteration.
    """
    if matrix.shape[0] > matrix.shape[1]:
        low, rank = _shrunk(matrix.T, threshold, rank)
        return low.T, rank
    small = len(matrix)
    wanted = rank + 1
    while small >= PARTIAL_FROM and wanted <= PARTIAL_SHARE * small:
        left, sizes, right = _largest(matrix, wanted)
        if sizes.min() <= threshold:
            break
        wanted += max(1, round(AHEAD * small))
    else:
        squares, left = np.linalg.eigh(matrix @ matrix.T)
        sizes = np.sqrt(np.maximum(squares, 0))
        if threshold >= EXACT_FROM * sizes[-1]:
            left, sizes = left[:, sizes > threshold], sizes[sizes > threshold]
            return (left * (1 - threshold / sizes)) @ (left.T @ matrix), len(sizes)
        left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    sizes = np.maximum(sizes - threshold, 0)
    return (left * sizes) @ right, int((sizes > 0).sum())


def _largest(matrix: Array, count: int) -> tuple[Array, Array, Array]:
    """The largest singular values and their vectors, from a start that is always the same."""
    from scipy.sparse.linalg import svds

    start = np.random.default_rng(0).normal(size=min(matrix.shape))
    left, sizes, right = (np.asarray(part, np.float64) for part in svds(matrix, count, v0=start))
    return left, sizes, right

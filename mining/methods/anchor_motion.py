"""From anchors to the line along which they move: split, read, joined over rows and identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct

from mining.methods.anchors import Anchors
from mining.methods.base import check_whole, unit_vector
from mining.methods.robust_pca import RobustPca, RobustPcaConfig, robust_pca
from schemas.errors import InputError
from schemas.registry import unknown

Array = NDArray[np.float64]
Decomposition = Literal["robust_pca", "pca", "none"]
Reading = Literal["component", "regression", "last_minus_first"]
Layers = Literal["whole", "each"]
Pooling = Literal["matrix", "mean"]


@dataclass(frozen=True)
class MotionConfig:
    """Settings of `find_motion`."""

    decomposition: Decomposition = "robust_pca"  # what the anchors are cleaned by
    reading: Reading = "component"
    layers: Layers = "whole"  # one matrix; or each row of W+ its own, as the released code does
    pooling: Pooling = "matrix"  # of identities: all anchors in one matrix, or the mean motion
    rank: int = 4  # kept by pca, and by whatever last_minus_first reads
    pursuit: RobustPcaConfig = RobustPcaConfig()
    seed: int = 0  # of the rotation before the pursuit

    def __post_init__(self) -> None:
        choices = {
            "decomposition": Decomposition,
            "reading": Reading,
            "layers": Layers,
            "pooling": Pooling,
        }
        for name, known in choices.items():
            if getattr(self, name) not in get_args(known):
                raise unknown(f"robust_pca: {name}", str(getattr(self, name)), get_args(known))
        check_whole("robust_pca", 1, rank=self.rank)
        check_whole("robust_pca", 0, seed=self.seed)


@dataclass(frozen=True)
class Motion:
    """A unit step along which the degrees grow, and how it was found."""

    vector: Array  # (D,)
    share: float  # of the cleaned moves' energy in the reading's line
    sparse_share: float  # |moves - cleaned|_F / |moves|_F
    rank: int  # of the cleaned moves, at most over rows and identities
    iterations: int  # of the pursuit, at most; 0 without one
    residual: float
    converged: bool  # every pursuit did


@dataclass(frozen=True)
class Split:
    """Rows = low_rank + what was taken for damage."""

    low_rank: Array  # (M, D)
    rank: int
    iterations: int = 0
    residual: float = 0.0
    converged: bool = True


def find_motion(
    anchors: Anchors, config: MotionConfig = MotionConfig(), shape: Sequence[int] = ()
) -> Motion:
    """The direction in which anchors move as their degree grows.

    The moves M (anchors minus their start) become L by the decomposition: themselves; the
    `rank` largest singular values; or the low rank of M = L + S. A reading turns L into a step
    per degree: `component`, the first right singular vector v of L times the slope of L v over
    the degrees; `regression`, the least-squares slope of every number of L over the degrees;
    `last_minus_first`, the released code's: it cleans the anchors themselves, keeps `rank`
    singular values, and takes the lowest degree from the highest. Degrees and moves count from
    their mean within each identity. Rows of W+ keep the lengths of their steps when they are
    joined; the whole is then made a unit step.
    Centring on the start matters: uncentred, the first component is the face, not its motion.
    Source: Wu, Jiang et al. (2022), arXiv:2204.12696, section 3.3, step 2.

    Args:
        shape: of one latent, such as (18, 512), where `layers` is "each"; W has one row.

    Raises:
        InputError: the shape does not fit, or the anchors do not move with their degrees.
    """
    width = anchors.latents.shape[1]
    if shape and int(np.prod(shape)) != width:
        raise InputError(f"anchors: latents of {width} numbers came for the shape {tuple(shape)}.")
    parts = [anchors]
    if config.pooling == "mean":
        parts = [anchors.of(person) for person in range(len(anchors.starts))]
    step, splits, kept, energy, dropped = np.zeros(width), [], 0.0, 0.0, 0.0
    for part in parts:
        for columns in _columns(width, shape, config.layers):
            rows = part.moves[:, columns]
            if not rows.any():
                continue
            split = _cleaned(rows, part.starts[part.identity][:, columns], config)
            moved = read(split.low_rank, part.degrees, part.identity, config.reading)
            step[columns] += moved / len(parts)
            splits.append(split)
            kept += _along(split.low_rank, moved)
            energy += float((split.low_rank**2).sum())
            dropped += float(((rows - split.low_rank) ** 2).sum())
    return Motion(
        unit_vector("robust_pca", step),
        share=kept / max(energy, 1e-300),
        sparse_share=float(np.sqrt(dropped / (anchors.moves**2).sum())),
        rank=max(split.rank for split in splits),
        iterations=max(split.iterations for split in splits),
        residual=max(split.residual for split in splits),
        converged=all(split.converged for split in splits),
    )


def decompose(rows: Array, config: MotionConfig = MotionConfig()) -> Split:
    """Clean rows (M, D) by the decomposition that the settings name; a single row stays."""
    if config.decomposition == "none" or len(rows) == 1:
        return Split(rows, int(np.linalg.matrix_rank(rows)))
    if config.decomposition == "pca":
        return Split(*_truncated(rows, config.rank))
    found = rotated_pursuit(rows, config.pursuit, config.seed)
    return Split(found.low_rank, found.rank, found.iterations, found.residual, found.converged)


def read(low_rank: Array, degrees: Array, identity: NDArray[np.int64], reading: Reading) -> Array:
    """(D,) the step of cleaned moves (M, D) per degree; see `find_motion`."""
    if reading == "last_minus_first":
        return _ends(low_rank, degrees, identity)
    spread = _within(degrees[:, None], identity)[:, 0]
    energy = float(spread @ spread)
    if energy == 0:  # one anchor an identity: its move is the motion
        return low_rank.mean(axis=0)
    if reading == "regression":
        return spread @ _within(low_rank, identity) / energy
    vector = np.linalg.svd(low_rank, full_matrices=False)[2][0]
    position = low_rank @ vector
    slope = float(spread @ _within(position[:, None], identity)[:, 0]) / energy
    return slope * vector


def rotated_pursuit(moves: Array, config: RobustPcaConfig, seed: int) -> RobustPca:
    """The robust PCA of moves Q, turned back by Q', for a seeded orthogonal Q (D, D).

    Q is twice a random change of signs and a cosine transform, O(D log D) per row, so that W+ is
    no trouble. After Ailon & Chazelle (2009), doi:10.1137/060673096, section 3.
    """
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(2, moves.shape[1]))

    def back(rows: Array) -> Array:
        for sign in signs[::-1]:
            rows = np.asarray(idct(rows, axis=1, norm="ortho")) * sign
        return rows

    turned = moves
    for sign in signs:
        turned = np.asarray(dct(turned * sign, axis=1, norm="ortho"))
    found = robust_pca(turned, config)
    return replace(found, low_rank=back(found.low_rank), sparse=back(found.sparse))


def _cleaned(moves: Array, starts: Array, config: MotionConfig) -> Split:
    """The cleaned moves; `last_minus_first` cleans the anchors themselves, as its source does."""
    if config.reading != "last_minus_first":
        return decompose(moves, config)
    split = decompose(starts + moves, config)
    if config.decomposition == "none":
        return replace(split, low_rank=moves)
    low_rank, rank = _truncated(split.low_rank, config.rank)
    return replace(split, low_rank=low_rank - starts, rank=rank)


def _columns(width: int, shape: Sequence[int], layers: Layers) -> list[slice]:
    """The columns of each matrix: all, or those of each row of W+."""
    wide = shape[-1] if layers == "each" and len(shape) > 1 else width
    return [slice(first, first + wide) for first in range(0, width, wide)]


def _truncated(rows: Array, rank: int) -> tuple[Array, int]:
    """The rows with their `rank` largest singular values alone, and how many there are."""
    left, sizes, right = np.linalg.svd(rows, full_matrices=False)
    kept = min(rank, int((sizes > 1e-12 * sizes[0]).sum()))
    return (left[:, :kept] * sizes[:kept]) @ right[:kept], kept


def _within(rows: Array, identity: NDArray[np.int64]) -> Array:
    """(M, C) rows minus the mean of their identity."""
    of = identity == np.arange(identity.max() + 1)[:, None]
    return rows - (of @ rows / of.sum(axis=1, keepdims=True))[identity]


def _ends(rows: Array, degrees: Array, identity: NDArray[np.int64]) -> Array:
    """The highest degree's row minus the lowest one's, per degree, mean over identities."""
    steps = []
    for person in np.unique(identity):
        mine = np.flatnonzero(identity == person)
        first, last = mine[degrees[mine].argmin()], mine[degrees[mine].argmax()]
        gap = float(degrees[last] - degrees[first])
        steps.append((rows[last] - rows[first]) / gap if gap > 0 else rows[last])
    return np.mean(steps, axis=0)


def _along(rows: Array, step: Array) -> float:
    """|rows v|^2 for the unit v along a step; 0 where there is none."""
    size = float(step @ step)
    return float(((rows @ step) ** 2).sum() / size) if size > 0 else 0.0

"""InterFaceGAN: the normal of a linear SVM between the lowest and the highest scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import Direction, check_pairs, own_order, unit_vector
from mining.methods.ridge import slope_along
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SvmConfig:
    """Settings of `mine_svm`."""

    share: float = 0.02  # of the rows at each end; 0.3 serves better below some 10,000 rows
    train: float = 0.7  # share of each end that trains; the rest tells the accuracy
    cost: float = 0.002  # C of the squared hinge; small: wide margin
    least: int = 8  # rows per end at least, where the share gives fewer
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.5:
            raise InputError(f"svm: share is {self.share}, expected inside (0, 0.5].")
        if not 0 < self.train < 1:
            raise InputError(f"svm: train is {self.train}, expected inside (0, 1).")
        if not (self.cost > 0 and self.least >= 2):
            raise InputError(f"svm: cost {self.cost} must be above 0, least {self.least} over 1.")


def mine_svm(latents: Array, scores: Array, config: SvmConfig = SvmConfig()) -> Direction:
    """Find the direction that best separates high scores from low ones.

    Rows with the lowest and highest `share` of scores are split 70/30 with the seed; a linear SVM
    minimises |w|^2 / 2 + C sum max(0, 1 - y (w'x + b))^2 on the first part; the result is w / |w|,
    the accuracy that of the second part. The slope is that of a ridge fit to all rows.
    What it estimates: a separating normal, which is the attribute's own gradient only where
    latents are white. With a wide margin (small C) it tends to the difference of the two class
    means, Sigma a, and so leaks along the latents' wide axes and correlated attributes; ridge
    does not. It also sees the ends of the scores alone.
    Source: Shen, Yang, Tang & Zhou (2020), arXiv:2005.09635, section 3; Fan et al. (2008),
    LIBLINEAR, the primal squared-hinge solver (deterministic, so that the order of rows does not
    matter).

    Args:
        latents: (N, D), one row per sample, N >= 8.
        scores: (N,), the attribute in its own unit.

    Returns:
        A direction with `accuracy` (held out), `train_accuracy` and `rows` as evidence.

    Raises:
        InputError: shapes disagree, a value is not finite, or scores are constant.
    """
    from sklearn.svm import LinearSVC

    latents, scores = check_pairs("svm", latents, scores, least=8)
    low, high = _ends(latents, scores, config)
    train_low, test_low = _split(low, config)
    train_high, test_high = _split(high, config)
    centre, scale = latents.mean(axis=0), float(latents.std())
    x = (latents - centre) / scale
    machine = LinearSVC(C=config.cost, dual=False, tol=1e-8, max_iter=10_000)  # pyright: ignore[reportArgumentType]
    machine.fit(x[np.r_[train_low, train_high]], _labels(train_low, train_high))
    vector = unit_vector("svm", machine.coef_[0])
    held = machine.score(x[np.r_[test_low, test_high]], _labels(test_low, test_high))
    seen = machine.score(x[np.r_[train_low, train_high]], _labels(train_low, train_high))
    return Direction(
        method="svm",
        vector=vector,
        slope=slope_along(latents, scores, vector),
        evidence={
            "accuracy": float(held),
            "train_accuracy": float(seen),
            "rows": len(train_low) + len(train_high),
            "held_out_rows": len(test_low) + len(test_high),
        },
    )


def _ends(
    latents: Array, scores: Array, config: SvmConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers of the lowest and the highest scores; ties are drawn with the seed."""
    ties = np.empty(len(scores), np.int64)
    ties[own_order(latents)] = np.random.default_rng(config.seed).permutation(len(scores))
    order = np.lexsort((ties, scores))
    count = min(max(round(config.share * len(scores)), config.least), len(scores) // 2)
    return order[:count], order[::-1][:count]


def _split(rows: NDArray[np.int64], config: SvmConfig) -> tuple[NDArray, NDArray]:
    """Seeded split into training and held-out rows, each at least one.

    Both ends use the same draw on rows ordered from the extreme inwards, so that negated scores
    give the same split with the ends swapped.
    """
    shuffled = rows[np.random.default_rng(config.seed).permutation(len(rows))]
    count = min(max(round(config.train * len(rows)), 1), len(rows) - 1)
    return shuffled[:count], shuffled[count:]


def _labels(low: NDArray, high: NDArray) -> Array:
    """-1 for the low rows, +1 for the high ones."""
    return np.r_[-np.ones(len(low)), np.ones(len(high))]

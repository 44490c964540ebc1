"""InterFaceGAN: the normal of a linear SVM between the lowest and the highest scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import (
    Direction,
    check_pairs,
    check_positive,
    check_whole,
    own_order,
    unit_vector,
)
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
        check_positive("svm", cost=self.cost)
        check_whole("svm", 2, least=self.least)
        check_whole("svm", 0, seed=self.seed)


def mine_svm(latents: Array, scores: Array, config: SvmConfig = SvmConfig()) -> Direction:
    """Find the direction that best separates high scores from low ones.

    Rows with the lowest and highest `share` of scores are split 70/30 with the seed; a linear SVM
    minimises (|w|^2 + b^2) / 2 + C sum max(0, 1 - y (w'x + b))^2 on the first part, where x is the
    latent minus the mean latent, divided by the one standard deviation of all numbers (liblinear
    penalises b; on centred latents it is small). The result is w / |w|, the accuracy that of the
    second part. The slope is that of a ridge fit to all rows.
    Tied scores never stand on both ends: where both would end in the same value, each keeps the
    rows strictly beyond it, and an end with fewer than two such rows takes the tied ones. Ends of
    unequal size weigh the same (C is divided by the end's share), in the accuracy too.
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
        InputError: shapes disagree, a value is not finite, latents or scores are constant, or an
            end has fewer than two rows.
    """
    from sklearn.svm import LinearSVC

    latents, scores = check_pairs("svm", latents, scores, least=8)
    low, high = _ends(latents, scores, config)
    train_low, test_low = _split(low, config)
    train_high, test_high = _split(high, config)
    x = latents - latents.mean(axis=0)
    x /= x.std()
    machine = LinearSVC(
        C=config.cost,
        dual=False,  # pyright: ignore[reportArgumentType]
        tol=1e-8,
        max_iter=10_000,
        class_weight="balanced",
    )
    labels = np.r_[-np.ones(len(train_low)), np.ones(len(train_high))]
    machine.fit(x[np.r_[train_low, train_high]], labels)
    vector = unit_vector("svm", machine.coef_[0])

    def accuracy(low: NDArray, high: NDArray) -> float:
        sides = [np.asarray(machine.predict(x[rows])) > 0 for rows in (low, high)]
        return float(1 - sides[0].mean() + sides[1].mean()) / 2

    return Direction(
        method="svm",
        vector=vector,
        slope=slope_along(latents, scores, vector),
        evidence={
            "accuracy": accuracy(test_low, test_high),
            "train_accuracy": accuracy(train_low, train_high),
            "rows": len(train_low) + len(train_high),
            "held_out_rows": len(test_low) + len(test_high),
        },
    )


def _ends(
    latents: Array, scores: Array, config: SvmConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers of the lowest and the highest scores, from the extreme inwards.

    Ties are drawn with the seed by what negated scores share, so that these swap the ends.
    """
    ties = np.empty(len(scores), np.int64)
    order = own_order(latents, abs(scores - np.median(scores)))
    ties[order] = np.random.default_rng(config.seed).permutation(len(scores))
    count = min(max(round(config.share * len(scores)), config.least), len(scores) // 2)
    low = np.lexsort((ties, scores))[:count]
    high = np.lexsort((ties, -scores))[:count]
    edge = scores[low[-1]]
    if edge == scores[high[-1]]:
        below, above = (scores[low] < edge).sum(), (scores[high] > edge).sum()
        if max(below, above) < 2:
            raise InputError(
                f"svm: {below} scores lie under {edge:g} and {above} above it, the other "
                f"{len(scores) - below - above} are equal; expected two or more on a side."
            )
        low, high = (low[:below] if below > 1 else low), (high[:above] if above > 1 else high)
    return low, high


def _split(rows: NDArray[np.int64], config: SvmConfig) -> tuple[NDArray, NDArray]:
    """Seeded split into training and held-out rows, each at least one.

    Ends of one size use the same draw on rows ordered from the extreme inwards, so that negated
    scores give the same split with the ends swapped.
    """
    shuffled = rows[np.random.default_rng(config.seed).permutation(len(rows))]
    count = min(max(round(config.train * len(rows)), 1), len(rows) - 1)
    return shuffled[:count], shuffled[count:]

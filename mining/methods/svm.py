"""InterFaceGAN: the normal of a linear SVM between low and high scores."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

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
from mining.methods.linear_svm import fit_linear_svm
from mining.methods.ridge import slope_along
from mining.methods.scaled_rows import ScaledRows
from mining.methods.two_classes import balanced, balanced_accuracy, cut, split
from schemas.errors import InputError

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class SvmConfig:
    """Settings of `mine_svm`."""

    share: float = 0.02  # of the rows at each end; 0.3 serves better below some 10,000 rows
    train: float = 0.7  # share of each end that trains; the rest tells the accuracy
    cost: float = 0.002  # C of the squared hinge; small: wide margin
    least: int = 8  # rows per end at least, where the share gives fewer
    seed: int = 0
    split: Literal["shares", "all"] = "shares"  # the two ends, or all rows cut at `threshold`
    threshold: float | None = None  # of "all"; None: the median, or midway between two values
    balance: bool = True  # classes of unequal size weigh the same
    iterations: int = 100  # at most; `converged` tells whether they sufficed

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.5:
            raise InputError(f"svm: share is {self.share}, expected inside (0, 0.5].")
        if not 0 < self.train < 1:
            raise InputError(f"svm: train is {self.train}, expected inside (0, 1).")
        if self.split not in ("shares", "all"):
            raise InputError(f"svm: split is {self.split!r}, expected 'shares' or 'all'.")
        if self.threshold is not None and self.split != "all":
            raise InputError("svm: a threshold came; expected split: all with it.")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InputError(f"svm: threshold is {self.threshold}, expected a finite number.")
        check_positive("svm", cost=self.cost)
        check_whole("svm", 2, least=self.least)
        check_whole("svm", 1, iterations=self.iterations)
        check_whole("svm", 0, seed=self.seed)


def mine_svm(latents: Array, scores: Array, config: SvmConfig = SvmConfig()) -> Direction:
    """Find the direction that best separates high scores from low ones.

    Rows with the lowest and highest `share` of scores, or all on both sides of a threshold, are
    split 70/30 with the seed; a linear SVM
    minimises (|w|^2 + b^2) / 2 + C sum max(0, 1 - y (w'x + b))^2 on the first part, where x is the
    latent minus the mean latent, divided by the one standard deviation of all numbers (as in
    liblinear b is penalised; on centred latents it is small). The result is w / |w|, the accuracy
    that of the second part. The slope is that of a ridge fit to all rows.
    Tied scores never stand on both ends: where both would end in the same value, each keeps the
    rows strictly beyond it, and an end with fewer than two such rows takes the tied ones. Ends of
    unequal size weigh the same (C is divided by the end's share), in the accuracy too.
    What it estimates: a separating normal, which is the attribute's own gradient only where
    latents are white. With a wide margin (small C) it tends to the difference of the two class
    means, Sigma a, and so leaks along the latents' wide axes and correlated attributes; ridge
    does not. By shares it also sees the ends of the scores alone.
    Source: Shen, Yang, Tang & Zhou (2020), arXiv:2005.09635, section 3; the solver is that of
    `linear_svm` (deterministic, so that the order of rows does not matter).

    Args:
        latents: (N, D), one row per sample, N >= 8.
        scores: (N,), the attribute in its own unit.

    Returns:
        A direction with `accuracy` (held out), `train_accuracy`, `rows`, `held_out_rows`,
        `iterations` and `converged` (1 or 0) as evidence.

    Raises:
        InputError: shapes disagree, a value is not finite, latents or scores are constant, or an
            end has fewer than two rows.
    """
    latents, scores = check_pairs("svm", latents, scores, least=8)
    order = own_order(latents, abs(scores - np.median(scores)))
    found = boundary(latents, scores, config, order)
    return replace(found, slope=slope_along(latents, scores, found.vector))


def boundary(
    latents: NDArray, scores: Array, config: SvmConfig, order: Numbers | None = None
) -> Direction:
    """As `mine_svm`, without a slope (NaN) and without checks; latents may lie in a file.

    Args:
        order: of the rows, from which ties are drawn; None takes them as they come.
    """
    order = np.arange(len(scores)) if order is None else order
    ties = np.empty(len(scores), np.int64)
    ties[order] = np.random.default_rng(config.seed).permutation(len(scores))
    low, high = _sides(scores, ties, config)
    train_low, test_low = split(low, config.train, config.seed)
    train_high, test_high = split(high, config.train, config.seed)
    rows = ScaledRows.of(latents)
    train, signs = _joined(train_low, train_high)
    weights = balanced(signs) if config.balance else np.ones(len(signs))
    machine = fit_linear_svm(rows.only(train), signs, config.cost * weights, most=config.iterations)
    test, test_signs = _joined(test_low, test_high)
    return Direction(
        method="svm",
        vector=unit_vector("svm", machine.weights),
        slope=math.nan,
        evidence={
            "accuracy": balanced_accuracy(machine(rows.only(test)), test_signs),
            "train_accuracy": balanced_accuracy(machine(rows.only(train)), signs),
            "rows": len(train),
            "held_out_rows": len(test),
            "iterations": machine.iterations,
            "converged": float(machine.converged),
        },
    )


def _joined(low: Numbers, high: Numbers) -> tuple[Numbers, Array]:
    """Row numbers in ascending order, and -1 for those of `low`, 1 for those of `high`."""
    rows, signs = np.r_[low, high], np.r_[-np.ones(len(low)), np.ones(len(high))]
    order = np.argsort(rows)
    return rows[order], signs[order]


def _sides(scores: Array, ties: Numbers, config: SvmConfig) -> tuple[Numbers, Numbers]:
    """Row numbers of both sides, from the extreme inwards.

    Ties are drawn by what negated scores share, so that these swap the sides.
    """
    lowest, highest = np.lexsort((ties, scores)), np.lexsort((ties, -scores))
    if config.split == "all":
        classes = cut("svm", scores, config.threshold)
        return lowest[classes[lowest] < 0], highest[classes[highest] > 0]
    count = min(max(round(config.share * len(scores)), config.least), len(scores) // 2)
    low, high = lowest[:count], highest[:count]
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

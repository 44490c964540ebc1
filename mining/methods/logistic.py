"""Logistic regression of a binary attribute, or of one cut at a threshold, on the latents."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
from mining.methods.paired_moments import paired_moments_of
from mining.methods.ridge import fit_ridge, ridge_of, slope_along
from mining.methods.scaled_rows import ScaledRows
from mining.methods.two_classes import balanced, balanced_accuracy, cut, split
from schemas.errors import InputError

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class LogisticConfig:
    """Settings of `mine_logistic`."""

    penalty: float | None = None  # lambda > 0, against the mean loss of a row; None: chosen by GCV
    threshold: float | None = None  # None: the median, or midway between two values
    train: float = 0.7  # share of the rows that the accuracy's own fit takes
    balance: bool = True  # classes of unequal size weigh the same
    iterations: int = 50  # at most; `converged` tells whether they sufficed
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.train < 1:
            raise InputError(f"logistic: train is {self.train}, expected inside (0, 1).")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InputError(f"logistic: threshold is {self.threshold}, expected a finite number.")
        if self.penalty is not None:
            check_positive("logistic", penalty=self.penalty)
        check_whole("logistic", 1, iterations=self.iterations)
        check_whole("logistic", 0, seed=self.seed)


def mine_logistic(
    latents: Array, scores: Array, config: LogisticConfig = LogisticConfig()
) -> Direction:
    """Find the direction along which the odds of a high score grow fastest.

    Minimises mean_i c_i log(1 + exp(-y_i (w'x_i + b))) + lambda |w|^2 / 2 over rows on either side
    of the threshold, x the latent minus the mean latent, divided by the one standard deviation of
    all numbers; the result is w / |w|, of all these rows. The accuracy is that of a fit to the
    share `train` of each class on its other rows. The slope is that of a ridge fit to all rows.
    Near w = 0 the loss is that of least squares to classes of -2 and 2, times 1/8; so lambda is
    P / 4N for the P that generalised cross-validation chooses for a ridge fit to the classes.
    What it estimates: for a score that grows with a'x and Gaussian latents of any covariance the
    direction a, as ridge does (Brillinger 1983); unlike the SVM's its normal does not tilt along
    the latents' wide axes, but as far as lambda pulls it.
    Source: iteratively reweighted least squares, Hastie, Tibshirani & Friedman (2009), section
    4.4.1; le Cessie & van Houwelingen (1992), doi:10.2307/2347628 for the penalty.

    Args:
        latents: (N, D), one row per sample, N >= 8.
        scores: (N,), the attribute in its own unit.

    Returns:
        A direction with `accuracy` (held out), `rows`, `held_out_rows`, `penalty`, `iterations`
        and `converged` (1 or 0) as evidence.

    Raises:
        InputError: shapes disagree, a value is not finite, latents or scores are constant, or a
            side of the threshold has fewer than two rows.
    """
    latents, scores = check_pairs("logistic", latents, scores, least=8)
    order = own_order(latents, abs(scores - np.median(scores)))
    found = logistic_of(latents, scores, config, order)
    return replace(found, slope=slope_along(latents, scores, found.vector))


def logistic_of(
    latents: NDArray, scores: Array, config: LogisticConfig, order: Numbers | None = None
) -> Direction:
    """As `mine_logistic`, without a slope (NaN) and without checks; latents may lie in a file.

    Args:
        order: of the rows, from which the held-out ones are drawn; None takes them as they come.
    """
    classes = cut("logistic", scores, config.threshold)
    order = np.arange(len(scores)) if order is None else order
    parts = [split(order[classes[order] == side], config.train, config.seed) for side in (-1, 1)]
    train, test = (np.sort(np.concatenate(both)) for both in zip(*parts, strict=True))
    rows, used = ScaledRows.of(latents), np.flatnonzero(classes)
    if config.penalty is None:
        config = replace(config, penalty=chosen_penalty(rows.only(used), classes[used]))
    part = fit_logistic(rows.only(train), classes[train], config)
    values = rows.only(test).times(part.weights)
    whole = fit_logistic(rows.only(used), classes[used], config, part.weights)
    return Direction(
        method="logistic",
        vector=unit_vector("logistic", whole.weights[:-1]),
        slope=math.nan,
        evidence={
            "accuracy": balanced_accuracy(values, classes[test]),
            "rows": len(used),
            "held_out_rows": len(test),
            "penalty": float(config.penalty or 0),
            "iterations": whole.iterations,
            "converged": float(whole.converged and part.converged),
        },
    )


def chosen_penalty(rows: ScaledRows, signs: NDArray) -> float:
    """lambda by the least generalised cross-validation of a ridge fit to the signs."""
    if len(rows) < rows.width - 1:
        (_, block), *_ = rows.in_row_space()[0].blocks()
        return fit_ridge(block[:, :-1], signs.astype(np.float64)).penalty / (4 * len(rows))
    parts = ((block[:, :-1], signs[part]) for part, block in rows.blocks())
    return ridge_of(paired_moments_of(parts)).penalty / (4 * len(rows))


@dataclass(frozen=True)
class LogisticFit:
    """log odds = weights . (x, 1)"""

    weights: Array  # (D + 1,) for scaled rows, the intercept last
    loss: float
    iterations: int
    converged: bool  # the gradient is 1e-8 of that at zero


def fit_logistic(
    rows: ScaledRows, signs: NDArray, config: LogisticConfig, start: Array | None = None
) -> LogisticFit:
    """Newton's method, each step halved until the loss falls; one pass over the rows a step.

    Args:
        rows: N rows of D numbers. signs: (N,) -1 or 1.
        start: (D + 1,) weights to start from; None: zero.
    """
    if len(rows) < rows.width - 1:
        small, axes = rows.in_row_space()
        near = None if start is None else np.r_[axes.T @ start[:-1], start[-1]]
        found = fit_logistic(small, signs, config, near)
        return replace(found, weights=np.r_[axes @ found.weights[:-1], found.weights[-1]])
    shares = (balanced(signs) if config.balance else np.ones(len(signs))) / len(signs)
    penalty = config.penalty or chosen_penalty(rows, signs)
    pull = np.r_[np.full(rows.width - 1, penalty), 0.0]
    weights = np.zeros(rows.width) if start is None else start
    goal = 1e-8 * float(np.linalg.norm(_first(rows, signs, shares)))
    now = _Pass.at(weights, rows, signs, shares, pull)
    taken = 0
    while np.linalg.norm(now.gradient) > goal and taken < config.iterations:
        step = np.linalg.solve(now.curvature, -now.gradient)
        new = _Pass.at(weights + step, rows, signs, shares, pull)
        while new.loss > now.loss * (1 + 1e-14) and np.abs(step).max() > 1e-12:
            step = step / 2
            new = _Pass.at(weights + step, rows, signs, shares, pull)
        weights, now, taken = weights + step, new, taken + 1
    converged = bool(np.linalg.norm(now.gradient) <= goal)
    return LogisticFit(weights, now.loss, taken, converged)


@dataclass(frozen=True)
class _Pass:
    """What one pass over the rows tells at some weights."""

    loss: float
    gradient: Array  # (D + 1,)
    curvature: Array  # (D + 1, D + 1)

    @classmethod
    def at(
        cls, weights: Array, rows: ScaledRows, signs: NDArray, shares: Array, pull: Array
    ) -> _Pass:
        loss = float(pull @ weights**2) / 2
        gradient, curvature = pull * weights, np.diag(pull)
        for part, block in rows.blocks():
            places = signs[part] * (block @ weights)
            loss += float(shares[part] @ np.logaddexp(0.0, -places))
            wrong = 0.5 * (1.0 - np.tanh(places / 2))  # the chance given to the other class
            gradient -= block.T @ (shares[part] * signs[part] * wrong)
            block *= np.sqrt(shares[part] * wrong * (1.0 - wrong))[:, None]
            curvature += block.T @ block
        return cls(loss, gradient, curvature)


def _first(rows: ScaledRows, signs: NDArray, shares: Array) -> Array:
    """The gradient at zero weights."""
    found = np.zeros(rows.width)
    for part, block in rows.blocks():
        found -= block.T @ (shares[part] * signs[part]) / 2
    return found

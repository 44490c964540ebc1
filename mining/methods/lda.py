"""Fisher's linear discriminant between low and high scores: two means and one scatter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import Direction, check_pairs, check_positive, unit_vector
from mining.methods.moments import Moments
from mining.methods.paired_moments import PairedMoments
from mining.methods.ridge import fit_ridge, ridge_of, slope_along
from mining.methods.two_classes import cut
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LdaConfig:
    """Settings of `mine_lda`."""

    penalty: float | None = None  # lambda > 0, in mean variances inside a class; None: by GCV
    threshold: float | None = None  # None: the median, or midway between two values

    def __post_init__(self) -> None:
        if self.penalty is not None:
            check_positive("lda", penalty=self.penalty)
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InputError(f"lda: threshold is {self.threshold}, expected a finite number.")


def mine_lda(latents: Array, scores: Array, config: LdaConfig = LdaConfig()) -> Direction:
    """Find the direction that separates two classes best for the spread inside them.

    w = (S + lambda I)^-1 (m_high - m_low) with S the pooled covariance of latents about their own
    class's mean; the result is w / |w|. The slope is that of a ridge fit to all rows.
    What it estimates: that of a ridge fit to the classes as 0 and 1, so for a score that grows with
    a'x and Gaussian latents the direction a. It needs no more than the moments of both classes.
    Without a penalty of its own it takes that fit's, by generalised cross-validation.
    Source: Fisher (1936), doi:10.1111/j.1469-1809.1936.tb02137.x; Friedman (1989),
    doi:10.1080/01621459.1989.10478752 for the penalty.

    Args:
        latents: (N, D), one row per sample, N >= 8.
        scores: (N,), the attribute in its own unit.

    Returns:
        A direction with `separation` (the means' distance along it, in standard deviations inside
        a class, lambda among their squares; in sample), `penalty`, `low_rows` and `high_rows` as
        evidence.

    Raises:
        InputError: shapes disagree, a value is not finite, latents or scores are constant, or a
            side of the threshold has fewer than two rows.
    """
    latents, scores = check_pairs("lda", latents, scores, least=8)
    classes = cut("lda", scores, config.threshold)
    used = classes != 0
    x, sides = latents[used] - latents[used].mean(axis=0), classes[used]
    axes, width = None, x.shape[1]
    if len(x) < width:  # in the coordinates of the rows, in whose span w lies
        axes, small = np.linalg.qr(x.T)
        x = small.T
    low, high = Moments.of(x[sides < 0]), Moments.of(x[sides > 0])
    chosen = None if config.penalty else fit_ridge(x, sides.astype(np.float64)).penalty
    found = _solved(low, high, width, config.penalty, chosen)
    vector = found.vector if axes is None else np.asarray(axes @ found.vector, np.float64)
    vector = unit_vector("lda", vector)
    return replace(found, vector=vector, slope=slope_along(latents, scores, vector))


def lda_of(low: Moments, high: Moments, config: LdaConfig = LdaConfig()) -> Direction:
    """As `mine_lda`, from the moments of both classes, without a slope (NaN); for more rows than
    numbers."""
    chosen = None if config.penalty else ridge_of(_labelled(low, high)).penalty
    return _solved(low, high, len(low.mean), config.penalty, chosen)


def _labelled(low: Moments, high: Moments) -> PairedMoments:
    """Of both classes' rows with -1 and 1 as their scores."""
    both, rows = low + high, low.rows + high.rows
    share = low.rows * (high.rows / rows)
    pull = 2 * share * (high.mean - low.mean)
    scatter = np.block([[both.scatter, pull[:, None]], [pull[None], np.array([[4 * share]])]])
    return PairedMoments(Moments(rows, np.r_[both.mean, (high.rows - low.rows) / rows], scatter))


def _solved(
    low: Moments, high: Moments, width: int, penalty: float | None, chosen: float | None
) -> Direction:
    """The direction by a penalty in mean variances of `width` numbers, or one for the scatter."""
    freedom = max(low.rows + high.rows - 2, 1)
    inside = (low.scatter + high.scatter) / freedom
    gap = high.mean - low.mean
    # without any variance, as of two points a class, each penalty gives the line between them
    mean_variance = float(np.trace(inside)) / width or 1.0
    share = penalty or (chosen or 0.0) / freedom / mean_variance
    pull = share * mean_variance * np.eye(len(gap))
    solved: Array = np.linalg.solve(inside + pull, gap).astype(np.float64, copy=False)
    vector = unit_vector("lda", solved)
    spread = math.sqrt(float(vector @ (inside + pull) @ vector))
    return Direction(
        method="lda",
        vector=vector,
        slope=math.nan,
        evidence={
            "separation": float(gap @ vector) / spread,
            "penalty": share,
            "low_rows": low.rows,
            "high_rows": high.rows,
        },
    )

"""Ridge regression of an attribute on the latents: the direction of its mean gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import (
    Direction,
    check_pairs,
    check_positive,
    principal_axes,
    unit_vector,
)
from mining.methods.paired_moments import PairedMoments

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RidgeConfig:
    """Settings of `mine_ridge`."""

    penalty: float | None = None  # lambda > 0, added to the scatter matrix; None: chosen by GCV

    def __post_init__(self) -> None:
        if self.penalty is not None:
            check_positive("ridge", penalty=self.penalty)


def mine_ridge(latents: Array, scores: Array, config: RidgeConfig = RidgeConfig()) -> Direction:
    """Find the latent direction along which one attribute grows fastest.

    With X, y centred: w = (X'X + lambda I)^-1 X'y; the result is w / |w|. The slope is
    `slope_along`'s: |w| where lambda is chosen; a penalty set by hand shrinks |w|, not the slope.
    What it estimates: for a score f(a'x) with any increasing f and Gaussian latents of any
    covariance, Sigma^-1 Cov(x, y) = E[f'] a (Stein's lemma), so w points along a itself even
    where latents are correlated; lambda pulls it towards the latents' widest axes.
    Source: Hoerl & Kennard (1970), doi:10.1080/00401706.1970.10488634; lambda by generalised
    cross-validation, Golub, Heath & Wahba (1979), doi:10.1080/00401706.1979.10489751.

    Args:
        latents: (N, D), one row per sample, N >= 3.
        scores: (N,), the attribute in its own unit (degrees for yaw).

    Returns:
        A direction with the slope in units of the score per unit step, and as evidence
        the penalty, `r2` (in sample) and `r2_gcv` (as predicted for new rows).

    Raises:
        InputError: shapes disagree, a value is not finite, or scores are constant.
    """
    latents, scores = check_pairs("ridge", latents, scores, least=3)
    fit = fit_ridge(latents, scores, config.penalty)
    vector = unit_vector("ridge", fit.weights)
    free = slope_along(latents, scores, vector) if config.penalty else fit.weights @ vector
    return _direction(fit, vector, float(free), len(scores))


@dataclass(frozen=True)
class RidgeFit:
    """y = intercept + X weights."""

    weights: Array  # (D,)
    intercept: float
    penalty: float
    r2: float  # share of the variance explained on the rows it was fitted to
    r2_gcv: float  # 1 - GCV / variance: the share to expect on new rows; can be negative


def fit_ridge(latents: Array, scores: Array, penalty: float | None = None) -> RidgeFit:
    """Ridge regression through the eigenvectors of X'X, so that every lambda costs O(D).

    |y - Xw|^2 and N - 1 - df are sums of positive terms, over the directions that X spans plus
    what lies outside: as differences they would be rounding noise where D >= N.
    Source: GCV(lambda) = N |y - Xw|^2 / (N - 1 - df)^2 with df = sum s/(s + lambda), Golub, Heath
    & Wahba (1979); the intercept takes one degree of freedom.
    """
    centre, mean = latents.mean(axis=0), float(scores.mean())
    x, y = latents - centre, scores - mean
    energy, axes = _spanned(*principal_axes(x), max(x.shape))
    pull = axes.T @ (x.T @ y)
    outside = float(((y - x @ (axes @ (pull / energy))) ** 2).sum())
    found = _Decomposed(len(y), centre, mean, energy, axes, pull, outside, float(y @ y))
    return found.fit(penalty)


def ridge_of(moments: PairedMoments, penalty: float | None = None) -> RidgeFit:
    """As `fit_ridge`, from sums over parts: the rows themselves are not needed.

    |y - Xw|^2 is a difference of sums here, so that an r2 above 1 - 1e-10 or fewer rows than
    numbers want `fit_ridge`.
    """
    energy, axes = np.linalg.eigh(moments.scatter)
    energy, axes = _spanned(np.maximum(energy, 0), axes, max(moments.rows, len(energy)))
    pull, total = axes.T @ moments.pull, moments.score_energy
    outside = max(total - float((pull**2 / energy).sum()), np.finfo(float).eps * total)
    centre, mean = moments.mean, moments.score_mean
    return _Decomposed(moments.rows, centre, mean, energy, axes, pull, outside, total).fit(penalty)


def mine_ridge_of(moments: PairedMoments, config: RidgeConfig = RidgeConfig()) -> Direction:
    """As `mine_ridge`, from sums over parts of at least D + 2 rows."""
    fit = ridge_of(moments, config.penalty)
    vector = unit_vector("ridge", fit.weights)
    free = ridge_of(moments) if config.penalty else fit
    return _direction(fit, vector, float(free.weights @ vector), moments.rows)


@dataclass(frozen=True)
class _Decomposed:
    """Centred X and y by the eigenvectors of X'X that X spans."""

    rows: int
    centre: Array  # (D,)
    mean: float
    energy: Array  # (R,) eigenvalues
    axes: Array  # (D, R)
    pull: Array  # (R,) axes' X'y
    outside: float  # of y'y, what no weights reach
    total: float  # y'y

    def fit(self, penalty: float | None) -> RidgeFit:
        """Ridge regression by this penalty, or by the one of the least GCV."""
        lambdas = _grid(self.energy) if penalty is None else np.array([penalty])
        left = np.array([self._left_over(float(value)) for value in lambdas])
        errors = _gcv(self.energy, left, self.rows, lambdas)
        best = int(np.argmin(errors))
        chosen = float(lambdas[best])
        weights = self.axes @ (self.pull / (self.energy + chosen))
        total = max(self.total, 1e-300)  # constant scores, as a split can give: r2 is 1
        return RidgeFit(
            weights,
            intercept=self.mean - float(self.centre @ weights),
            penalty=chosen,
            r2=1 - float(left[best]) / total,
            r2_gcv=1 - float(errors[best]) * (self.rows - 1) / total,
        )

    def _left_over(self, penalty: float) -> float:
        """|y - Xw|^2 at one lambda: what shrinking leaves in X's span, and what lies outside."""
        shrunk = penalty / (self.energy + penalty)
        return float((self.pull**2 / self.energy * shrunk**2).sum()) + self.outside


def _spanned(energy: Array, axes: Array, longest: int) -> tuple[Array, Array]:
    """Without the eigenvectors that are rounding noise."""
    kept = energy > np.finfo(float).eps * longest * energy.max()
    return energy[kept], axes[:, kept]


def _direction(fit: RidgeFit, vector: Array, slope: float, rows: int) -> Direction:
    return Direction(
        method="ridge",
        vector=vector,
        slope=slope,
        evidence={"penalty": fit.penalty, "r2": fit.r2, "r2_gcv": fit.r2_gcv, "rows": rows},
    )


def slope_along(latents: Array, scores: Array, vector: Array) -> float:
    """Score units per unit step along `vector`, the other coordinates held: the ridge weights'
    part along it.

    Every method's slope comes from here, so that the methods can be compared; a regressor's own
    gradient is shrunk by early stopping and weight decay.
    """
    return float(fit_ridge(latents, scores).weights @ vector)


def _grid(energy: Array) -> Array:
    """Sixty-one penalties over ten decades below ten times the largest eigenvalue of X'X."""
    return float(energy.max(initial=1e-300)) * np.logspace(-9, 1, 61)


def _gcv(energy: Array, left: Array, rows: int, lambdas: Array) -> Array:
    """GCV per lambda, in the unit of the scores squared."""
    beyond = max(rows - 1 - len(energy), 0)
    freedom = beyond + (lambdas / (energy[:, None] + lambdas)).sum(axis=0)
    return rows * left / np.maximum(freedom, 1e-150) ** 2

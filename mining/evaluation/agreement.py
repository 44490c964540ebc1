"""How far sources that measured the same images agree: correlation, bias, failures of one alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]
NAN = float("nan")
PLAIN = "1"  # the unit of plain numbers: two of them have no scale in common
QUANTILE = 1.959964  # of the normal distribution, for 95 %
FEW = 30  # rows below which an interval is at least as wide as that of normal values
OUTLIER = 4.0  # robust standard deviations; 0.006 % of normal values lie farther out
EDGES = (0.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0)  # degrees of |yaw|; the last bin is open


@dataclass(frozen=True)
class Series:
    """One quantity as one source tells it, a row per image."""

    source: str  # a backend, "truth" or "camera"
    values: NDArray[np.floating]  # (N,) NaN where the source has nothing
    unit: str = PLAIN


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; NaN where it cannot be had."""

    value: float
    low: float = NAN
    high: float = NAN


UNKNOWN = Estimate(NAN)


@dataclass(frozen=True)
class Comparison:
    """Two sources of one quantity; what is signed is second minus first."""

    first: str
    second: str
    unit: str  # of bias and spread; "" where the two have no unit in common
    rows: int  # that both have
    only_first: int
    only_second: int
    pearson: Estimate
    spearman: Estimate
    bias: float  # mean difference; NaN without a common unit
    spread: float  # standard deviation of the difference; NaN without a common unit
    slope: float  # of the least-squares line second = slope first + intercept
    intercept: float
    residual: float  # standard deviation about that line, in the second's unit
    outliers: float  # share of rows OUTLIER robust deviations off


@dataclass(frozen=True)
class AngleBin:
    """How often each backend failed on faces turned so far."""

    low: float  # degrees, inclusive
    high: float  # degrees, exclusive; infinite in the last bin
    rows: int
    failed: Mapping[str, Estimate]  # backend -> share of these rows without a measurement


def compare(first: Series, second: Series) -> Comparison:
    """Compare what two sources say about the same images.

    Where both have one physical unit (degrees, mm), bias and spread are the mean and the standard
    deviation of the difference. Line, residual and correlations are always given: they need no
    common unit. Outliers lie more than OUTLIER times 1.4826 median absolute deviations from the
    median difference, or from the line where the units differ.

    Raises:
        InputError: the two have different numbers of rows.
    """
    if first.values.shape != second.values.shape or first.values.ndim != 1:
        raise InputError(
            f"agreement: {first.source} {first.values.shape} and {second.source} "
            f"{second.values.shape} came; expected one value per image in both, (N,)."
        )
    in_first, in_second = np.isfinite(first.values), np.isfinite(second.values)
    both = in_first & in_second
    x = first.values[both].astype(np.float64)
    y = second.values[both].astype(np.float64)
    unit = first.unit if first.unit == second.unit != PLAIN else ""
    slope, intercept = line(x, y)
    off_line = y - (slope * x + intercept)
    difference = y - x
    return Comparison(
        first=first.source,
        second=second.source,
        unit=unit,
        rows=int(both.sum()),
        only_first=int((in_first & ~both).sum()),
        only_second=int((in_second & ~both).sum()),
        pearson=pearson(x, y),
        spearman=spearman(x, y),
        bias=float(difference.mean()) if unit and len(x) else NAN,
        spread=float(difference.std(ddof=1)) if unit and len(x) > 1 else NAN,
        slope=slope,
        intercept=intercept,
        residual=float(np.sqrt(np.square(off_line).sum() / (len(x) - 2))) if len(x) > 2 else NAN,
        outliers=outlier_share(difference if unit else off_line, float(np.ptp(y)) if len(y) else 0),
    )


def pearson(x: Array, y: Array) -> Estimate:
    """Pearson's correlation with an interval that does not assume normal values.

    The interval is Fisher's, tanh(artanh r -+ 1.96 s / (1 - r^2)), with s^2 the mean square of
    the influence u v - r (u^2 + v^2) / 2 of a row (u, v standardised) over n - 3, so that heavy
    tails widen it. Below FEW rows it is at least as wide as normal values would make it.
    Sources: Fisher (1921), Metron 1, 3-32; Efron (1982), The Jackknife, the Bootstrap and Other
    Resampling Plans, chapter 6 (infinitesimal jackknife).

    Args:
        x, y: (N,) finite. Fewer than 3 rows or a constant give NaN.
    """
    found = _influence(x, y)
    if found is None:
        return UNKNOWN
    r, influence = found
    return _fisher(r, float(np.square(influence).mean()), len(x))


def spearman(x: Array, y: Array) -> Estimate:
    """Spearman's rank correlation; ties share their mean rank.

    The interval is Fisher's with variance (1 + r^2 / 2) / (n - 3) of artanh r.
    Source: Bonett & Wright (2000), Psychometrika 65, 23-28, doi:10.1007/BF02294183.
    """
    from scipy.stats import rankdata

    found = _influence(rankdata(x), rankdata(y)) if len(x) > 2 else None
    if found is None:
        return UNKNOWN
    r = found[0]
    return _fisher(r, (1 + r * r / 2) * (1 - r * r) ** 2, len(x))


def lead(first: NDArray, second: NDArray, reference: NDArray) -> Estimate:
    """|r(first, reference)| - |r(second, reference)| over the rows that all three have.

    Both correlations come from the same rows, so the interval is that of the difference of their
    influences: what moves both alike cancels. Source: as `pearson`.
    """
    known = np.isfinite(first) & np.isfinite(second) & np.isfinite(reference)
    columns = [np.asarray(values[known], np.float64) for values in (first, second, reference)]
    one, two = _influence(columns[0], columns[2]), _influence(columns[1], columns[2])
    if one is None or two is None:
        return UNKNOWN
    value = abs(one[0]) - abs(two[0])
    rows = int(known.sum())
    if rows < 4:
        return Estimate(value)
    apart = math.copysign(1, one[0]) * one[1] - math.copysign(1, two[0]) * two[1]
    reach = QUANTILE * math.sqrt(float(np.square(apart).mean()) / (rows - 3))
    return Estimate(value, value - reach, value + reach)


def line(x: Array, y: Array) -> tuple[float, float]:
    """Slope and intercept of the least-squares line y = slope x + intercept; NaN for constant x."""
    centred = _centred(x)
    if centred is None or len(x) < 2:
        return NAN, NAN
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())


def outlier_share(off: Array, size: float) -> float:
    """Share of rows that lie OUTLIER robust standard deviations from the median.

    Args:
        off: (N,) differences or residuals; NaN where there are none.
        size: of the values that they come from: what is under 1e-6 of it counts as no deviation.
    """
    if not len(off) or not np.isfinite(off).all():
        return NAN
    away = np.abs(off - np.median(off))
    scale = max(1.4826 * float(np.median(away)), 1e-6 * size)
    return float((away > OUTLIER * scale).mean())


def failures_by_angle(
    angle: NDArray, measured: Mapping[str, NDArray[np.bool_]], edges: Sequence[float] = EDGES
) -> tuple[AngleBin, ...]:
    """How often each backend failed, by how far the face is turned; bins without rows are left out.

    Args:
        angle: (N,) degrees; rows that are NaN are in no bin.
        measured: backend -> (N,) whether it has values for the image.
    """
    size = np.abs(np.asarray(angle, np.float64))
    bins = []
    for low, high in zip(edges[:-1], (*edges[1:-1], math.inf), strict=True):
        inside = (size >= low) & (size < high)
        rows = int(inside.sum())
        if rows:
            failed = {name: share(int((~ok[inside]).sum()), rows) for name, ok in measured.items()}
            bins.append(AngleBin(low, high, rows, failed))
    return tuple(bins)


def share(count: int, rows: int) -> Estimate:
    """A share of rows with Wilson's 95 % interval. Source: Wilson (1927), doi:10.2307/2276774."""
    if not rows:
        return UNKNOWN
    rate, square = count / rows, QUANTILE**2
    middle = (rate + square / (2 * rows)) / (1 + square / rows)
    reach = math.sqrt(rate * (1 - rate) / rows + square / (4 * rows**2)) / (1 + square / rows)
    reach *= QUANTILE
    return Estimate(rate, min(rate, max(0.0, middle - reach)), max(rate, min(1.0, middle + reach)))


def _influence(x: Array, y: Array) -> tuple[float, Array] | None:
    """Correlation and every row's influence on it; None where it is not defined."""
    u, v = _centred(x), _centred(y)
    if len(x) < 3 or u is None or v is None:
        return None
    u, v = u / np.sqrt(np.square(u).mean()), v / np.sqrt(np.square(v).mean())
    product = u * v
    r = float(np.clip(product.mean(), -1, 1))
    return r, product - r / 2 * (np.square(u) + np.square(v))


def _centred(x: Array) -> Array | None:
    """x - mean x; None where x is constant up to rounding."""
    if not len(x) or np.ptp(x) <= max(1e-12 * float(np.abs(x).max()), 1e-100):
        return None
    return x - x.mean()


def _fisher(r: float, variance: float, rows: int) -> Estimate:
    """Fisher's interval for a correlation whose squared standard error is variance / (n - 3)."""
    if rows < 4:
        return Estimate(r)
    room = 1 - r * r
    if room < 1e-12:
        return Estimate(r, r, r)
    error = math.sqrt(variance / (rows - 3)) / room
    if rows < FEW:
        error = max(error, 1 / math.sqrt(rows - 3))
    z = math.atanh(r)
    return Estimate(r, math.tanh(z - QUANTILE * error), math.tanh(z + QUANTILE * error))

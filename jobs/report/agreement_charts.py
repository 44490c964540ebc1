"""Two sources of one quantity against each other: a fuller colour is more rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.report.figures import Tick
from jobs.report.numbers import mark
from mining.evaluation.agreement import Comparison

BINS = 44  # along each axis
SHADES = (0.36, 0.5, 0.65, 0.82, 1.0)  # opacities, each for about three times as many rows
WINDOW = (0.2, 99.8)  # percentiles that the axes reach, so that one outlier does not flatten all
MOST_POINTS = 200_000  # rows that are drawn, chosen by SEED where there are more
SEED = 20_260
Segment = tuple[float, float, float, float]  # x1, y1, x2, y2


@dataclass(frozen=True)
class Scatter:
    """A plot of width x height; all places are in its own coordinates."""

    width: float
    height: float
    left: float  # of the plotting area
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    shades: tuple[tuple[float, str], ...]  # opacity, path of all squares of that opacity
    fit: Segment | None  # the least-squares line, as far as it lies inside
    equal: Segment | None  # where both say the same; only where they have one unit
    rows: int  # that both have
    drawn: int  # of these, drawn
    outside: int  # of the drawn, beyond the axes


def scatter(
    x: NDArray, y: NDArray, found: Comparison, width: float = 300, height: float = 270
) -> Scatter | None:
    """Place the rows that both sources have; None where they are fewer than 3.

    Args:
        x, y: (N,) the first and the second source of `found`, NaN where they have nothing.
    """
    both = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    rows = len(both)
    if rows < 3:
        return None
    if rows > MOST_POINTS:
        both = np.sort(np.random.default_rng(SEED).choice(both, MOST_POINTS, replace=False))
    at, up = x[both].astype(np.float64), y[both].astype(np.float64)
    x_ends, y_ends = window(at), window(up)
    if found.unit:  # one scale for both, so that the diagonal is where they agree
        x_ends = y_ends = min(x_ends[0], y_ends[0]), max(x_ends[1], y_ends[1])
    left, right, top, bottom = 46.0, width - 10, 8.0, height - 26
    counts, outside = _count(at, up, x_ends, y_ends)
    box = (left, right, top, bottom)

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (x - x_ends[0]) / (x_ends[1] - x_ends[0]) * (right - left)
        return across, bottom - (y - y_ends[0]) / (y_ends[1] - y_ends[0]) * (bottom - top)

    def segment(slope: float, intercept: float) -> Segment | None:
        ends = clipped(slope, intercept, x_ends, y_ends)
        return None if ends is None else _rounded((*place(*ends[:2]), *place(*ends[2:])))

    return Scatter(
        width, height, *box,
        tuple(Tick(round(place(at, y_ends[0])[0], 1), mark(at)) for at in marks(*x_ends)),
        tuple(Tick(round(place(x_ends[0], at)[1], 1), mark(at)) for at in marks(*y_ends)),
        _shades(counts, box),
        segment(found.slope, found.intercept) if math.isfinite(found.slope) else None,
        segment(1.0, 0.0) if found.unit else None,
        rows, len(both), outside,
    )  # fmt: skip


def window(values: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of an axis: most of the values with room around them, never of no length."""
    low, high = (float(end) for end in np.percentile(values, WINDOW))
    room = 0.04 * (high - low)
    if not room > 1e-9 * max(abs(low), abs(high)):
        room = 0.5 * max(1.0, abs(low))
    return low - room, high + room


def marks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers inside an interval, about `wanted` of them."""
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= raw * 0.999)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [k * step for k in range(first, last + 1)]


def clipped(
    slope: float, intercept: float, x_ends: tuple[float, float], y_ends: tuple[float, float]
) -> Segment | None:
    """The part of a line that lies inside a box of values; None where none does."""
    low, high = x_ends
    if abs(slope) * (high - low) > 1e-9 * (y_ends[1] - y_ends[0]):
        crossings = sorted((end - intercept) / slope for end in y_ends)
        low, high = max(low, crossings[0]), min(high, crossings[1])
    elif not y_ends[0] <= intercept <= y_ends[1]:
        return None
    if not low < high:
        return None
    return low, slope * low + intercept, high, slope * high + intercept


def _count(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    x_ends: tuple[float, float],
    y_ends: tuple[float, float],
) -> tuple[NDArray[np.int64], int]:
    """(BINS, BINS) rows by column and row of squares, and the rows outside."""
    counts, _, _ = np.histogram2d(x, y, bins=BINS, range=(x_ends, y_ends))
    return counts.astype(np.int64), len(x) - int(counts.sum())


def _shades(
    counts: NDArray[np.int64], box: tuple[float, float, float, float]
) -> tuple[tuple[float, str], ...]:
    """One path for each opacity; the shade follows the logarithm of the rows in a square."""
    left, right, top, bottom = box
    wide, tall = (right - left) / BINS, (bottom - top) / BINS
    most = max(int(counts.max()), 1)
    filled = np.log(np.maximum(counts, 1)) / math.log(most) if most > 1 else np.ones(counts.shape)
    level = np.minimum((filled * len(SHADES)).astype(int), len(SHADES) - 1)
    shades = []
    outline = f"h{wide:.1f}v{tall:.1f}h-{wide:.1f}z"
    for k, opacity in enumerate(SHADES):
        squares = [
            f"M{left + a * wide:.1f} {bottom - (b + 1) * tall:.1f}{outline}"
            for a, b in np.argwhere((level == k) & (counts > 0)).tolist()
        ]
        if squares:
            shades.append((opacity, "".join(squares)))
    return tuple(shades)


def _rounded(segment: Segment) -> Segment:
    x1, y1, x2, y2 = (round(value, 1) for value in segment)
    return x1, y1, x2, y2

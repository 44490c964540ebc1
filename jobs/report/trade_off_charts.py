"""The geometry of a trade-off: effect against leak or cost, as SVG coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.report.figures import Tick, marks
from jobs.report.numbers import mark

Point = tuple[float, float]


@dataclass(frozen=True)
class Spot:
    """One marked place."""

    kind: str  # "plain", "picked" or "measured"
    x: float
    y: float


@dataclass(frozen=True)
class CurveChart:
    """A curve from 0 up in a box of width x height."""

    width: float
    height: float
    left: float  # of the plotting area
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    line: str  # points of a polyline
    spots: tuple[Spot, ...]
    limit: float | None  # y of the largest value that was asked for


def curve_chart(
    line: Sequence[Point],
    spots: Sequence[tuple[str, Point]] = (),
    limit: float | None = None,
    width: float = 460,
    height: float = 260,
) -> CurveChart | None:
    """Place a curve and marked places on axes from 0; None where nothing finite is to be drawn.

    Args:
        line: (x, y), both at least 0; what is not finite is left out.
        spots: kind and place.
        limit: a horizontal line; left out where it lies far above everything.
    """
    known = [point for point in line if all(map(math.isfinite, point))]
    marked = [(kind, at) for kind, at in spots if all(map(math.isfinite, at))]
    places = [*known, *(at for _, at in marked)]
    if len(known) < 2 or max(x for x, _ in places) <= 0:
        return None
    wide = 1.05 * max(x for x, _ in places)
    tall = 1.08 * max(y for _, y in places) or 1.0
    if limit is not None and tall < limit <= 2 * tall:
        tall = 1.08 * limit
    left, right, top, bottom = 58.0, width - 14, 12.0, height - 40

    def at(point: Point) -> Point:
        x, y = point
        return (
            round(left + x / wide * (right - left), 1),
            round(bottom - y / tall * (bottom - top), 1),
        )

    return CurveChart(
        width, height, left, right, top, bottom,
        tuple(Tick(at((x, 0))[0], mark(x)) for x in marks(0, wide)),
        tuple(Tick(at((0, y))[1], mark(y)) for y in marks(0, tall)),
        " ".join("{},{}".format(*at(point)) for point in known),
        tuple(Spot(kind, *at(place)) for kind, place in marked),
        at((0, limit))[1] if limit is not None and limit <= tall else None,
    )  # fmt: skip

"""Lines over a common axis, with bands and with ranges below: numbers in, SVG places out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from jobs.report.figures import Tick, marks
from jobs.report.numbers import mark, whole

COLOURS, DASHES = 6, 3  # that the style sheet knows; together 18 kinds of lines
LANE = 7.0  # height of a range below the plot
LEFT, RIGHT, TOP, BELOW = 54.0, 12.0, 10.0, 24.0  # room around the plot for its numbers


@dataclass(frozen=True)
class Series:
    """One line to be drawn; what is not finite is left out."""

    name: str
    style: int  # lines of one style have one colour and one kind of dashes
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()  # as long as y, or ()
    high: Sequence[float] = ()
    holds: tuple[float, float] | None = None  # along x


@dataclass(frozen=True)
class Line:
    """One line as it is drawn."""

    name: str
    colour: int
    dashes: int
    points: str  # of a polyline
    dots: tuple[tuple[float, float], ...]
    band: str  # points of a polygon; "" without an interval
    holds: tuple[float, float] | None  # x and width of the range
    lane: float  # y of the range below the plot


@dataclass(frozen=True)
class LineChart:
    """A plot of width x height; all places are in its own coordinates."""

    width: float
    height: float
    left: float  # of the plotting area
    right: float
    top: float
    bottom: float
    floor: float  # where the numbers below begin
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    origin: tuple[float, float] | None  # the place of (0, 0), where it lies inside
    lines: tuple[Line, ...]


def line_chart(
    series: Sequence[Series],
    *,
    logarithmic: bool = False,
    lanes: bool = False,
    top: float | None = None,
    width: float = 400,
    height: float = 240,
) -> LineChart | None:
    """Place the lines; None where none of them has two points.

    Args:
        logarithmic: of the horizontal axis, whose numbers are all counts above 0 then.
        lanes: draw ranges one below the other, below the plot, which grows by them.
        top: the vertical axis ends here, whatever the values are.
    """
    across: Callable[[float], float] = math.log10 if logarithmic else float
    drawn = [(one, *_known(one)) for one in series]
    drawn = [(one, points, band) for one, points, band in drawn if len(points) > 1]
    if not drawn:
        return None
    at = [across(x) for _, points, _ in drawn for x, _ in points]
    up = [y for _, points, band in drawn for y in (*_heights(points), *_ends(band))]
    x_ends, (low, high) = _room(at, 0.03), _room(up, 0.05)
    y_ends = (low, high if top is None else top)
    left, right, bottom = LEFT, width - RIGHT, height - BELOW
    below = LANE * sum(one.holds is not None for one, _, _ in drawn) if lanes else 0.0

    def x(value: float) -> float:
        return round(
            left + (across(value) - x_ends[0]) / (x_ends[1] - x_ends[0]) * (right - left), 1
        )

    def y(value: float) -> float:
        return round(bottom - (value - y_ends[0]) / (y_ends[1] - y_ends[0]) * (bottom - TOP), 1)

    def line(one: Series, points: Points, band: Band, lane: float) -> Line:
        places = tuple((x(a), y(b)) for a, b in points)
        outline = [(x(a), y(b)) for a, b, _ in band] + [(x(a), y(b)) for a, _, b in band[::-1]]
        holds = None if one.holds is None else _inside(x, one.holds, (left, right))
        return Line(one.name, one.style % COLOURS, one.style // COLOURS % DASHES, _joined(places),
                    places, _joined(outline), holds, lane)  # fmt: skip

    lines, lane = [], bottom + 4
    for one, points, band in drawn:
        lines.append(line(one, points, band, lane))
        lane += LANE if lanes and one.holds is not None else 0.0
    inside = not logarithmic and x_ends[0] <= 0 <= x_ends[1] and y_ends[0] <= 0 <= y_ends[1]
    counted = [(value, whole(int(value))) for value in _counts(at)] if logarithmic else []
    numbers = counted or [(value, mark(value)) for value in marks(*x_ends, 7)]
    return LineChart(
        width, height + below, left, right, TOP, bottom, bottom + below,
        tuple(Tick(x(value), told) for value, told in numbers),
        tuple(Tick(y(value), mark(value)) for value in marks(*y_ends)),
        (x(0), y(0)) if inside else None, tuple(lines),
    )  # fmt: skip


Points = list[tuple[float, float]]
Band = list[tuple[float, float, float]]  # x, low, high


def _known(one: Series) -> tuple[Points, Band]:
    """The points that are finite, and of those the ones with an interval."""
    points = [(a, b) for a, b in zip(one.x, one.y, strict=True) if math.isfinite(a + b)]
    if not len(one.low) == len(one.high) == len(one.x):
        return points, []
    both = zip(one.x, one.low, one.high, strict=True)
    return points, [(a, b, c) for a, b, c in both if math.isfinite(a + b + c)]


def _heights(points: Points) -> Iterable[float]:
    return (b for _, b in points)


def _ends(band: Band) -> Iterable[float]:
    return (end for _, low, high in band for end in (low, high))


def _room(values: Sequence[float], share: float) -> tuple[float, float]:
    """The ends of an axis: all values with some room around them, never of no length."""
    low, high = min(values), max(values)
    room = share * (high - low)
    if not room > 1e-9 * max(abs(low), abs(high)):
        room = 0.5 * max(abs(low), abs(high)) or 0.5
    return low - room, high + room


def _inside(
    x: Callable[[float], float], ends: tuple[float, float], box: tuple[float, float]
) -> tuple[float, float]:
    """x and width of a range, as far as it lies in the plot."""
    low, high = (min(max(x(end), box[0]), box[1]) for end in sorted(ends))
    return low, round(high - low, 1)


def _counts(logs: Sequence[float], most: int = 5) -> list[float]:
    """Numbers that were drawn, fewer where they would touch."""
    values, kept = sorted({round(10.0**value) for value in logs}), []
    apart = (max(logs) - min(logs)) / most
    for value in values:
        if not kept or math.log10(value / kept[-1]) >= apart:
            kept.append(float(value))
    return kept


def _joined(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{a},{b}" for a, b in places)

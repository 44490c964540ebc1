"""Cosine over a count, as lines with their intervals: numbers in, SVG coordinates out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.report.figures import Tick, marks
from jobs.report.numbers import fixed, mark, percent
from mining.evaluation.micromotion_ablation import Point

HUES = {"robust_pca": "a", "pca": "b", "none": "c", "matrix": "a", "mean": "b"}
NAMES = {
    "robust_pca": "robust PCA",
    "pca": "PCA",
    "none": "two anchors",
    "matrix": "one matrix",
    "mean": "mean of motions",
}


@dataclass(frozen=True)
class Line:
    """One series: all points of one choice, clean or damaged."""

    name: str
    hue: str  # a class of ablation.css
    damaged: bool
    points: str  # of a polyline: "x,y x,y"
    band: str  # of a polygon, the 95 % intervals; empty where there are none
    dots: tuple[tuple[float, float, str], ...]  # x, y, what it says


@dataclass(frozen=True)
class Chart:
    """A plot of width x height; all places are in its own coordinates."""

    title: str
    across: str  # what the horizontal axis counts
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


def count_chart(
    title: str, points: Sequence[Point], by: str, series: str, width: float = 560,
    height: float = 300,
) -> Chart | None:  # fmt: skip
    """Cosines over a count; None where there are no points.

    Args:
        by: the field that is counted: anchors or identities.
        series: the field that tells lines apart: decomposition or pooling.
    """
    counts = sorted({getattr(point, by) for point in points})
    if not counts:
        return None
    left, right, top, bottom = 46.0, width - 12, 10.0, height - 30
    low, high = _ends(points)

    def place(point: Point, value: float) -> tuple[float, float]:
        room = max(1, counts[-1] - counts[0])
        across = left + 8 + (getattr(point, by) - counts[0]) / room * (right - left - 16)
        return round(across, 1), round(bottom - (value - low) / (high - low) * (bottom - top), 1)

    lines = []
    for damaged in (False, True):
        for name in dict.fromkeys(getattr(point, series) for point in points):
            mine = [p for p in points if p.damaged == damaged and getattr(p, series) == name]
            if mine:
                lines.append(
                    _line(name, damaged, sorted(mine, key=lambda p: getattr(p, by)), place)
                )
    first = _ticks(counts)
    spots = {getattr(point, by): place(point, low)[0] for point in points}
    return Chart(
        title, by, width, height, left, right, top, bottom,
        tuple(Tick(spots[at], str(at)) for at in first),
        tuple(
            Tick(round(bottom - (at - low) / (high - low) * (bottom - top), 1), mark(round(at, 6)))
            for at in marks(low, high)
        ),
        tuple(lines),
    )  # fmt: skip


def _line(name: str, damaged: bool, mine: Sequence[Point], place) -> Line:  # noqa: ANN001
    spots = [place(point, point.cosine) for point in mine]
    known = [point for point in mine if math.isfinite(point.low)]
    around = [place(p, p.high) for p in known] + [place(p, p.low) for p in reversed(known)]
    label = NAMES.get(name, name) + (", damaged" if damaged else "")
    dots = tuple((*spot, _said(label, point)) for spot, point in zip(spots, mine, strict=True))
    return Line(label, HUES.get(name, "c"), damaged, _joined(spots), _joined(around), dots)


def _said(label: str, point: Point) -> str:
    """What a dot says: all that its settings are."""
    ends = ""
    if math.isfinite(point.low):
        ends = f" ({fixed(point.low, 3)} to {fixed(point.high, 3)})"
    of = f"{point.identities} identit{'ies' if point.identities > 1 else 'y'}"
    anchors = f"{point.anchors} anchor{'s' if point.anchors > 1 else ''}"
    said = f"{label}: {fixed(point.cosine, 3)}{ends} with {anchors} of {of}"
    return said + not_converged(point)


def not_converged(point: Point) -> str:
    """A remark where the pursuit did not reach its tolerance; empty where it always did."""
    if point.converged >= 1:
        return ""
    return f"; {percent(1 - point.converged, 0)} of the pursuits did not converge"


def _joined(spots: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in spots)


def _ends(points: Sequence[Point]) -> tuple[float, float]:
    """The ends of the vertical axis: up to 1 at most, from what is lowest."""
    values = [
        value
        for point in points
        for value in (point.cosine, point.low, point.high)
        if math.isfinite(value)
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = max(0.02, 0.06 * (high - low))
    return max(-1.02, low - room), min(1.02, high + room)


def _ticks(counts: Sequence[int]) -> list[int]:
    """Every count where they are few, else every second, from the last one down."""
    step = 1 if len(counts) <= 16 else math.ceil(len(counts) / 16)
    return sorted(counts[::-1][::step])

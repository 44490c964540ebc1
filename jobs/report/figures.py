"""The geometry of loss curves and histograms: numbers in, SVG coordinates out.

The template draws them, so that colours follow the reader's light or dark setting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.report.data import AttributeSummary, LossCurve
from jobs.report.numbers import mark, number


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float  # in the figure's own coordinates
    label: str


@dataclass(frozen=True)
class Chart:
    """A loss curve as polylines in a box of width x height."""

    width: float
    height: float
    left: float  # of the plotting area
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    train: str  # points of a polyline: "x,y x,y"
    held_out: str
    best: tuple[float, float] | None  # the lowest held-out loss
    best_text: str


def chart(curve: LossCurve, width: float = 460, height: float = 230) -> Chart | None:
    """Place a loss curve on a logarithmic axis (linear where a loss is 0 or less).

    None where fewer than two epochs are finite.
    """
    finite = [loss for loss in (*curve.train, *curve.held_out) if math.isfinite(loss)]
    epochs = max(len(curve.train), len(curve.held_out))
    if len(finite) < 2 or epochs < 2:
        return None
    logarithmic = min(finite) > 0
    scale = math.log10 if logarithmic else float
    low, high = scale(min(finite)), scale(max(finite))
    pad = 0.06 * (high - low) or 0.5
    low, high = low - pad, high + pad
    left, right, top, bottom = 58.0, width - 14, 12.0, height - 30

    def x(epoch: float) -> float:
        return left + (epoch - 1) / (epochs - 1) * (right - left)

    def y(loss: float) -> float:
        return bottom - (scale(loss) - low) / (high - low) * (bottom - top)

    def line(losses: Sequence[float]) -> str:
        points = ((x(k + 1), y(loss)) for k, loss in enumerate(losses) if math.isfinite(loss))
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)

    best, best_text = None, ""
    held = [(loss, k + 1) for k, loss in enumerate(curve.held_out) if math.isfinite(loss)]
    if held:
        loss, epoch = min(held)
        best = (round(x(epoch), 1), round(y(loss), 1))
        best_text = f"{number(loss)} at epoch {epoch}"
    chosen = log_marks(low, high) if logarithmic else marks(low, high)
    return Chart(
        width, height, left, right, top, bottom,
        tuple(Tick(x(epoch), str(epoch)) for epoch in epoch_marks(epochs)),
        tuple(Tick(round(y(at), 1), mark(at)) for at in chosen),
        line(curve.train), line(curve.held_out), best, best_text,
    )  # fmt: skip


def marks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers inside an interval, about `wanted` of them."""
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= raw * 0.999)
    first = math.ceil(low / step)
    return [k * step for k in range(first, math.floor(high / step) + 1)]


def log_marks(low: float, high: float) -> list[float]:
    """Round losses between 10^low and 10^high: decades if there are enough, else 1-2-5 steps."""
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        found = [
            digit * 10.0**power
            for power in range(math.floor(low), math.ceil(high) + 1)
            for digit in digits
            if low <= math.log10(digit * 10.0**power) <= high
        ]
        if 3 <= len(found) <= 7:
            return found
    return marks(10.0**low, 10.0**high)


def epoch_marks(epochs: int) -> list[int]:
    """The first, the last and a few round epochs between them."""
    step = max(1, round(epochs / 5))
    for nice in (1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000):
        if nice >= step:
            step = nice
            break
    between = [epoch for epoch in range(step, epochs, step) if step * 0.4 < epochs - epoch]
    return sorted({1, *[epoch for epoch in between if epoch > step * 0.4], epochs})


def histogram(summary: AttributeSummary, width: float = 132, height: float = 30) -> list[str]:
    """SVG rectangles as "x y width height", one a bin that holds something."""
    most = max(summary.counts, default=0)
    if not most:
        return []
    step = width / len(summary.counts)
    rectangles = []
    for k, count in enumerate(summary.counts):
        if count:
            tall = max(1.0, height * count / most)
            rectangles.append(f"{k * step:.1f} {height - tall:.1f} {step - 0.8:.1f} {tall:.1f}")
    return rectangles

"""Numbers of the shape model as plots: residuals and errors by K, by epoch and by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.report.figures import Tick, epoch_marks, log_marks, marks
from jobs.report.numbers import mark
from jobs.report.shape_data import ErrorHistogram, ShapeFacts
from mining.methods.choice import ComponentCurve


@dataclass(frozen=True)
class Series:
    """One line of a plot."""

    name: str
    points: str  # of a polyline
    dots: tuple[tuple[float, float], ...]
    whiskers: tuple[tuple[float, float, float], ...] = ()  # x, y above, y below


@dataclass(frozen=True)
class Plot:
    """Lines over whole numbers in a box of width x height."""

    width: float
    height: float
    left: float  # of the plotting area
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    places: tuple[float, ...]  # x of the numbers that were asked to be marked, NaN where outside


@dataclass(frozen=True)
class ErrorBars:
    """The two histograms of errors as paths over one axis in pixels."""

    width: float
    height: float
    left: float
    right: float
    bottom: float
    predicted: str
    fitted: str
    x_ticks: tuple[Tick, ...]


def residual_plot(curve: ComponentCurve, used: int) -> Plot | None:
    """Relative residuals by K: the best that 3 + K singular vectors allow, closed form, joint."""
    bound = tuple(math.sqrt(max(1 - share, 0.0)) for share in curve.rank_share)
    lines = [("rank bound", bound), ("closed form", curve.closed_residual)]
    lines.append(("joint", curve.joint_residual))
    return plot(curve.components, lines, (curve.suggested, used), logarithmic=True)


def held_out_plot(curve: ComponentCurve, used: int, pixels: int) -> Plot | None:
    """Error of left-out landmarks in pixels by K, with one standard error to either side."""
    means = [pixels * value for value in curve.held_out]
    errors = [pixels * value for value in curve.held_out_error]
    lines = [("left-out landmarks", means)]
    return plot(curve.components, lines, (curve.suggested, used), whiskers=errors)


def epochs_plot(shape: ShapeFacts, pixels: int) -> Plot | None:
    """Error of held-out landmarks in pixels by epoch of the regressor's training."""
    errors = [pixels * value for value in shape.held_out]
    epochs = range(1, len(errors) + 1)
    kept = (shape.best_epoch + 1,)
    ticks = epoch_marks(len(errors)) if len(errors) > 1 else ()
    return plot(epochs, [("held out", errors)], kept, logarithmic=True, ticks=ticks)


def plot(
    numbers: Sequence[int],
    lines: Sequence[tuple[str, Sequence[float]]],
    asked: Sequence[int] = (),
    *,
    logarithmic: bool = False,
    whiskers: Sequence[float] = (),
    ticks: Sequence[int] = (),
    width: float = 460,
    height: float = 230,
) -> Plot | None:
    """Place lines over whole numbers; None where fewer than two places can be drawn.

    Args:
        lines: names and values, NaN where there is none; a line without any is left out.
        asked: numbers whose places are wanted, to be marked.
        whiskers: half lengths of the first line's.
        ticks: numbers that are written below; () chooses among all.
    """
    kept = [(name, [float(v) for v in values]) for name, values in lines]
    kept = [(name, values) for name, values in kept if any(math.isfinite(v) for v in values)]
    room = list(whiskers) or [0.0] * len(numbers)
    ends = [v + sign * r for _, values in kept for v, r in zip(values, room, strict=True)
            for sign in (-1, 1) if math.isfinite(v + r)]  # fmt: skip
    ends = [end for end in ends if end > 0 or not logarithmic]
    if len(numbers) < 2 or len(ends) < 4:
        return None
    scale = math.log10 if logarithmic else float
    low, high = scale(min(ends)), scale(max(ends))
    pad = 0.06 * (high - low) or 0.5
    low, high = low - pad, high + pad
    left, right, top, bottom = 58.0, width - 14, 12.0, height - 30
    first, last = numbers[0], numbers[-1]

    def x(number: float) -> float:
        return round(left + 8 + (number - first) / (last - first) * (right - left - 16), 1)

    def y(value: float) -> float:
        return round(bottom - (scale(value) - low) / (high - low) * (bottom - top), 1)

    def series(name: str, values: Sequence[float], reach: Sequence[float]) -> Series:
        known = [
            (number, value, half)
            for number, value, half in zip(numbers, values, reach, strict=True)
            if math.isfinite(value) and (value > 0 or not logarithmic)
        ]
        places = tuple((x(number), y(value)) for number, value, _ in known)
        bars = tuple((x(n), y(v + half), y(v - half)) for n, v, half in known if half)
        return Series(name, " ".join(f"{a},{b}" for a, b in places), places, bars)

    chosen = log_marks(low, high) if logarithmic else marks(low, high)
    return Plot(
        width, height, left, right, top, bottom,
        tuple(Tick(x(number), str(number)) for number in ticks or _some(numbers)),
        tuple(Tick(y(at), mark(at)) for at in chosen),
        tuple(
            series(name, values, room if whiskers and k == 0 else [0.0] * len(numbers))
            for k, (name, values) in enumerate(kept)
        ),
        tuple(x(n) if first <= n <= last else math.nan for n in asked),
    )  # fmt: skip


def _some(numbers: Sequence[int], most: int = 9) -> list[int]:
    """At most `most` of them, evenly apart, the first among them."""
    return list(numbers[:: math.ceil(len(numbers) / most)])


def error_bars(
    errors: ErrorHistogram, pixels: int, width: float = 460, height: float = 230
) -> ErrorBars | None:
    """Images by error, each staircase as high as its own fullest bin; None without any."""
    if len(errors.edges) < 2 or not sum(errors.predicted):
        return None
    left, right, top, bottom = 14.0, width - 14, 12.0, height - 30
    last = errors.edges[-1]

    def staircase(counts: Sequence[int]) -> str:
        most = max(counts) or 1
        steps = [f"M{left:.1f} {bottom:.1f}"]
        for count, end in zip(counts, errors.edges[1:], strict=True):
            steps.append(f"V{bottom - (bottom - top) * count / most:.1f}")
            steps.append(f"H{left + (right - left) * end / last:.1f}")
        return "".join([*steps, f"V{bottom:.1f}z"])

    ticks = (Tick(round(left + (right - left) * at / (last * pixels), 1), mark(at))
             for at in marks(0, last * pixels, 6))  # fmt: skip
    return ErrorBars(
        width, height, left, right, bottom,
        staircase(errors.predicted), staircase(errors.fitted), tuple(ticks),
    )  # fmt: skip

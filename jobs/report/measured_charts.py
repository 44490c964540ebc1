"""Response curves and stability as charts: which lines, in which colours, over which axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.report.line_charts import COLOURS, DASHES, LineChart, Series, line_chart
from jobs.report.response_curves import ResponseCurve
from jobs.report.responses import reach
from mining.evaluation.stability import Stability
from schemas.directions import Calibration, DirectionCard

NAN = float("nan")
CALIBRATED = COLOURS * DASHES - 1  # the last style, a grey dotted line


@dataclass(frozen=True)
class Curve:
    """One direction in a chart, and what its calibration says."""

    index: int  # of its card
    name: str
    style: int
    holds: tuple[float, float] | None  # in the attribute's unit
    monotonic: float  # share of identities; NaN where unknown
    error: float  # mean relative miss on identities that it was not fitted to
    identities: int  # 0 where only the calibration tells of the curve


@dataclass(frozen=True)
class AttributeChart:
    """All directions of one attribute."""

    attribute: str
    unit: str
    per: str  # what 1 along the horizontal axis is
    chart: LineChart | None
    curves: tuple[Curve, ...]

    @property
    def faces(self) -> int:
        """The most identities behind one of its curves."""
        return max(curve.identities for curve in self.curves)


def styles(cards: Sequence[DirectionCard]) -> dict[str, int]:
    """Method -> its number, which stands for one colour and one kind of dashes in every chart."""
    return {method: k for k, method in enumerate(dict.fromkeys(card.method for card in cards))}


def curve_of(card: DirectionCard, curves: Mapping[str, ResponseCurve]) -> ResponseCurve | None:
    """As re-scoring left it; else as far as the card's own calibration tells it, without a band."""
    found = curves.get(card.direction_id)
    if found is not None or card.own is None or card.calibration is None:
        return found
    steps, values = _calibrated(card.calibration)
    if len(steps) < 2:
        return None
    return ResponseCurve(
        card.direction_id, card.own.attribute, card.own.unit, steps, values, (), (), 0
    )


def response_charts(
    cards: Sequence[DirectionCard], names: Sequence[str], curves: Sequence[ResponseCurve]
) -> tuple[AttributeChart, ...]:
    """One chart per attribute with every direction that is judged by it, in the cards' order."""
    known = {curve.direction_id: curve for curve in curves}
    numbers = styles(cards)
    groups: dict[str, list[tuple[Curve, Series, str]]] = {}
    scaled = all(math.isfinite(card.sigma) for card in cards)
    for index, (card, name) in enumerate(zip(cards, names, strict=True)):
        curve = curve_of(card, known)
        if curve is not None:
            told = _told(card, index, name, numbers[card.method], curve)
            line = curve_series(card, curve, told.style, scaled)
            groups.setdefault(curve.attribute, []).append((told, line, curve.unit))
    return tuple(
        AttributeChart(
            attribute,
            group[0][2],
            "σ" if scaled else "a step of norm 1",
            line_chart([line for _, line, _ in group], lanes=True, width=520, height=280),
            tuple(told for told, _, _ in group),
        )
        for attribute, group in groups.items()
    )


def curve_series(
    card: DirectionCard, curve: ResponseCurve, style: int, scaled: bool = True
) -> Series:
    """A direction's curve over sigma, or over steps of norm 1, with its calibrated range."""
    scale = reach(card) if scaled else 1.0
    holds = None
    if card.calibration is not None:
        ends = [_step(card.calibration, at) for at in (card.calibration.low, card.calibration.high)]
        if all(math.isfinite(end) for end in ends):
            holds = min(ends) / scale, max(ends) / scale
    steps = tuple(step / scale for step in curve.steps)
    return Series(card.method, style, steps, curve.mean, curve.low, curve.high, holds)


def own_chart(
    card: DirectionCard, curves: Mapping[str, ResponseCurve]
) -> tuple[LineChart | None, bool]:
    """One direction's curve, the calibrated one behind it, and whether there is such a one."""
    curve = curve_of(card, curves)
    if curve is None:
        return None, False
    first = curve_series(card, curve, 0)
    if not (card.calibration and card.calibration.steps and curve.low):
        return line_chart([first], width=320, height=150), False
    scale = reach(card)
    steps = tuple(step / scale for step in card.calibration.steps)
    second = Series("calibrated", CALIBRATED, steps, card.calibration.values)
    return line_chart([first, second], width=320, height=150), True


def _told(card: DirectionCard, index: int, name: str, style: int, curve: ResponseCurve) -> Curve:
    made = card.calibration
    holds = None if made is None else (made.low, made.high)
    monotonic, error = (NAN, NAN) if made is None else (made.monotonic, made.error)
    return Curve(index, name, style, holds, monotonic, error, curve.identities)


def _calibrated(made: Calibration) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The calibration's curve; two points on its line where it has none."""
    if made.steps:
        return made.steps, made.values
    ends = sorted((at * made.step, at) for at in {made.low, 0.0, made.high})
    return tuple(step for step, _ in ends), tuple(at for _, at in ends)


def _step(made: Calibration, change: float) -> float:
    """Steps of norm 1 for a change of the attribute: on the curve, else on the line."""
    if not made.steps:
        return change * made.step
    pairs = list(zip(made.steps, made.values, strict=True))
    found = []
    for (first, before), (second, after) in zip(pairs, pairs[1:], strict=False):
        if min(before, after) <= change <= max(before, after):
            share = (change - before) / (after - before) if after != before else 0.0
            found += [first + share * (second - first), *([second] if after == before else [])]
    return min(found, key=abs, default=change * made.step)  # a flat end is reached at its start


@dataclass(frozen=True)
class StabilityRow:
    """One direction: cosines of halves, and whether anybody measured them."""

    index: int
    name: str
    style: int
    mean: float  # NaN where it was not measured
    low: float
    high: float
    seeds: tuple[float, float, int] | None  # lowest, mean, how many
    reason: str
    bar: tuple[float, float, float]  # low, width, mean in per cent of the track

    @property
    def known(self) -> bool:
        """Whether it was measured."""
        return math.isfinite(self.mean)


def stability_rows(
    cards: Sequence[DirectionCard], names: Sequence[str], measured: Mapping[str, Stability]
) -> tuple[StabilityRow, ...]:
    """One row a card, in order."""
    numbers = styles(cards)
    return tuple(
        _row(card, index, name, numbers[card.method], measured.get(card.direction_id))
        for index, (card, name) in enumerate(zip(cards, names, strict=True))
    )


def _row(
    card: DirectionCard, index: int, name: str, style: int, found: Stability | None
) -> StabilityRow:
    halves = stability_of(card, found)
    seeds, reason = None, ""
    if found is not None:
        reason = found.reason
        if found.seeds:
            mean = sum(found.seeds) / len(found.seeds)
            seeds = min(found.seeds), mean, len(found.seeds)
    places = [100 * max(0.0, min(1.0, at)) if math.isfinite(at) else 0.0 for at in halves]
    mean, low, high = (round(place, 1) for place in places)
    bar = (min(low, high), round(abs(high - low), 1), mean)
    return StabilityRow(index, name, style, *halves, seeds, reason, bar)


def stability_of(card: DirectionCard, found: Stability | None) -> tuple[float, float, float]:
    """Mean, smallest and largest cosine of two halves: the card's, else the run's; NaN if none."""
    if math.isfinite(card.stability) or found is None:
        return card.stability, card.stability_low, card.stability_high
    return found.mean, found.low, found.high


def stability_charts(
    cards: Sequence[DirectionCard], names: Sequence[str], measured: Mapping[str, Stability]
) -> tuple[AttributeChart, ...]:
    """Cosine to the direction of all rows by how many rows were used, per attribute."""
    numbers = styles(cards)
    groups: dict[str, list[tuple[Curve, Series]]] = {}
    for index, (card, name) in enumerate(zip(cards, names, strict=True)):
        found = measured.get(card.direction_id)
        if found is None or len(found.sizes) < 2:
            continue
        style = numbers[card.method]
        rows, cosines = zip(*found.sizes, strict=True)
        told = Curve(index, name, style, None, NAN, NAN, 0)
        line = Series(card.method, style, rows, cosines)
        groups.setdefault(card.attribute, []).append((told, line))
    return tuple(
        AttributeChart(
            attribute,
            "1",
            "rows",
            line_chart([line for _, line in group], logarithmic=True, top=1.02),
            tuple(told for told, _ in group),
        )
        for attribute, group in groups.items()
    )

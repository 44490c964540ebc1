"""What the directions answer, ready to be drawn: bars per direction and the heat map of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.report.numbers import fixed, number
from mining.evaluation.matrix import RescoringMatrix
from schemas.directions import DirectionCard, Response


@dataclass(frozen=True)
class Bar:
    """One attribute's response as a bar around a centre line, in per cent of the track."""

    attribute: str
    own: bool
    text: str
    title: str
    left: float
    width: float
    low: float
    high: float
    positive: bool
    certain: bool  # the interval lies on one side of 0


@dataclass(frozen=True)
class Cell:
    """One cell of the re-scoring matrix."""

    texts: tuple[str, str, str]  # spreads per sigma, spreads per unit step, own unit per unit step
    per_sigma: float  # -1..1 on the colour scale
    per_step: float
    own: bool
    certain: bool
    title: str


@dataclass(frozen=True)
class HeatMap:
    """The re-scoring matrix as the page shows it."""

    columns: tuple[tuple[str, str], ...]  # attribute, unit
    rows: tuple[tuple[int, tuple[Cell, ...]], ...]  # index of the card, its cells
    limits: tuple[float, float]  # spreads at the end of the colour scale, per sigma and per step
    has_sigma: bool


def bars(card: DirectionCard, most: int = 8) -> tuple[Bar, ...]:
    """A direction's strongest responses in population spreads, its own attribute first.

    Per sigma where the card knows it, else per unit step.
    """
    scale = reach(card)
    known = [r for r in card.responses if math.isfinite(r.relative)]
    known.sort(key=lambda r: (r.attribute != card.attribute, -abs(r.relative)))
    known = known[:most]
    ends = [abs(_in_spreads(r, end)) * scale for r in known for end in (r.per_step, r.low, r.high)]
    longest = max((end for end in ends if math.isfinite(end)), default=0.0) or 1.0
    return tuple(_bar(card, response, scale, longest) for response in known)


def _bar(card: DirectionCard, response: Response, scale: float, longest: float) -> Bar:
    def place(value: float) -> float:
        return round(50 + 50 * value / longest, 2)

    value = response.relative * scale
    low = _in_spreads(response, response.low) * scale
    high = _in_spreads(response, response.high) * scale
    known = math.isfinite(low) and math.isfinite(high)
    return Bar(
        attribute=response.attribute,
        own=response.attribute == card.attribute,
        text=fixed(value, 2, sign=True),
        title=_response_title(card, response),
        left=min(50.0, place(value)),
        width=round(abs(place(value) - 50), 2),
        low=place(low) if known else place(value),
        high=place(high) if known else place(value),
        positive=value >= 0,
        certain=is_certain(response),
    )


def reach(card: DirectionCard) -> float:
    """What a unit step is multiplied by: sigma where it is known, else 1."""
    return card.sigma if math.isfinite(card.sigma) else 1.0


def is_certain(response: Response) -> bool:
    """Whether the 95 % interval leaves 0 out; an unknown interval does not."""
    return response.low > 0 or response.high < 0


def _in_spreads(response: Response, value: float) -> float:
    return value / response.spread if response.spread > 0 else math.nan


def _response_title(card: DirectionCard, response: Response) -> str:
    return (
        f"{response.attribute} along {card.attribute} ({card.method}): "
        f"{number(response.per_step)} {plain_unit(response.unit)}per unit step, "
        f"95 % {number(response.low)} to {number(response.high)}; "
        f"{number(response.relative)} population spreads"
    )


def plain_unit(unit: str) -> str:
    """The unit with a space behind it, nothing for a plain number."""
    return "" if unit == "1" else f"{unit} "


def heat_map(cards: Sequence[DirectionCard], matrix: RescoringMatrix) -> HeatMap:
    """Order rows by attribute and put the directions' own attributes first, for the diagonal."""
    owned = list(dict.fromkeys(column for column in matrix.own if column >= 0))
    columns = owned + [k for k in range(len(matrix.attributes)) if k not in owned]
    last = len(columns)
    order = sorted(
        range(len(cards)),
        key=lambda k: columns.index(matrix.own[k]) if matrix.own[k] >= 0 else last,
    )
    sigmas = [card.sigma if math.isfinite(card.sigma) else math.nan for card in cards]
    relative = [[float(value) for value in row] for row in matrix.relative]
    scaled = [[value * sigma for value in row] for row, sigma in zip(relative, sigmas, strict=True)]
    limits = (_limit(scaled), _limit(relative))
    rows = tuple(
        (
            k,
            tuple(
                _cell(cards[k], matrix, k, column, (scaled[k][column], relative[k][column]), limits)
                for column in columns
            ),
        )
        for k in order
    )
    names = tuple((matrix.attributes[k], matrix.units[k]) for k in columns)
    return HeatMap(names, rows, limits, any(math.isfinite(sigma) for sigma in sigmas))


def _cell(
    card: DirectionCard,
    matrix: RescoringMatrix,
    row: int,
    column: int,
    values: tuple[float, float],
    limits: tuple[float, float],
) -> Cell:
    response = card.response(matrix.attributes[column])
    raw = float(matrix.raw[row, column])
    return Cell(
        (fixed(values[0], 2), fixed(values[1], 2), fixed(raw, _decimals(matrix.raw[:, column]))),
        _clip(values[0] / limits[0]),
        _clip(values[1] / limits[1]),
        matrix.own[row] == column,
        response is not None and is_certain(response),
        _response_title(card, response) if response else "not measured",
    )


def _decimals(column: NDArray[np.float64]) -> int:
    """Decimals that give the column's largest value three digits, so that its cells align."""
    largest = max((abs(float(value)) for value in column if math.isfinite(value)), default=1.0)
    return max(0, min(6, 2 - math.floor(math.log10(largest)))) if largest > 0 else 2


def _limit(rows: Sequence[Sequence[float]]) -> float:
    """The end of the colour scale: the largest value, or four times the 90th percentile if less.

    So one direction that moves far does not bleach all others.
    """
    sizes = sorted(abs(value) for row in rows for value in row if math.isfinite(value))
    if not sizes or sizes[-1] == 0:
        return 1.0
    usual = sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))]
    return min(sizes[-1], 4 * usual) if usual > 0 else sizes[-1]


def _clip(value: float) -> float:
    return max(-1.0, min(1.0, value)) if math.isfinite(value) else 0.0

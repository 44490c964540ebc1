"""Render the trade-off of a conditioned direction as one self-contained page."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jobs.conditioning import TradeOff, measured_leak, origins, shares_of
from jobs.report.page import environment
from jobs.report.tiles import Tile
from jobs.report.trade_off_charts import curve_chart
from jobs.versions import code_version
from schemas.directions import DirectionCard

MOST_PARENTS = 12  # that are listed


@dataclass(frozen=True)
class HeldRow:
    """One attribute: what a change of the wanted one by one spread does to it, in spreads."""

    name: str
    plain: float
    expected: float
    measured: float  # NaN where it was not


def render_trade_off(found: TradeOff, measured: DirectionCard | None = None) -> str:
    """The page as HTML; every text in it is escaped, nothing in it is fetched."""
    wishes, point = found.asked.wishes, found.picked
    line = [(abs(each.effect), each.leak) for each in found.curve]
    costs = [(abs(each.effect), each.cost_of(wishes.by)) for each in found.curve]
    spots = [
        ("plain", (found.plain_effect, found.plain_leak)),
        ("picked", (abs(point.effect), point.leak)),
    ]
    if measured is not None:
        effect = abs(measured.effect_relative)
        spots.append(("measured", (effect, _leak(found, measured)[0])))
    return environment().get_template("trade_off.html.j2").render(
        found=found,
        measured=measured,
        code_version=code_version(),
        tiles=_tiles(found, measured),
        leak=curve_chart(line, spots, wishes.leak),
        cost=curve_chart(
            costs, [("picked", (abs(point.effect), point.cost_of(wishes.by)))],
            wishes.identity_budget,
        ),
        rows=held_rows(found, measured),
        parents=_parents(found),
        by=spreads_of(wishes.by),
    )  # fmt: skip


def spreads_of(by: float) -> str:
    """So many population spreads, in words."""
    return "1 spread" if by == 1 else f"{by:g} spreads"


def held_rows(found: TradeOff, measured: DirectionCard | None) -> list[HeldRow]:
    """The held attributes per spread of the changed one."""
    responses = found.candidates.measured.responses
    first = found.candidates.cards.index(found.plain)
    plain = responses[first, 1:] / responses[first, 0]
    expected = found.picked.held / found.picked.effect
    return [
        HeldRow(name, float(plain[k]), float(expected[k]), _measured(measured, name))
        for k, name in enumerate(found.held)
    ]


def _measured(card: DirectionCard | None, name: str) -> float:
    response = card.response(name) if card else None
    if card is None or response is None or not card.effect_relative:
        return math.nan
    return response.relative / card.effect_relative


def _leak(found: TradeOff, card: DirectionCard) -> tuple[float, float]:
    """The leak over the effect as measured, and without what noise explains of it."""
    leak, effect = measured_leak(card, found.held), abs(card.effect_relative)
    return (leak.raw / effect, leak.size / effect) if effect else (math.nan, math.nan)


def _tiles(found: TradeOff, measured: DirectionCard | None) -> list[Tile]:
    point, wishes = found.picked, found.asked.wishes
    tiles = [
        Tile(
            f"{abs(point.effect) / found.strongest:.0%}", "effect kept", "of the strongest per step"
        ),
        Tile(f"{point.leak:.3f}", "expected leak", f"{found.plain_leak:.3f} unconditioned"),
    ]
    if math.isfinite(point.cost):
        cost = point.cost_of(wishes.by)
        tiles.append(Tile(f"{cost:.2f}", "expected identity cost", f"for {spreads_of(wishes.by)}"))
    if measured is not None:
        leak, left = _leak(found, measured)
        note = f"on identities of its own; {left:.3f} beyond their noise"
        tiles.append(Tile(f"{leak:.3f}", "measured leak", note))
    return tiles


def _parents(found: TradeOff) -> list[tuple[str, str, float]]:
    """Name, id and share of the catalogue's directions that weigh most."""
    names: dict[str, str] = {}
    for card, name in zip(found.candidates.cards, found.candidates.names, strict=True):
        for key in origins(card):
            names.setdefault(key, name)
    weightiest = list(shares_of(found).items())[:MOST_PARENTS]
    return [(names[key], key, share) for key, share in weightiest]

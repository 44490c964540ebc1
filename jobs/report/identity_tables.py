"""What edits cost in identity, method by method, next to the micromotion paper's Table 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.report.multiples import strongest_of
from mining.evaluation.paper_tables import COUNTERPARTS, IDENTITY, paper_order
from schemas.directions import DirectionCard

Change = tuple[float, float, float]  # mean change of the cosine, low, high


@dataclass(frozen=True)
class Ours:
    """One method of this run."""

    method: str
    counterpart: str  # of the paper; "" where it has none
    changes: tuple[Change | None, ...]  # one a column; None where it has no such direction
    mean: float  # over the attributes that it has


@dataclass(frozen=True)
class IdentityTables:
    """This run's changes, the paper's, and who changes identity least in both."""

    columns: tuple[str, ...]  # this run's attributes, those that the paper has too first
    shared: tuple[str, ...]
    ours: tuple[Ours, ...]  # the least mean first
    their_columns: tuple[str, ...]
    theirs: tuple[tuple[str, tuple[float, ...], float], ...]  # method, a column each, mean
    orders: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]  # attribute, ours, theirs


def identity_tables(
    cards: Sequence[DirectionCard], identity: Mapping[str, Change]
) -> IdentityTables | None:
    """None where no direction's change of identity was measured.

    Of a method's several directions of one attribute the one that moves it most is taken.
    """
    known = [card for card in cards if _finite(identity.get(card.direction_id))]
    if not known:
        return None
    measured = tuple(dict.fromkeys(card.effect_on or card.attribute for card in known))
    told = tuple(dict.fromkeys(a for cells in IDENTITY.values() for a in cells))
    shared = tuple(a for a in measured if a in told)
    columns = tuple(dict.fromkeys((*shared, *measured)))
    ours = []
    for method in dict.fromkeys(card.method for card in known):
        changes = tuple(_change(known, method, attribute, identity) for attribute in columns)
        means = [change[0] for change in changes if change is not None]
        if means:
            mean = sum(means) / len(means)
            ours.append(Ours(method, COUNTERPARTS.get(method, ""), changes, mean))
    ours.sort(key=lambda one: one.mean)
    theirs = tuple(
        (method, tuple(cells[a] for a in told), sum(cells.values()) / len(cells))
        for method, cells in IDENTITY.items()
    )
    orders = tuple(_order(a, columns.index(a), ours) for a in shared)
    return IdentityTables(columns, shared, tuple(ours), told, theirs, orders)


def _change(
    cards: Sequence[DirectionCard], method: str, attribute: str, identity: Mapping[str, Change]
) -> Change | None:
    card = strongest_of(cards, method, attribute)
    return None if card is None else identity[card.direction_id]


def _order(
    attribute: str, column: int, ours: Sequence[Ours]
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Ours that the paper has a counterpart of, and these counterparts, each the least first."""
    found = [
        (change[0], one.method, one.counterpart)
        for one in ours
        if one.counterpart and (change := one.changes[column]) is not None
    ]
    methods = tuple(method for _, method, _ in sorted(found))
    return attribute, methods, paper_order(attribute, {theirs for _, _, theirs in found})


def _finite(change: Change | None) -> bool:
    return change is not None and math.isfinite(change[0])

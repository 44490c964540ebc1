"""The re-scoring matrix method by method, side by side and on one colour scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.report.responses import Cell, HeatMap, reach
from mining.evaluation.matrix import RescoringMatrix, rescoring_matrix
from schemas.directions import DirectionCard, Response

MOST = 26  # columns; more than these are in the big matrix alone


@dataclass(frozen=True)
class Row:
    """One direction of a method."""

    index: int  # of its card
    label: str
    cells: tuple[Cell, ...]
    strongest: int  # column that an aimless direction moves most; -1 of one with an aim


@dataclass(frozen=True)
class Multiple:
    """One method's part of the matrix."""

    method: str
    rows: tuple[Row, ...]
    diagonality: float  # of its directions alone; NaN where none could be judged
    judged: int


@dataclass(frozen=True)
class Smile:
    """What a method's smile does, as the micromotion paper tells of one of its methods."""

    own: Response
    scale: float  # sigma, or 1 where it is unknown
    age: Response | None  # None where no age was measured
    leak: float


def multiples(
    cards: Sequence[DirectionCard], matrix: RescoringMatrix, heat: HeatMap
) -> tuple[Multiple, ...]:
    """One for every method with a measured direction, in the order of the cards."""
    rows: dict[str, list[Row]] = {card.method: [] for card in cards}
    names = [name for name, _ in heat.columns[:MOST]]
    for index, cells in heat.rows:
        card = cards[index]
        if card.responses:
            moved = card.effect_on if card.aimless else None
            strongest = names.index(moved) if moved in names else -1
            rows[card.method].append(
                Row(index, _label(card, matrix, index), cells[:MOST], strongest)
            )
    found = []
    for method, its in rows.items():
        if its:
            alone = rescoring_matrix([card for card in cards if card.method == method])
            found.append(Multiple(method, tuple(its), alone.diagonality, alone.judged))
    return tuple(found)


def _label(card: DirectionCard, matrix: RescoringMatrix, index: int) -> str:
    """Its attribute, and what else its unique name says."""
    rest = matrix.names[index].removeprefix(f"{card.attribute} · {card.method}")
    return f"{card.attribute}{rest}"


def smiles(cards: Sequence[DirectionCard]) -> dict[str, Smile]:
    """Method -> its direction that moves the smile most; methods without one are left out."""
    found = {}
    for method in dict.fromkeys(card.method for card in cards):
        card = strongest_of(cards, method, "smile")
        if card is not None and card.own is not None:
            found[method] = Smile(card.own, reach(card), card.response("age"), card.leak)
    return found


def strongest_of(
    cards: Sequence[DirectionCard], method: str, attribute: str
) -> DirectionCard | None:
    """A method's direction that moves an attribute most, of those whose own it is."""
    fit = [card for card in cards if card.method == method and card.effect_on == attribute]
    known = [card for card in fit if card.effect_relative == card.effect_relative]
    return max(known, key=lambda card: abs(card.effect_relative), default=None)

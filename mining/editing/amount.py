"""How far an attribute is to move, as people write it: "10deg", "-5..5mm", "2s"."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from schemas.directions import DirectionCard
from schemas.errors import InputError

SYNTAX = "10deg, -5deg, -20deg..20deg, 0.1, 3mm or 1.5s"
LONGEST = 200  # characters
DEGREES = ("deg", "degree", "degrees", "°")
SPREADS = ("s", "spread", "spreads")
_NUMBER = r"[+-]?(?:\d+(?:\.(?!\.)\d*)?|\.\d+)(?:e[+-]?\d+)?"
_UNIT = r"[^\d\s.+-][^\d\s.]{0,39}|"  # a word, or nothing
_AMOUNT = re.compile(
    rf"\s*(?:(?P<first>{_NUMBER})\s*(?P<each>{_UNIT})\s*\.\.\s*)?"
    rf"(?P<value>{_NUMBER})\s*(?P<unit>{_UNIT})\s*",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class Amount:
    """A change of an attribute, or a range of changes."""

    first: float  # where a sweep begins; 0 where none was written
    last: float
    unit: str  # as it was written; "" for the attribute's own

    def ends(self, card: DirectionCard) -> tuple[float, float]:
        """The changes in the unit of a card's attribute.

        Raises:
            InputError: that attribute is counted in another unit, or has no known spread.
        """
        counted = self.unit.lower()
        if counted in SPREADS:
            spread = card.own.spread if card.own else math.nan
            if not (math.isfinite(spread) and spread > 0):
                raise InputError(
                    f"edit: {self} counts spreads, and the spread of {card.attribute!r} was not "
                    f"measured; expected {_unit_words(card.unit)}."
                )
            return self.first * spread, self.last * spread
        known = DEGREES if card.unit.lower() in DEGREES else (card.unit.lower(),)
        if counted and counted not in known:
            raise InputError(
                f"edit: {self} came for {card.attribute!r}, which is counted in "
                f"{_unit_words(card.unit)}; expected that unit, none, or s for spreads."
            )
        return self.first, self.last

    def __str__(self) -> str:
        """As `parse_amount` reads it."""
        last = f"{self.last:.9g}{self.unit}"
        return last if not self.first else f"{self.first:.9g}{self.unit}..{last}"


def parse_amount(text: str) -> Amount:
    """Read a number with its unit, or two of them with two dots between.

    The unit is the attribute's own (deg for degrees), s for its population spreads, or none for
    its own; a range may have it at its end alone.

    Raises:
        InputError: the text is none of this, a number is not finite, or both ends are 0.
    """
    found = _AMOUNT.fullmatch(text[:LONGEST])
    if found is None or len(text) > LONGEST:
        raise InputError(f"edit: {text[:80]!r} cannot be read; expected such as {SYNTAX}.")
    first, last, unit = float(found["first"] or 0.0), float(found["value"]), found["unit"]
    if found["each"] and found["each"].lower() != unit.lower():
        raise InputError(
            f"edit: {text!r} begins in {found['each']} and ends in {unit or 'no unit'}; expected "
            "one unit for both."
        )
    if not math.isfinite(first) or not math.isfinite(last) or first == last:
        raise InputError(f"edit: {text!r} asks for no change that is a number.")
    return Amount(first, last, unit)


def _unit_words(unit: str) -> str:
    return {"1": "plain numbers", "degrees": "degrees (deg)"}.get(unit, unit)

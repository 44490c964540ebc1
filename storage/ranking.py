"""Which direction is the best: the criteria by which `Catalog.best` chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.registry import unknown

MEASUREMENTS = ("truth_cosine", "effect_relative", "sigma", "leak", "identity_cost")
Column = NDArray[np.float64]
Columns = Mapping[str, Column]  # (N,) for each of MEASUREMENTS, NaN where unmeasured


def gain(cards: Columns) -> Column:
    """How far one natural step moves the attribute, penalised by what it drags along.

    gain = |effect_relative| * sigma / (1 + leak): population spreads of the attribute per step of
    one standard deviation of the latents, halved when the other attributes move as much as it
    does. Sigma makes z, w and w+ comparable. An unmeasured sigma or leak counts as 1; an
    unmeasured effect gives NaN.
    """
    sigma = np.where(np.isfinite(cards["sigma"]), cards["sigma"], 1.0)
    leak = np.where(np.isfinite(cards["leak"]), cards["leak"], 1.0)
    return np.abs(cards["effect_relative"]) * sigma / (1 + leak)


def _score(cards: Columns) -> tuple[Column, Column]:
    """Where the truth is known nothing else is asked, and such a card precedes all others."""
    known = ~np.isnan(cards["truth_cosine"])
    return known.astype(np.float64), np.where(known, cards["truth_cosine"], gain(cards))


# each gives keys, the first decides, the largest wins; a card with a NaN key was not measured
CRITERIA: Mapping[str, Callable[[Columns], tuple[Column, ...]]] = {
    "score": _score,
    "truth_cosine": lambda cards: (cards["truth_cosine"],),
    "effect": lambda cards: (np.abs(cards["effect_relative"]),),
    "leak": lambda cards: (-cards["leak"],),
    "identity_cost": lambda cards: (-cards["identity_cost"],),
}


def best_place(cards: Columns, by: str = "score") -> int:
    """The place of the best of the cards by one of CRITERIA; of equals the last one.

    - `score`: largest cosine to the truth where it is known, else largest `gain`.
    - `truth_cosine`: largest; `effect`: largest |effect_relative|.
    - `leak`, `identity_cost`: smallest.

    Raises:
        InputError: no such criterion, or no card was measured for it.
    """
    if by not in CRITERIA:
        raise unknown("criterion", by, CRITERIA)
    keys = CRITERIA[by](cards)
    measured = np.flatnonzero(~np.isnan(keys).any(axis=0))
    if not len(measured):
        raise InputError(
            f"best: none of {len(keys[0])} directions was measured for {by!r}; "
            f"choose another criterion: {', '.join(sorted(CRITERIA))}."
        )
    return int(measured[np.lexsort([key[measured] for key in keys[::-1]])[-1]])


def choose(cards: Sequence[DirectionCard], by: str = "score") -> DirectionCard:
    """The best of the cards, as `best_place`, of those published last."""
    return cards[best_place({name: _column(cards, name) for name in MEASUREMENTS}, by)]


def _column(cards: Sequence[DirectionCard], name: str) -> Column:
    values = [getattr(card, name) for card in cards]
    return np.array([math.nan if value is None else value for value in values], np.float64)

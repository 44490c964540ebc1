"""Which direction is the best: the criteria by which `Catalog.best` chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.registry import unknown


def gain(card: DirectionCard) -> float:
    """How far one natural step moves the attribute, penalised by what it drags along.

    gain = |effect_relative| * sigma / (1 + leak): population spreads of the attribute per step of
    one standard deviation of the latents, halved when the other attributes move as much as it
    does. Sigma makes z, w and w+ comparable. An unmeasured sigma or leak counts as 1; an
    unmeasured effect gives NaN.
    """
    sigma = card.sigma if math.isfinite(card.sigma) else 1.0
    leak = card.leak if math.isfinite(card.leak) else 1.0
    return abs(card.effect_relative) * sigma / (1 + leak)


def _truth(card: DirectionCard) -> float:
    return math.nan if card.truth_cosine is None else card.truth_cosine


Criterion = Callable[[DirectionCard], tuple[float, ...]]

# each gives a key, the largest wins; a card whose key holds NaN was not measured and stands aside
CRITERIA: Mapping[str, Criterion] = {
    # where the truth is known nothing else is asked, and such a card precedes all others
    "score": lambda card: (0.0, gain(card)) if card.truth_cosine is None else (1.0, _truth(card)),
    "truth_cosine": lambda card: (_truth(card),),
    "effect": lambda card: (abs(card.effect_relative),),
    "leak": lambda card: (-card.leak,),
    "identity_cost": lambda card: (-card.identity_cost,),
}


def choose(cards: Sequence[DirectionCard], by: str = "score") -> DirectionCard:
    """The best of the cards by one of CRITERIA; of equals the one published last.

    - `score`: largest cosine to the truth where it is known, else largest `gain`.
    - `truth_cosine`: largest; `effect`: largest |effect_relative|.
    - `leak`, `identity_cost`: smallest.

    Raises:
        InputError: no such criterion, or no card was measured for it.
    """
    if by not in CRITERIA:
        raise unknown("criterion", by, CRITERIA)
    keys = [(CRITERIA[by](card), index) for index, card in enumerate(cards)]
    measured = [key for key in keys if not any(map(math.isnan, key[0]))]
    if not measured:
        raise InputError(
            f"best: none of {len(cards)} directions was measured for {by!r}; "
            f"choose another criterion: {', '.join(sorted(CRITERIA))}."
        )
    return cards[max(measured)[1]]

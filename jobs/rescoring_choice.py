"""The directions of a catalogue that a person asks to have re-scored."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.registry import unknown


def choose(
    cards: Sequence[DirectionCard], attributes: Sequence[str], methods: Sequence[str]
) -> list[DirectionCard]:
    """The directions of these attributes and methods; of all where none is named.

    One that was mined for nothing counts to the attribute that it moves most too.

    Raises:
        InputError: there is no direction, none has such an attribute or method, or none both.
    """
    if not cards:
        raise InputError("rescore: the catalogue holds no direction; mine some first.")
    told = [{card.attribute, card.effect_on} - {None} for card in cards]
    for what, names, known in (
        ("attribute", attributes, {name for some in told for name in some if name}),
        ("method", methods, {card.method for card in cards}),
    ):
        for name in names:
            if name not in known:
                raise unknown(what, name, known)
    found = [
        card
        for card, some in zip(cards, told, strict=True)
        if (not attributes or some & set(attributes)) and (not methods or card.method in methods)
    ]
    if not found:
        raise InputError(
            f"rescore: no direction is of {', '.join(attributes)} and by {', '.join(methods)}."
        )
    return found

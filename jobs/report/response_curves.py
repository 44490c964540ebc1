"""What a direction does to its own attribute, step by step, with the interval over identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mining.evaluation.rescoring import Pair, Rescored, RescoringConfig
from mining.evaluation.response import bootstrap_mean
from schemas.directions import DirectionCard


@dataclass(frozen=True)
class ResponseCurve:
    """The mean change of one attribute along one direction; all sequences are S + 1 long."""

    direction_id: str
    attribute: str  # the own one; of an aimless direction the one that it moves most
    unit: str
    steps: tuple[float, ...]  # of norm 1, ascending; 0 is the unedited image
    mean: tuple[float, ...]  # change from the unedited image; NaN where nothing was measured
    low: tuple[float, ...]  # 95 % bootstrap interval over identities, step by step
    high: tuple[float, ...]
    identities: int  # that were edited


def response_curves(
    cards: Sequence[DirectionCard],
    rescored: Sequence[Rescored],
    pairs: Mapping[str, Pair],
    config: RescoringConfig | None = None,
) -> tuple[ResponseCurve, ...]:
    """One curve a card whose own attribute was measured, in the order of the cards.

    With x_is the attribute of identity i at step s: the mean over i of x_is - x_i0, and the
    percentile bootstrap of that mean. Both are step by step, so a band is not simultaneous.
    Source: Efron (1979), doi:10.1214/aos/1176344552.

    Args:
        rescored: one per card, in order.
        pairs: attribute -> (extractor, column), as the cards were measured with.
    """
    config = config or RescoringConfig()
    both = zip(cards, rescored, strict=True)
    return tuple(
        _curve(card, item, pairs[card.own.attribute], config)
        for card, item in both
        if card.own is not None and card.own.attribute in pairs
    )


def _curve(
    card: DirectionCard, rescored: Rescored, own: Pair, config: RescoringConfig
) -> ResponseCurve:
    values = rescored.column(*own)
    zero = int((rescored.steps == 0).argmax())
    moved = (values - values[:, zero : zero + 1]).T  # (S+1, M)
    ends = [bootstrap_mean(at, config.bootstrap, config.seed) for at in moved]
    mean, low, high = zip(*ends, strict=True)
    attribute = own[1] if card.own is None else card.own.attribute
    unit = rescored.units[rescored.pairs.index(own)]
    steps = tuple(float(step) for step in rescored.steps)
    return ResponseCurve(card.direction_id, attribute, unit, steps, mean, low, high, len(values))

"""How far to step along a card's direction for a wanted change of its attribute."""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.directions import DirectionCard
from schemas.errors import InputError

Array = NDArray[np.float64]


def steps_for(card: DirectionCard, change: ArrayLike) -> Array:
    """Steps of norm 1 that change the card's attribute by so much, in its own unit, on average.

    The inverse of the card's response curve, linear between what was measured; beyond its ends it
    goes on by the card's `step`. Outside the range in which that holds it warns. A card without a
    curve has `step` alone: t = step * change.

    Args:
        change: one number, or (N,).

    Raises:
        InputError: the card has no calibration, or one that is none.
    """
    values, steps, per_unit = _curve(card)
    wanted = np.asarray(change, np.float64)
    _warn_beyond(card, wanted)
    beyond = wanted - np.clip(wanted, values[0], values[-1])
    return np.interp(wanted, values, steps) + per_unit * beyond


def change_after(card: DirectionCard, step: ArrayLike) -> Array:
    """The mean change of the card's attribute after steps of norm 1: `steps_for` turned round.

    Raises:
        InputError: the card has no calibration, or one that is none.
    """
    values, steps, per_unit = _curve(card)
    way = math.copysign(1.0, per_unit)
    ahead, along = way * np.asarray(step, np.float64), way * steps
    beyond = ahead - np.clip(ahead, along[0], along[-1])
    return np.interp(ahead, along, values) + beyond / abs(per_unit)


def _curve(card: DirectionCard) -> tuple[Array, Array, float]:
    """Ascending changes, the nearest step to each, and the steps for one unit beyond them."""
    known, who = card.calibration, f"{card.attribute!r} by {card.method!r}"
    if known is None:
        raise InputError(
            f"apply: {who} ({card.direction_id[:10]}): its calibration was not measured; give the "
            "step in unit 'norm'."
        )
    values, steps = np.array(known.values, np.float64), np.array(known.steps, np.float64)
    numbers = np.array([known.step, known.low, known.high, *values, *steps])
    if not np.isfinite(numbers).all() or not known.step or values.shape != steps.shape:
        raise InputError(
            f"apply: {who} ({card.direction_id[:10]}): {known} is none; another program may have "
            "changed it. Mine the direction again."
        )
    if not len(values):
        return np.zeros(1), np.zeros(1), known.step
    # where the curve is flat, the step nearest to 0: `unique` keeps the first of equals
    order = np.argsort(np.abs(steps), kind="stable")
    values, first = np.unique(values[order], return_index=True)
    return values, steps[order][first], known.step


def _warn_beyond(card: DirectionCard, change: Array) -> None:
    """Warn of changes outside the range in which the calibration was seen to hold."""
    known = card.calibration
    if known is None or not change.size:
        return
    low, high = float(change.min()), float(change.max())
    if low < known.low or high > known.high:
        asked = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        warnings.warn(
            f"apply: {card.attribute!r} by {card.method!r} ({card.direction_id[:10]}): a change of "
            f"{asked} {card.unit} was asked for, its calibration was seen to hold from "
            f"{known.low:.3g} to {known.high:.3g}; beyond that the step and the image may be off.",
            UserWarning,
            stacklevel=4,
        )

"""Edits by an amount: an attribute moved by so many degrees, measured and corrected."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.editing_images import Edited, Look, check_pixels, images_along, images_of_latents
from jobs.editing_latents import Given
from jobs.editing_run import BATCH, Studio
from jobs.editing_words import amount_text, finite, landing_text
from mining.editing.apply import apply_card
from mining.editing.landing import LandingConfig, land
from mining.editing.steps import steps_for
from mining.generators.base import Floats
from schemas.directions import DirectionCard
from schemas.errors import InputError

Array = NDArray[np.float64]

ROUNDS = LandingConfig.rounds  # measurements of an end, unless asked
MISSED = 0.15  # |landed - asked| / |asked| that a note tells


@dataclass(frozen=True)
class _Ends:
    """Steps of norm 1 at both ends of R edits, and the changes that were measured there."""

    steps: Array  # (2, R)
    landed: Array  # (2, R), NaN where it was not measured
    average: Array  # (2, R) the same, by the calibration alone


def edit_by(
    studio: Studio,
    given: Given,
    card: DirectionCard,
    ends: tuple[float, float],
    look: Look,
    rounds: int = ROUNDS,
    another_generator: bool = False,
) -> Edited:
    """Move an attribute by an amount in its own unit, or through a range of amounts.

    The card's calibration says how far to step on average; the images at the ends of the range are
    then measured and their steps corrected, for each latent by itself. Between the ends the
    average curve is followed, stretched as the nearer end is.

    Args:
        card: with a calibration, as `Studio.calibrated` finds it.
        ends: the first and the last change, in the card's unit.
        rounds: measurements of an end; with 0 the calibration alone is followed.

    Raises:
        InputError: as `apply_card`, or an end is not finite.
    """
    if not np.isfinite(ends).all():
        raise InputError(f"edit: changes of {ends[0]} to {ends[1]} came; expected finite numbers.")
    check_pixels(len(given), look)
    wanted = np.linspace(*ends, look.frames)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        average = steps_for(card, wanted)
        _moved(studio, given, card, np.zeros(len(given)), another_generator)  # refused early
    unknown = np.full((2, len(given)), np.nan)
    first = _Ends(np.repeat(average[[0, -1], None], len(given), axis=1), unknown, unknown)
    found, notes = first, []
    if rounds:
        found, notes = _landed(studio, given, card, ends, first, rounds)
    steps = average[:, None] * _stretch(wanted, ends, found.steps / _nonzero(first.steps))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said above
        walk = [_moved(studio, given, card, each, another_generator) for each in steps]
    flat = np.stack(walk).reshape(len(steps), len(given), -1).astype(np.float64)
    images = images_along(studio, "w+", flat, given, look.size)
    alarms = tuple(dict.fromkeys(str(warning.message) for warning in said))
    return Edited(
        images,
        tuple(_captions(card, wanted, found.landed[:, row]) for row in range(len(given))),
        tuple(
            f"{label}: {card.effect_on or card.attribute} by {card.method}, "
            + landing_text(card, ends[1], found.landed[1, row])
            for row, label in enumerate(given.labels)
        ),
        tuple(_record(label, found, steps, row) for row, label in enumerate(given.labels)),
        _about(card, wanted, rounds),
        (flat[0], flat[-1]),
        "w+",
        (*alarms, *notes),
        alarms,
    )


def _landed(
    studio: Studio,
    given: Given,
    card: DirectionCard,
    ends: tuple[float, float],
    first: _Ends,
    rounds: int,
) -> tuple[_Ends, list[str]]:
    """The ends after their corrections, and what to say of them; as they came where none can be."""
    own = card.effect_on or card.attribute
    try:
        column = studio.column_of(own)
    except InputError as error:  # a package, or a model, that is not here
        return first, [f"The edit was not measured, it follows the calibration alone: {error}"]
    if column is None:
        return first, [
            f"{own} is measured by no extractor; the edit follows the calibration alone."
        ]

    def values(steps: Array, rows: NDArray[np.intp]) -> Array:
        parts = np.array_split(np.arange(len(rows)), -(-len(rows) // BATCH))
        return np.concatenate([batch(steps[part], rows[part]) for part in parts])

    def batch(steps: Array, rows: NDArray[np.intp]) -> Array:
        some = given.take(rows)
        latents = _moved(studio, some, card, steps, True).reshape(len(rows), -1).astype(np.float64)
        seen = images_of_latents(studio, "w+", latents, some, studio.seen_size)
        return studio.measured(seen, some)[column]

    everyone = np.arange(len(given))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of another generator: said already
        unedited = values(np.zeros(len(given)), everyone)
        known = np.flatnonzero(np.isfinite(unedited))
        steps, landed, average = first.steps.copy(), first.landed.copy(), first.average.copy()
        longest = max(map(abs, card.calibration.steps), default=0.0) if card.calibration else 0.0
        for end, change in enumerate(ends):
            done = land(
                steps[end, known],
                np.full(len(known), change),
                lambda tried, rows: values(tried, known[rows]) - unedited[known[rows]],
                longest,
                LandingConfig(rounds),
            )
            steps[end, known], landed[end, known] = done.steps, done.changes
            average[end, known] = done.first
    found = _Ends(steps, landed, average)
    return found, _misses(given, card, ends, found)


def _moved(
    studio: Studio, given: Given, card: DirectionCard, steps: Array, another_generator: bool
) -> Floats:
    fingerprint, learned = studio.generator.fingerprint(), studio.learned(card)
    return apply_card(given.w_plus, card, fingerprint, steps, "norm", another_generator, learned)


def _nonzero(steps: Array) -> Array:
    return np.where(steps == 0, 1.0, steps)


def _stretch(wanted: Array, ends: tuple[float, float], factors: Array) -> Array:
    """(C, R) how much longer the average steps become: at each end as landed, linear between.

    Args:
        factors: (2, R), of the first and the last end; that of an end at 0 says nothing.
    """
    if ends[0] * ends[1] <= 0:  # each side of 0 as its own end
        nearer = np.where(wanted * ends[1] > 0, 1, 0)
        return factors[nearer]
    part = (wanted - ends[0]) / (ends[1] - ends[0])
    return factors[0] + part[:, None] * (factors[1] - factors[0])


def _captions(card: DirectionCard, wanted: Array, landed: Array) -> tuple[str, ...]:
    known = np.full(len(wanted), np.nan)
    known[[0, -1]] = landed
    return tuple(
        landing_text(card, asked, found, "\n") if asked else "unedited"
        for asked, found in zip(wanted, known, strict=True)
    )


def _record(label: str, found: _Ends, steps: Array, row: int) -> dict[str, Any]:
    return {
        "latent": label,
        "landed": [finite(change) for change in found.landed[:, row]],
        "landed_at_first": [finite(change) for change in found.average[:, row]],
        "steps": [finite(step) for step in steps[:, row]],
    }


def _about(card: DirectionCard, wanted: Array, rounds: int) -> dict[str, Any]:
    return {
        "direction": card.direction_id,
        "attribute": card.effect_on or card.attribute,
        "method": card.method,
        "space": card.space,
        "unit": card.unit,
        "asked": [float(change) for change in wanted],
        "rounds": rounds,
    }


def _misses(
    given: Given, card: DirectionCard, ends: tuple[float, float], found: _Ends
) -> list[str]:
    """A sentence for each latent that did not get there, or could not be measured."""
    notes = []
    for end, change in enumerate(ends):
        if not change:
            continue
        for label, landed in zip(given.labels, found.landed[end], strict=True):
            asked = amount_text(card, change)
            if np.isnan(landed):
                notes.append(f"{label}: no {card.effect_on} was measured at {asked}.")
            elif abs(landed - change) > MISSED * abs(change):
                notes.append(
                    f"{label} landed at {amount_text(card, landed)} where {asked} was asked for: "
                    "no step came nearer."
                )
    return notes

"""Edits of a run's generator: by codes, along a direction, or from one image to another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.editing_images import (
    Edited,
    Look,
    check_pixels,
    images_along,
)
from jobs.editing_latents import Given
from jobs.editing_run import Studio
from jobs.editing_sources import Source
from jobs.editing_walk import sweep, unasked_weight, walk_to
from jobs.editing_words import (
    change_text,
    code_record,
    far_notes,
    finite,
    step_text,
    values_text,
)
from mining.editing.analytic import CodeEdit, asked_weights
from mining.editing.apply import Unit, apply_card, steps_of_norm
from mining.editing.request import Request
from mining.editing.steps import change_after
from mining.editing.transfer import asked_of, transfer_weights, transferred
from mining.methods.control import ControlModel
from mining.methods.regressor import Regressor
from schemas.directions import DirectionCard
from schemas.errors import InputError

Array = NDArray[np.float64]


def edit_codes(studio: Studio, given: Given, request: Request, look: Look) -> Edited:
    """Move latents until the regressor reads what is asked for, or through a range of it.

    Raises:
        InputError: a code is unknown or out of its range, or the latents do not fit the control
            model; nothing is rendered then.
    """
    control = studio.control()
    start = given.of_space(studio.generator, control.space).astype(np.float64)
    now = control.regressor.predict(start)
    # the regressor's: those of the raw codes hang on a few rows whose camera looks along a mode
    mean, spread = control.regressor.mean, control.regressor.spread
    target, asked = request.target(now, control.shape.names, mean, spread)
    check_pixels(len(given), look)
    weights, names = asked_weights(asked, unasked_weight(look)), control.shape.names
    if request.sweeps:
        first, _ = request.begin.target(now, names, mean, spread)
        edit = sweep(control, start, (first, target), weights, look)
    else:
        edit = walk_to(control, start, target, weights, look)
    codes = [names.index(code) for code in request.codes]
    captions = [
        [values_text(names, codes, q) for q in edit.codes[:, row]] for row in range(len(given))
    ]
    titles = [
        f"{label}: {change_text(names, codes, edit, row)}" for row, label in enumerate(given.labels)
    ]
    about = {"asked": str(request), **_about(control, look)}
    notes = far_notes(names, codes, target, mean, spread)
    return _shown(studio, given, control, edit, asked, look, captions, titles, about, notes)


def transfer_codes(
    studio: Studio,
    control: ControlModel,
    to: Given,
    source: Source,
    parts: Sequence[str],
    look: Look,
) -> Edited:
    """Give latents the pose, the shape ... of a source; its picture is the last column.

    Args:
        control: the studio's.

    Raises:
        InputError: a part is unknown, or the latents do not fit the control model.
    """
    asked = asked_of(parts, len(control.regressor.mean))
    start = to.of_space(studio.generator, control.space).astype(np.float64)
    check_pixels(len(to), replace(look, frames=look.frames + 1))
    target = transferred(control.regressor.predict(start), source.codes, parts)
    weights = transfer_weights(parts, len(asked), unasked_weight(look))
    edit = walk_to(control, start, target, weights, look)
    shares = [_closed(edit, asked_of([part], len(asked)), control.regressor) for part in parts]
    captions = [
        ["\n".join(f"{part} {s[at, row]:.0%}" for part, s in zip(parts, shares, strict=True))
         for at in range(len(edit.codes))]
        for row in range(len(to))
    ]  # fmt: skip
    titles = [f"{label}: {', '.join(parts)} of {source.label}" for label in to.labels]
    about = {
        "parts": list(parts),
        "from": source.label,
        "codes_from": source.codes_from,
        "from_codes": code_record(control.shape.names, source.codes[0]),
        **_about(control, look),
    }
    made = _shown(studio, to, control, edit, asked, look, captions, titles, about, ())
    last = np.repeat(source.picture[None], len(to), axis=0)
    told = tuple((*row, source.label) for row in made.captions)
    return replace(made, images=np.concatenate([made.images, last], axis=1), captions=told)


def edit_along(
    studio: Studio,
    given: Given,
    card: DirectionCard,
    ends: tuple[float, float],
    unit: Unit,
    look: Look,
    another_generator: bool = False,
) -> Edited:
    """Move latents along a direction of the catalogue, in equal steps from one end to the other.

    Raises:
        InputError: as `apply_card`, or an end is not finite.
    """
    if not np.isfinite(ends).all():
        raise InputError(f"edit: steps {ends[0]} to {ends[1]} came; expected finite numbers.")
    check_pixels(len(given), look)
    fingerprint = studio.generator.fingerprint()
    steps, learned = np.linspace(*ends, look.frames), studio.learned(card)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        norms = steps_of_norm("edit", card, steps, unit)
        walk = np.stack(
            [
                apply_card(given.w_plus, card, fingerprint, s, "norm", another_generator, learned)
                for s in norms
            ]
        )
    own = card.own
    moves = [finite(change) for change in _predicted(card, norms)]
    captions = [step_text(card, unit, s, move) for s, move in zip(steps, moves, strict=True)]
    flat = walk.reshape(len(steps), len(given), -1).astype(np.float64)
    images = images_along(studio, "w+", flat, given, look.size)
    about = {
        "direction": card.direction_id,
        "attribute": card.attribute,
        "method": card.method,
        "space": card.space,
        "unit": unit if unit != "attribute" else card.unit,
        "steps": [float(step) for step in steps],
        "predicted_change": moves,
        "predicted_attribute": None if own is None else own.attribute,
        "predicted_unit": None if own is None else own.unit,
    }
    return Edited(
        images,
        tuple(tuple(captions) for _ in given.labels),
        tuple(f"{label}: {card.attribute} by {card.method}" for label in given.labels),
        tuple({"latent": label} for label in given.labels),
        about,
        (flat[0], flat[-1]),
        "w+",
        tuple(dict.fromkeys(str(warning.message) for warning in said)),
    )


def _predicted(card: DirectionCard, norms: Array) -> Array:
    """The change of a card's own attribute after steps of norm 1; NaN where it is not known."""
    if card.calibration is not None and card.calibration.steps:
        return change_after(card, norms)
    return norms * (card.own.per_step if card.own else np.nan)


def _shown(
    studio: Studio,
    given: Given,
    control: ControlModel,
    edit: CodeEdit,
    asked: NDArray[np.bool_],
    look: Look,
    captions: Sequence[Sequence[str]],
    titles: Sequence[str],
    about: dict[str, Any],
    notes: Sequence[str],
) -> Edited:
    names, spread = control.shape.names, control.regressor.spread
    images = images_along(studio, control.space, edit.trajectory, given, look.size)
    points = np.abs(edit.landmarks(control.shape) - edit.landmarks(control.shape)[:1])
    rows = [
        {
            "latent": label,
            "asked": [name for name, wanted in zip(names, asked, strict=True) if wanted],
            "target": code_record(names, edit.target[row]),
            "codes": [code_record(names, q) for q in edit.codes[:, row]],
            "moved_spreads": {
                name: round(float(moved), 4)
                for name, moved in zip(
                    names, (edit.codes[-1, row] - edit.codes[0, row]) / spread, strict=True
                )
            },
            "landmarks": np.round(edit.landmarks(control.shape)[:, row], 5).tolist(),
            "landmarks_moved": round(float(points[-1, row].mean()), 5),
        }
        for row, label in enumerate(given.labels)
    ]
    return Edited(
        images,
        tuple(map(tuple, captions)),
        tuple(titles),
        tuple(rows),
        about,
        (edit.trajectory[0], edit.latents),
        control.space,
        tuple(notes),
    )


def _about(control: ControlModel, look: Look) -> dict[str, Any]:
    return {
        "method": look.method,
        "hold": "identity" if look.hold_identity else None,
        "space": control.space,
        "units": "angles in degrees, t_x and t_y and landmarks in fractions of the image",
    }


def _closed(edit: CodeEdit, part: NDArray[np.bool_], regressor: Regressor) -> Array:
    """(steps + 1, N): the share of a part's gap, in spreads, that is closed on the way."""
    gaps = np.linalg.norm((edit.codes - edit.target)[..., part] / regressor.spread[part], axis=2)
    return 1 - gaps / np.maximum(gaps[0], 1e-9)

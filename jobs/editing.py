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
    images_of_latents,
)
from jobs.editing_latents import Given
from jobs.editing_run import Studio
from jobs.editing_words import (
    change_text,
    code_record,
    far_notes,
    finite,
    step_text,
    values_text,
)
from mining.editing.analytic import UNASKED, CodeEdit, asked_weights, edit_to_codes
from mining.editing.apply import Unit, apply_card, steps_of_norm
from mining.editing.request import Request
from mining.editing.transfer import asked_of, transfer_weights, transferred
from mining.methods.control import ControlModel
from mining.methods.regressor import Regressor
from schemas.directions import DirectionCard
from schemas.errors import InputError

Array = NDArray[np.float64]

STEPS = 8  # of an analytic edit, at least
GRADIENT_UNASKED = 0.01  # weight of codes not asked for: they are paid for by those that are


def edit_codes(studio: Studio, given: Given, request: Request, look: Look) -> Edited:
    """Move latents until the regressor reads what is asked for.

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
    edit = _walk(control, start, target, asked_weights(asked, _unasked(look)), look)
    names = control.shape.names
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
    to: Given,
    source: Given,
    parts: Sequence[str],
    look: Look,
    measured: bool = False,
) -> Edited:
    """Give latents the pose, the shape ... of another one; its image is the last column.

    Args:
        source: one latent.
        measured: the source's codes are fitted to the landmarks that the run's extractors find in
            its image, equation (11), in place of being read off its latent.

    Raises:
        InputError: a part is unknown, the latents do not fit the control model, or no face is
            found in the source's image.
    """
    control = studio.control()
    asked = asked_of(parts, len(control.regressor.mean))
    start, other = (
        one.of_space(studio.generator, control.space).astype(np.float64) for one in (to, source)
    )
    check_pixels(len(to), replace(look, frames=look.frames + 1))
    seen = images_of_latents(studio, control.space, other, source, studio.seen_size)
    q_from = (
        control.shape.fit(studio.landmarks(seen, control.shape.mean_shape.shape[1]))
        if measured
        else control.regressor.predict(other)
    )
    target = transferred(control.regressor.predict(start), q_from, parts)
    weights = transfer_weights(parts, len(asked), _unasked(look))
    edit = _walk(control, start, target, weights, look)
    shares = [_closed(edit, asked_of([part], len(asked)), control.regressor) for part in parts]
    captions = [
        ["\n".join(f"{part} {s[at, row]:.0%}" for part, s in zip(parts, shares, strict=True))
         for at in range(len(edit.codes))]
        for row in range(len(to))
    ]  # fmt: skip
    titles = [f"{label}: {', '.join(parts)} of {source.labels[0]}" for label in to.labels]
    about = {
        "parts": list(parts),
        "from": source.labels[0],
        "codes_from": "landmarks" if measured else "regressor",
        "from_codes": code_record(control.shape.names, q_from[0]),
        **_about(control, look),
    }
    made = _shown(studio, to, control, edit, asked, look, captions, titles, about, ())
    last = images_of_latents(studio, control.space, other, source, look.size)
    images = np.concatenate([made.images, np.repeat(last[None], len(to), axis=0)], axis=1)
    told = tuple((*row, source.labels[0]) for row in made.captions)
    return replace(made, images=images, captions=told)


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
    fingerprint = studio.generator.fingerprint()
    steps = np.linspace(*ends, look.frames)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        walk = np.stack(
            [apply_card(given.w_plus, card, fingerprint, s, unit, another_generator) for s in steps]
        )
    check_pixels(len(given), look)
    own, per_unit = card.own, steps_of_norm("edit", card, unit)
    moved = np.full(len(steps), np.nan) if own is None else own.per_step * per_unit * steps
    moves = [finite(change) for change in moved]
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


def _walk(
    control: ControlModel, start: Array, target: Array, weights: Array, look: Look
) -> CodeEdit:
    """An edit of which exactly `look.frames` points are kept, evenly spread over its way."""
    steps = (look.frames - 1) * -(-STEPS // (look.frames - 1))
    embedding = control.embedding
    if look.hold_identity and embedding is None:
        raise InputError(
            "edit: --hold identity came, and the control model holds no embedding. Expected a run "
            "with face descriptors, or a control model that was fitted with an embedding."
        )
    held = embedding if look.hold_identity else None
    if look.method == "gradient":
        from mining.editing.gradient import edit_by_gradient
        from mining.editing.terms import EmbeddingTerm

        terms = [] if held is None else [EmbeddingTerm(held)]
        done = edit_by_gradient(control, start, target, terms=terms, weights=weights)
        walk = evenly(done.trajectory, look.frames)
        codes = np.stack([control.regressor.predict(rows) for rows in walk])
        return CodeEdit(walk, codes, done.target)
    edit = edit_to_codes(control.regressor, start, target, steps, weights=weights, hold=held)
    every = steps // (look.frames - 1)
    return CodeEdit(edit.trajectory[::every], edit.codes[::every], edit.target)


def evenly(walk: Array, count: int) -> Array:
    """(S + 1, N, D) -> (count, N, D): points at equal distances along each row's way.

    Descent takes most of the way in its first steps.
    """
    lengths = np.linalg.norm(np.diff(walk, axis=0), axis=2)
    passed = np.concatenate([np.zeros((1, walk.shape[1])), lengths.cumsum(axis=0)])
    found = np.empty((count, *walk.shape[1:]))
    for row, along in enumerate(passed.T):
        places = np.interp(np.linspace(0, along[-1], count), along, np.arange(len(walk)))
        before = np.minimum(places.astype(int), len(walk) - 2)
        share = (places - before)[:, None]
        found[:, row] = (1 - share) * walk[before, row] + share * walk[before + 1, row]
    return found


def _unasked(look: Look) -> float:
    """The weight of codes that nobody asked for."""
    return GRADIENT_UNASKED if look.method == "gradient" else UNASKED


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

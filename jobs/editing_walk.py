"""The latents of an edit, frame by frame: from what they are to what is asked for, or past it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from jobs.editing_images import Look
from mining.editing.analytic import UNASKED, CodeEdit, edit_to_codes
from mining.methods.control import ControlModel
from mining.methods.embedding import Embedding
from schemas.errors import InputError

Array = NDArray[np.float64]

STEPS = 8  # of an analytic edit, at least
GRADIENT_STEPS = 100  # of a gradient edit, at most
# of codes not asked for, where they are paid for by those that are: a gradient has no exact ones
GRADIENT_UNASKED = 0.001
KEPT_BYTES = 2**26  # of the points of a descent that are kept to choose frames from


def unasked_weight(look: Look) -> float:
    """The weight of codes that nobody asked for."""
    return GRADIENT_UNASKED if look.method == "gradient" else UNASKED


def walk_to(
    control: ControlModel, start: Array, target: Array, weights: Array, look: Look
) -> CodeEdit:
    """An edit of which exactly `look.frames` points are kept, evenly spread over its way.

    Args:
        start: (N, D). target: (N, Q). weights: (Q,), as `edit_to_codes` and `edit_by_gradient`.

    Raises:
        InputError: identity is to be held, and the control model holds no embedding.
    """
    held = _held(control, look)
    if look.method == "gradient":
        return _descend(control, start, target, weights, look.frames, held)
    steps = (look.frames - 1) * -(-STEPS // (look.frames - 1))
    edit = edit_to_codes(control.regressor, start, target, steps, weights=weights, hold=held)
    every = steps // (look.frames - 1)
    return CodeEdit(edit.trajectory[::every], edit.codes[::every], edit.target)


def sweep(
    control: ControlModel, start: Array, ends: tuple[Array, Array], weights: Array, look: Look
) -> CodeEdit:
    """The edits of the same latents towards `look.frames` targets, evenly from one to another.

    Each frame is the edit that its target alone asks for, so that a frame is the same in every
    sweep that passes it, and the way to one end does not add to the way to the other.

    Args:
        start: (N, D). ends: (N, Q) targets of the first and of the last frame.

    Raises:
        InputError: as `walk_to`.
    """
    single, frames = replace(look, frames=2), []
    for share in np.linspace(0, 1, look.frames):
        target = (1 - share) * ends[0] + share * ends[1]
        edit = walk_to(control, start, target, weights, single)
        frames.append((edit.latents, edit.codes[-1]))
    walk, codes = (np.stack(parts) for parts in zip(*frames, strict=True))
    return CodeEdit(walk, codes, ends[1])


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


def _descend(
    control: ControlModel,
    start: Array,
    target: Array,
    weights: Array,
    frames: int,
    held: Embedding | None,
) -> CodeEdit:
    """A gradient edit; as many points of its way are looked at as KEPT_BYTES allow."""
    from mining.editing.gradient import GradientConfig, edit_by_gradient
    from mining.editing.terms import EmbeddingTerm

    every = min(GRADIENT_STEPS, 1 + GRADIENT_STEPS * start.nbytes // KEPT_BYTES)
    config = GradientConfig(steps=GRADIENT_STEPS, every=every)
    terms = [] if held is None else [EmbeddingTerm(held)]
    done = edit_by_gradient(control, start, target, config, terms, weights)
    walk = evenly(done.trajectory, frames)
    codes = np.stack([control.regressor.predict(rows) for rows in walk])
    return CodeEdit(walk, codes, done.target)


def _held(control: ControlModel, look: Look) -> Embedding | None:
    """The embedding whose reading is to stay, where that is asked for."""
    if look.hold_identity and control.embedding is None:
        raise InputError(
            "edit: --hold identity came, and the control model holds no embedding. Expected a run "
            "with face descriptors, or a control model that was fitted with an embedding."
        )
    return control.embedding if look.hold_identity else None

"""Edits by a direction matrix: parameters changed by name, or those of another latent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.editing_images import Edited, Look, check_pixels, images_along, images_of_latents
from jobs.editing_latents import Given
from jobs.editing_matrix_words import (
    known_parameters,
    parameter_changes,
    parameter_lines,
    parameter_record,
    range_notes,
    unit_words,
    unknown_parameter,
)
from jobs.editing_run import Studio
from jobs.editing_words import finite
from mining.editing.request import Request
from mining.generators.base import Floats
from mining.methods.direction_matrix import DirectionMatrix
from mining.methods.matrix_file import load_matrix
from schemas.errors import InputError
from storage.files import Store, absolute

Array = NDArray[np.float64]

MATRIX = "results/direction_matrix.safetensors"
SYNTAX = "yaw+=10, yaw=20, yaw=-20..20 or smile+=1.5"
POSE = ("yaw", "pitch", "roll")
PARTS = ("pose", "expression")


def matrix_of_run(studio: Studio, file: str | None) -> DirectionMatrix:
    """The matrix of a file, or the run's own for None.

    Raises:
        InputError: there is none, or it is of another generator.
        CorruptDataError: its file is damaged.
    """
    own = f"{studio.url}/{MATRIX}"
    if file is None and not Store(studio.url).exists(MATRIX):
        raise InputError(
            f"edit: {own} does not exist; a run holds a matrix where `lode mine` was asked for "
            "the method direction_matrix. Expected another run, or --matrix FILE."
        )
    matrix = load_matrix(own if file is None else absolute(file))
    if matrix.fingerprint and not studio.another_generator:
        studio.check_same("the matrix", matrix.generator, matrix.fingerprint)
    return matrix


def edit_matrix(
    studio: Studio, matrix: DirectionMatrix, given: Given, request: Request, look: Look
) -> Edited:
    """Change parameters of latents, in equal steps from what they are, or through a range.

    Raises:
        InputError: there is no such parameter, a change counts spreads, or the latents do not fit.
    """
    check_request(matrix, request)
    now = matrix.parameters(matrix.latents(given.w_plus))
    first = _change(matrix, request.begin, now) if request.sweeps else None
    last = _change(matrix, request, now)
    names = request.codes
    texts = [parameter_changes(matrix, names, change) for change in last]
    texts = [str(request)] * len(given) if request.sweeps else texts
    titles = [f"{label}: {text}" for label, text in zip(given.labels, texts, strict=True)]
    about = {"asked": str(request), **_about(matrix)}
    targets = [now + change for change in (first, last) if change is not None]
    notes = range_notes(matrix, given.labels, names, targets)
    by_name = matrix.by_name()
    return _shown(studio, by_name, given, names, (first, last), look, titles, about, notes)


def transfer_matrix(
    studio: Studio,
    matrix: DirectionMatrix,
    to: Given,
    source: Given,
    parts: Sequence[str],
    look: Look,
) -> Edited:
    """Give latents the pose, the expression, or single parameters of another one, the last column.

    w_r = w_s + A (C w_t - C w_s): what the matrix reads off both latents.

    Args:
        source: one latent.
        parts: "pose", "expression", or names of parameters.

    Raises:
        InputError: a part is unknown or empty, or the latents do not fit.
    """
    names = names_of(matrix, parts)
    check_pixels(len(to), replace(look, frames=look.frames + 1))
    now = matrix.parameters(matrix.latents(to.w_plus))
    theirs = matrix.parameters(matrix.latents(source.w_plus))
    kept = [name in names for name in matrix.names]
    change = np.where(kept, theirs - now, 0.0)
    label = source.labels[0]
    titles = [f"{own}: {', '.join(parts)} of {label}" for own in to.labels]
    about = {
        "parts": list(parts),
        "from": label,
        "from_parameters": parameter_record(matrix, theirs[0]),
        **_about(matrix),
    }
    notes = range_notes(matrix, to.labels, names, [now + change])
    made = _shown(studio, matrix, to, names, (None, change), look, titles, about, notes)
    flat = source.w_plus.reshape(1, -1).astype(np.float64)
    picture = images_of_latents(studio, "w+", flat, source, look.size)
    last = np.repeat(picture[None], len(to), axis=0)
    beside = f"{label}\n{parameter_lines(matrix, names, theirs[0])}"
    return replace(
        made,
        images=np.concatenate([made.images, last], axis=1),
        captions=tuple((*row, beside) for row in made.captions),
        source=(source, flat),
    )


def names_of(matrix: DirectionMatrix, parts: Sequence[str]) -> tuple[str, ...]:
    """The parameters of parts, in the order of the matrix.

    Raises:
        InputError: a part is unknown, has no parameter, or none came.
    """
    if not parts:
        raise InputError(f"edit: no parts came; expected {', '.join(PARTS)} or parameters by name.")
    angles = [name for name in matrix.names if name in POSE]
    members = {"pose": angles, "expression": [n for n in matrix.names if n not in POSE]}
    wanted: set[str] = set()
    for part in parts:
        if part not in members and part not in matrix.names:
            raise unknown_parameter(matrix, part, "part or parameter")
        found = members.get(part, [part])
        if not found:
            raise InputError(f"edit: the matrix has no {part}; it has: {known_parameters(matrix)}.")
        wanted.update(found)
    return tuple(name for name in matrix.names if name in wanted)


def check_request(matrix: DirectionMatrix, request: Request) -> None:
    """InputError, listing what there is, where a matrix cannot make a change."""
    for change in request.changes:
        if change.code not in matrix.names:
            raise unknown_parameter(matrix, change.code, "parameter")
        if change.spreads:
            unit = matrix.units[matrix.names.index(change.code)]
            raise InputError(
                f"edit: {change} counts spreads, which a matrix does not know; expected "
                f"{unit_words(unit)}."
            )


def _change(matrix: DirectionMatrix, request: Request, now: Array) -> Array:
    """(N, K) changes of the parameters, in their units."""
    changes = np.zeros_like(now)
    for change in request.changes:
        place = matrix.names.index(change.code)
        is_now = 0.0 if change.relative else now[:, place]
        changes[:, place] = change.value - is_now
    return changes


def _shown(
    studio: Studio,
    matrix: DirectionMatrix,
    given: Given,
    names: Sequence[str],
    changes: tuple[Array | None, Array],
    look: Look,
    titles: Sequence[str],
    about: dict[str, Any],
    notes: Sequence[str],
) -> Edited:
    """The frames from the first change to the last; for None from the unedited latents."""
    check_pixels(len(given), look)
    first, last = changes
    start = given.w_plus if first is None else _moved(matrix, given, first)
    end = _moved(matrix, given, last).astype(np.float64)
    shares = np.linspace(0, 1, look.frames)[:, None, None, None]
    walk = (1 - shares) * start + shares * end
    read = np.stack([matrix.parameters(matrix.latents(each)) for each in walk])  # (C, N, K)
    flat = walk.reshape(look.frames, len(given), -1)
    images = images_along(studio, "w+", flat, given, look.size)
    began = np.zeros_like(last) if first is None else first
    rows = [
        {
            "latent": label,
            "asked": list(names),
            "changes": [parameter_record(matrix, each[row]) for each in (began, last)],
            "parameters": [parameter_record(matrix, each) for each in read[:, row]],
        }
        for row, label in enumerate(given.labels)
    ]
    captions = [
        tuple(parameter_lines(matrix, names, each) for each in read[:, row])
        for row in range(len(given))
    ]
    alarms = _alarms(studio, matrix)
    return Edited(
        images,
        tuple(captions),
        tuple(titles),
        tuple(rows),
        about,
        (flat[0], flat[-1]),
        "w+",
        (*alarms, *notes),
        alarms,
    )


def _moved(matrix: DirectionMatrix, given: Given, change: Array) -> Floats:
    """The latents after changes (N, K); InputError where those are out of all bounds."""
    with np.errstate(over="ignore", invalid="ignore"):  # told below
        moved = matrix.moved(given.w_plus, change)
    if not np.isfinite(moved).all():
        raise InputError("edit: so large a change leads to latents that are not finite numbers.")
    return moved


def _about(matrix: DirectionMatrix) -> dict[str, Any]:
    """What the record says of the matrix."""
    return {
        "method": matrix.method,
        "mode": matrix.mode,
        "space": matrix.space,
        "layers": list(matrix.layers),
        "units": dict(zip(matrix.names, matrix.units, strict=True)),
        "ranges": {
            name: [finite(matrix.low[k]), finite(matrix.high[k])]
            for k, name in enumerate(matrix.names)
        },
    }


def _alarms(studio: Studio, matrix: DirectionMatrix) -> tuple[str, ...]:
    """A warning where the matrix is tried on a generator that it was not mined from."""
    here = studio.generator.fingerprint()
    if matrix.fingerprint in ("", here):
        return ()
    return (
        f"the matrix was mined from {matrix.generator} ({matrix.fingerprint[:16]}) and is tried on "
        f"{studio.generator.name} ({here[:16]}): it may change something else or nothing.",
    )

"""Frames of one identity: sequences that hang on (seed, number of the sequence) alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mining.generators.base import Animated, Floats, Generator, truncate
from mining.latents import Latents, draw_z, map_drawn
from schemas.errors import InputError, RunError

KEY = 0x5E90  # apart from every shard's random numbers
AT_ONCE = 64  # frames mapped together, the same ones wherever shards end: sums are added alike


def sequence_length(settings: Mapping[str, Any]) -> int:
    """Frames of each identity in a dataset with these settings; 1 where none were asked for."""
    return settings.get("sequences", {}).get("length", 1)


def in_sequences(settings: Mapping[str, Any]) -> bool:
    """Whether a dataset with these settings was sampled in sequences."""
    return sequence_length(settings) > 1


def check_animated(generator: Generator, settings: Mapping[str, Any]) -> None:
    """Refuse sequences of a generator that cannot move a face.

    Raises:
        InputError: it lacks the method, or takes a condition.
    """
    if not in_sequences(settings):
        return
    came = f"dataset.sequences.length {sequence_length(settings)} came; generator"
    if not isinstance(generator, Animated):
        raise InputError(
            f"{came} {generator.name!r} cannot give one face the motion of another. Expected one "
            "with a method animated(w_plus, motion), as in Animated of mining/generators/base.py, "
            "such as head; or length 1."
        )
    if generator.c_dim:
        raise InputError(
            f"{came} {generator.name!r} takes a condition of {generator.c_dim} numbers, and "
            "sequences are drawn without; expected length 1."
        )


def frames(generator: Generator, settings: Mapping[str, Any], rows: range) -> Latents:
    """The latents of rows of a dataset sampled in sequences, wherever its shards begin.

    Raises:
        InputError: as `check_animated`.
        RunError: the generator gives latents of other shapes than it says.
    """
    check_animated(generator, settings)
    length = sequence_length(settings)
    parts = []
    for number in range(rows.start // length, -(-rows.stop // length)):
        first = number * length
        wanted = range(max(rows.start - first, 0), min(rows.stop - first, length))
        parts.append(_of_sequence(generator, settings, number, wanted))
    w_plus = np.concatenate(parts)
    cut = truncate(w_plus, generator.mean_w(), settings["psi"], settings["cutoff"])
    return Latents(np.empty((len(cut), 0), np.float32), cut)


def _of_sequence(
    generator: Generator, settings: Mapping[str, Any], number: int, wanted: range
) -> Floats:
    """(wanted, num_ws, w_dim): some frames of one sequence, before truncation."""
    length, smoothness = sequence_length(settings), settings["sequences"].get("smoothness", 0.0)
    rng = np.random.Generator(
        np.random.Philox(np.random.SeedSequence(settings["seed"], spawn_key=(KEY, number)))
    )
    z = np.asarray(draw_z(generator, settings, 1 + length, rng), np.float32)
    motion = _smooth(z[1:], smoothness)
    first = wanted.start // AT_ONCE * AT_ONCE
    starts = range(first, wanted.stop, AT_ONCE)
    moved = [_moved(generator, z[:1], motion[k : k + AT_ONCE]) for k in starts]
    return np.concatenate(moved)[wanted.start - first : wanted.stop - first]


def _moved(generator: Generator, face: Floats, motion: Floats) -> Floats:
    """(N, num_ws, w_dim) of the z of one face (1, ...) and the z of its motion (N, ...)."""
    assert isinstance(generator, Animated)  # as `check_animated` saw
    w_plus = map_drawn(generator, np.concatenate([face, motion]))
    moving = w_plus[1:]
    moved = generator.animated(np.broadcast_to(w_plus[:1], moving.shape), moving)
    if moved.shape != moving.shape:
        raise RunError(
            f"generator {generator.name!r}: animated gave shape {moved.shape}; expected "
            f"{moving.shape}."
        )
    return moved


def _smooth(z: Floats, smoothness: float) -> Floats:
    """A first-order autoregression whose every frame is as likely as a draw of its own.

    z'_0 = z_0, z'_t = r z'_(t-1) + sqrt(1 - r^2) z_t, for standard normal z.
    """
    keep, new = np.float32(smoothness), np.float32(np.sqrt(1 - smoothness**2))
    result = z.copy()
    for t in range(1, len(z)):
        result[t] = keep * result[t - 1] + new * z[t]
    return result

"""The latents of one shard, from random numbers that hang on (seed, shard) alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mining.generators.base import (
    Batch,
    Conditioned,
    Floats,
    Generator,
    KnownTruth,
    truncate,
)
from schemas.errors import InputError, RunError


@dataclass(frozen=True)
class Latents:
    """What N images are made from."""

    z: Floats  # (N, z_dim), or (N, num_ws, z_dim) where the space is w+; (N, 0) where of no one z
    w_plus: Floats  # (N, num_ws, w_dim), truncated
    condition: Floats | None = None  # (N, c_dim); None where c_dim is 0

    def __getitem__(self, rows: slice) -> Batch:
        return self.w_plus[rows], None if self.condition is None else self.condition[rows]


def shard_rng(seed: int, shard: int) -> np.random.Generator:
    """Random numbers of one shard: a counter-based Philox keyed by (run seed, shard)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, shard])))


def shard_latents(
    generator: Generator, settings: Mapping[str, Any], shard: int, count: int
) -> Latents:
    """The latents of one shard's `count` images; z is drawn first, then the condition.

    Raises:
        InputError: as `check_conditional`.
        RunError: the generator gives latents or conditions of other shapes than it says.
    """
    rng = shard_rng(settings["seed"], shard)
    z = draw_z(generator, settings, count, rng)
    condition = _draw_condition(generator, count, rng)
    w_plus = map_drawn(generator, z, condition)
    cut = truncate(w_plus, generator.mean_w(), settings["psi"], settings["cutoff"])
    return Latents(z, cut, condition)


def draw_z(
    generator: Generator, settings: Mapping[str, Any], count: int, rng: np.random.Generator
) -> Floats:
    """(count, z_dim), or where the space is w+ (count, num_ws, z_dim), from the prior."""
    per_layer = settings["space"] == "w+"
    draws = count * generator.num_ws if per_layer else count
    z = generator.sample_z(draws, rng)
    _check_shape(generator, "sample_z", z, (draws, generator.z_dim))
    return z.reshape(count, generator.num_ws, generator.z_dim) if per_layer else z


def map_drawn(generator: Generator, z: Floats, condition: Floats | None = None) -> Floats:
    """z as `draw_z` gives it to (N, num_ws, w_dim), not truncated."""
    if z.ndim == 3:
        return _map_each(generator, z.reshape(-1, generator.z_dim), condition)
    w = generator.map(z, condition=condition)
    _check_shape(generator, "map", w, (len(z), generator.w_dim))
    w_plus = generator.broadcast(w)
    _check_shape(generator, "broadcast", w_plus, (len(z), generator.num_ws, generator.w_dim))
    return w_plus


def _check_shape(generator: Generator, call: str, found: Floats, shape: tuple[int, ...]) -> None:
    if np.shape(found) != shape:
        raise RunError(
            f"generator {generator.name!r}: {call} gave shape {np.shape(found)}; expected {shape} "
            "by what it says of itself; see mining/generators/base.py."
        )


def check_conditional(generator: Generator) -> None:
    """Refuse a conditional generator that no dataset can be sampled from.

    Raises:
        InputError: it draws no conditions, or its truth hangs on a condition.
    """
    if not generator.c_dim:
        return
    who = f"generator {generator.name!r} takes a condition of {generator.c_dim} numbers"
    if not isinstance(generator, Conditioned):
        raise InputError(
            f"{who} and draws none; expected a method sample_condition(count, rng) as in "
            "Conditioned of mining/generators/base.py."
        )
    if isinstance(generator, KnownTruth):
        raise InputError(f"{who} and knows the truth; expected one of both.")


def _draw_condition(generator: Generator, count: int, rng: np.random.Generator) -> Floats | None:
    check_conditional(generator)
    if not isinstance(generator, Conditioned) or not generator.c_dim:
        return None
    drawn = np.asarray(generator.sample_condition(count, rng), np.float32)
    if drawn.shape != (count, generator.c_dim) or not np.isfinite(drawn).all():
        raise RunError(
            f"generator {generator.name!r} drew conditions {drawn.shape}; expected "
            f"({count}, {generator.c_dim}) finite numbers."
        )
    return drawn


def _map_each(generator: Generator, z: Floats, condition: Floats | None) -> Floats:
    """(N * num_ws, z_dim) -> (N, num_ws, w_dim), one by one; an image has one condition."""
    rows = generator.num_ws
    w = [
        generator.map(
            z[k : k + 1],
            condition=None if condition is None else condition[k // rows : k // rows + 1],
        )
        for k in range(len(z))
    ]
    return np.concatenate(w).reshape(-1, rows, generator.w_dim)

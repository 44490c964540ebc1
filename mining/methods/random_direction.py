"""A direction drawn at random: what any comparison of methods has to beat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import Direction, check_pairs, check_whole, unit_vector
from mining.methods.ridge import fit_ridge

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RandomConfig:
    """Settings of `mine_random`."""

    seed: int = 0

    def __post_init__(self) -> None:
        check_whole("random", 0, seed=self.seed)


def mine_random(latents: Array, scores: Array, config: RandomConfig = RandomConfig()) -> Direction:
    """Draw a direction, and turn it so that the score grows along it.

    u / |u| for u ~ N(0, I) of the seed: uniform on the sphere, and the same for every attribute but
    for its sign, which is that of its slope by ridge. Its cosine to any given direction has a root
    mean square of 1 / sqrt(D) over seeds.
    Source: Muller (1959), doi:10.1145/377939.377946.

    Args:
        latents: (N, D), one row per sample, N >= 3.
        scores: (N,), the attribute in its own unit; they decide the sign alone.

    Returns:
        A direction with `rms_cosine` (1 / sqrt(D)), `flipped` (1 or 0) and `rows` as evidence.

    Raises:
        InputError: shapes disagree, a value is not finite, or scores are constant.
    """
    latents, scores = check_pairs("random", latents, scores, least=3)
    return random_of(fit_ridge(latents, scores).weights, len(scores), config)


def random_of(weights: Array, rows: int, config: RandomConfig = RandomConfig()) -> Direction:
    """As `mine_random`, from the (D,) weights of a ridge fit to so many rows."""
    rng = np.random.default_rng([config.seed, *b"random"])  # of no other draw with this seed
    drawn = rng.normal(size=len(weights))
    vector = unit_vector("random", drawn)
    slope = float(weights @ vector)
    sign = -1.0 if slope < 0 else 1.0
    return Direction(
        method="random",
        vector=sign * vector,
        slope=abs(slope),
        evidence={
            "rms_cosine": 1 / math.sqrt(len(weights)),
            "flipped": float(slope < 0),
            "rows": rows,
        },
    )

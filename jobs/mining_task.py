"""One Ray task of mining: a method on one attribute, or a method that needs none."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from mining.methods.base import Direction
from mining.methods.registry import (
    CODE_METHODS,
    CONTROL_METHODS,
    LATENT_METHODS,
    SCORE_METHODS,
    UNSUPERVISED_METHODS,
    WEIGHT_METHODS,
)
from mining.threads import limit_threads
from schemas.errors import InputError
from schemas.registry import load

if TYPE_CHECKING:
    from jobs.mining_data import MiningData


def mine_one(
    data: MiningData, method: str, attribute: str, config: Any, control: Any
) -> list[Direction]:
    """What a method finds: one direction of the attribute, or all of its own without one.

    Raises:
        InputError: the method refuses its data, or the attribute was measured nowhere.
    """
    limit_threads(1)
    if method in CODE_METHODS:
        found = load("method", method, CODE_METHODS)(control, data.latents, config)
        return [_placed(direction, data) for direction in found]
    if method in LATENT_METHODS:
        return load("method", method, LATENT_METHODS)(data.w, config)
    if method in WEIGHT_METHODS:
        return load("method", method, WEIGHT_METHODS)(data.weights, data.rows, config)
    scores = data.scores[attribute]
    rows = np.isfinite(scores)
    if not rows.any():
        raise unmeasured(f"{attribute} was", len(scores))
    pairs = (data.latents[rows].astype(np.float64), scores[rows])
    if method in SCORE_METHODS:
        direction = load("method", method, SCORE_METHODS)(*pairs, config)
    else:
        direction = load("method", method, CONTROL_METHODS)(control, *pairs, config)
    unit = data.fields[attribute].unit
    return [_placed(dataclasses.replace(direction, attribute=attribute, unit=unit), data)]


def unmeasured(what: str, rows: int) -> InputError:
    """The error for a dataset in which nothing was measured."""
    return InputError(
        f"{what} measured on none of {rows:,} images; see the extractors' statuses. "
        f"{' and '.join(UNSUPERVISED_METHODS)} need no measurements."
    )


def _placed(direction: Direction, data: MiningData) -> Direction:
    """A direction of flat latents in the dataset's space."""
    vector = np.asarray(direction.vector, np.float64).reshape(data.shape)
    return dataclasses.replace(direction, space=data.space, vector=vector)

"""One Ray task of stability: one method and attribute is mined again, of parts of the rows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from mining.evaluation.stability import Rows, Stability, StabilityConfig, measure_stability
from mining.methods.base import Array, Direction
from mining.methods.registry import CONTROL_METHODS, SCORE_METHODS
from mining.threads import limit_threads
from schemas.errors import InputError
from schemas.registry import load

if TYPE_CHECKING:
    from jobs.mining_data import MiningData


def mined_again(
    data: MiningData, direction: Direction, config: Any, plan: StabilityConfig
) -> Stability:
    """One task: the direction's method on parts of the rows.

    Raises:
        InputError: too few rows are measured.
    """
    limit_threads(1)
    scores = data.scores[direction.attribute]
    known = np.isfinite(scores)
    x, y = data.latents[known].astype(np.float64), scores[known]
    mine = load("method", direction.method, SCORE_METHODS)
    seeds = any(field.name == "seed" for field in dataclasses.fields(config))

    def again(rows: Rows, seed: int) -> Array:
        moved = dataclasses.replace(config, seed=config.seed + seed) if seed else config
        return mine(x[rows], y[rows], moved).vector

    return measure_stability(again, direction.vector, x, y, plan, seeds)


def fitted_again(data: MiningData, rows: Rows, nrsfm: Any, regressor: Any) -> tuple[Rows, Any, str]:
    """The control model of some rows of the dataset; or None, and why there is none."""
    from mining.methods.control import fit_control

    limit_threads(1)
    about = {"space": data.space, "latent_shape": data.shape}
    try:
        control = fit_control(data.latents[rows], data.landmarks[rows], nrsfm, regressor, **about)
    except InputError as error:
        return rows, None, str(error)
    return rows, control, ""


def mined_behind(
    data: MiningData,
    direction: Direction,
    config: Any,
    plan: StabilityConfig,
    usable: Rows,
    *fitted: tuple[Rows, Any, str],
) -> Stability:
    """One task: a method behind the control model, each part of the rows with a model of its own.

    Args:
        usable: (N,) the rows of the dataset whose landmarks are measured.
        fitted: as `fitted_again` gives them, for each part of `usable`.

    Raises:
        InputError: too few rows are measured.
    """
    limit_threads(1)
    models = {rows.tobytes(): (control, why) for rows, control, why in fitted}
    mine = load("method", direction.method, CONTROL_METHODS)
    scores = data.scores[direction.attribute]

    def again(part: Rows, seed: int) -> Array:
        rows = usable[part]
        control, why = models[rows.tobytes()]
        if control is None:
            raise InputError(why)
        known = rows[np.isfinite(scores[rows])]
        return mine(control, data.latents[known].astype(np.float64), scores[known], config).vector

    latents = data.latents[usable].astype(np.float64)
    return measure_stability(again, direction.vector, latents, np.zeros(len(usable)), plan)

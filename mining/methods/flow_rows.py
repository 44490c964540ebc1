"""What an attribute flow is trained on: latents and conditions, from the rows of a dataset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import own_order
from mining.methods.flow_config import WHO, FlowConfig
from mining.methods.gcv_ridge import LinearReading, fit_ridge, fit_within
from mining.methods.learned import LearnedRows
from mining.methods.whitening import numbers_of, whitening
from schemas.errors import InputError
from schemas.registry import unknown

Array = NDArray[np.float64]
LEAST = 20  # measured rows


@dataclass(frozen=True)
class FlowRows:
    """Rows in an order that is a function of the rows and the seed, the held-out ones last.

    Latents are centre + spread * x, attributes mean + scale * a.
    """

    names: tuple[str, ...]  # K attributes
    x: NDArray[np.float32]  # (N, D) latents to train on
    conditions: NDArray[np.float32]  # (N, K) theirs
    held_out: int  # of the N rows, the last ones
    reading: LinearReading  # E[a | w], of the latents as they are
    scale: Array  # (K,)
    spread: float
    latents: NDArray[np.float32]  # (N, D) the dataset's own, of the same rows


def flow_rows(rows: LearnedRows, config: FlowConfig) -> FlowRows:
    """The rows whose attributes are all measured, ready to train on.

    Raises:
        InputError: an attribute has no scores, too few rows have them all, or one is constant.
    """
    names = chosen(rows, config)
    scores = np.stack([np.asarray(rows.scores[name], np.float64) for name in names], axis=1)
    used = np.flatnonzero(np.isfinite(scores).all(axis=1))
    if len(used) < LEAST:
        raise InputError(
            f"{WHO}: {len(used)} of {len(rows)} rows have {', '.join(names)} all measured, "
            f"expected at least {LEAST}; leave out the attribute that is seldom measured."
        )
    latents = rows.latents[used]
    order = own_order(latents.astype(np.float64), scores[used])
    order = order[np.random.default_rng((config.seed, len(used))).permutation(len(used))]
    used, latents = used[order], latents[order]
    scores = scores[used]
    constant = [
        name for name, spread in zip(names, np.ptp(scores, axis=0), strict=True) if not spread
    ]
    if constant:
        raise InputError(f"{WHO}: {', '.join(constant)} is the same in all rows; leave it out.")
    reading = _reading(latents, scores, rows, used, config)
    told = reading.read(latents) if config.denoise else scores
    x, spread, balanced = _balanced(latents, reading, config.balance)
    told = balanced if config.balance else told
    scale = told.std(axis=0)
    if not (scale > 0).all():
        blind = [name for name, size in zip(names, scale, strict=True) if not size > 0]
        raise InputError(f"{WHO}: nothing of {', '.join(blind)} can be read from the latents.")
    conditions = ((told - reading.mean) / scale).astype(np.float32)
    held = max(1, round(config.held_out * len(x)))
    return FlowRows(names, x, conditions, held, reading, scale, spread, latents)


def chosen(rows: LearnedRows, config: FlowConfig) -> tuple[str, ...]:
    """The attributes that the flow is conditioned on, in the settings' order or by name."""
    names = config.attributes or tuple(sorted(rows.scores))
    if not names:
        raise InputError(f"{WHO}: the rows have no scores; name attributes that are measured.")
    for name in (*names, *config.layers):
        if name not in rows.scores:
            raise unknown(f"{WHO} attribute", name, rows.scores)
    for name, (_, last) in config.layers.items():
        if name not in names:
            raise unknown(f"{WHO}: layers are given to attribute", name, names)
        if last > rows.num_ws:
            raise InputError(
                f"{WHO}: layers {list(config.layers[name])} of {name!r}; the generator has "
                f"{rows.num_ws} rows of W+."
            )
    return names


def _reading(
    latents: NDArray, scores: Array, rows: LearnedRows, used: NDArray, config: FlowConfig
) -> LinearReading:
    """E[a | w], linear in w."""
    if config.reading == "ridge":
        return fit_ridge(latents, scores)
    if rows.sequences is None:
        raise InputError(
            f"{WHO}: reading is 'within', which needs a dataset of sequences; take 'ridge'."
        )
    return fit_within(latents, scores, rows.sequences[used])


def _balanced(
    latents: NDArray, reading: LinearReading, balance: float
) -> tuple[NDArray[np.float32], float, Array]:
    """Latents (N, D) evened out and divided by their spread, the spread, and their attributes.

    Evened out are deviations times covariance^(-balance/2); their size is then such that the
    attributes spread as far as among the rows themselves.
    """
    first = np.arange(len(latents))
    even = whitening(latents, balance, first)
    x = np.empty(latents.shape, np.float32)
    attributes, own = (np.empty((len(latents), len(reading.mean))) for _ in range(2))
    for part in numbers_of(first):
        deviations = latents[part] - reading.centre
        x[part] = moved = even(deviations)
        attributes[part], own[part] = (rows @ reading.weights.T for rows in (moved, deviations))
    ratio = own.std(axis=0) / np.maximum(attributes.std(axis=0), 1e-300)
    spread = float(np.sqrt((ratio**2).mean()))
    return x, spread, reading.mean + spread * attributes

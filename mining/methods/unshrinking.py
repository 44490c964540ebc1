"""A regressor's outputs stretched: where phi was shrunk to the mean, q moves further than it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOST = 2.0  # no output is stretched further
BEND = 1.345  # robust spreads from the line beyond which a row counts less
SWEEPS = 30


def stretches(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Slope and offset per code that bring a regressor's outputs nearer to their targets.

    A fit that is regularised and stopped early gives E(q | phi) = a phi + b with a > 1: its
    predictions are pulled to the mean, and so an edit that brings phi to a value brings q further.
    The line is fitted to rows that the training has not seen, by Huber's estimator; from the slope
    one standard error is taken, so that what few rows say of a code that is hardly predicted
    counts little, and it is kept within 1 and MOST: nothing is shrunk more. The middle of the
    outputs stays.
    Source: Copas (1983), doi:10.1111/j.2517-6161.1983.tb01258.x, section 2, for the slope of
    new responses on predictions; Huber (1964), doi:10.1214/aoms/1177703732.

    Args:
        outputs, targets: (N, Q), in the same unit per column.

    Returns:
        a (Q,) in [1, MOST] and b (Q,): a outputs + b. 1 and 0 where there are no three rows.
    """
    if len(outputs) < 3:
        return np.ones(outputs.shape[1]), np.zeros(outputs.shape[1])
    weights, floor = np.ones_like(outputs), np.finfo(float).tiny
    slope = error = middle = np.zeros(outputs.shape[1])
    for _ in range(SWEEPS):
        total = weights.sum(axis=0)
        middle, level = ((weights * x).sum(axis=0) / total for x in (outputs, targets))
        across = outputs - middle
        energy = (weights * across**2).sum(axis=0)
        slope = (weights * across * (targets - level)).sum(axis=0) / np.maximum(energy, floor)
        left = targets - level - slope * across
        reach = BEND / 0.6745 * np.median(abs(left), axis=0)
        variance = (weights * left**2).sum(axis=0) / np.maximum(total - 2, floor)
        error = np.sqrt(variance / np.maximum(energy, floor))
        bent = np.where(abs(left) > reach, reach / np.maximum(abs(left), floor), 1.0)
        weights = np.maximum(bent, 1e-6)  # where half the rows lie on the line
    chosen = np.clip(slope - error, 1.0, MOST)
    return chosen, (1 - chosen) * middle

"""InterFaceGAN's conditional boundaries: a direction less what it shares with others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mining.editing.condition import project_out
from mining.methods.base import Direction
from schemas.errors import InputError

Array = NDArray[np.float64]


def conditional(
    direction: Direction, others: Sequence[Direction], weights: Array | None = None
) -> Direction:
    """The direction projected off any number of others, norm 1.

    A step along the result stays on the same side of the others' boundaries, at the same distance;
    what it does to their attributes has to be measured. The order of the others does not matter.
    Source: Shen, Yang, Tang & Zhou (2020), arXiv:2005.09635, section 3.3.

    Args:
        direction: of the attribute to change; others: of those to hold, in the same space.
        weights: the score's gradient in that space, as `fit_ridge` finds it, for the slope; without
            it the slope is NaN.

    Returns:
        The direction with `held`, their number, and `kept`, its cosine to what came, as further
        evidence, and `cosine_NAME` of what came to each other one.

    Raises:
        InputError: spaces, layers or shapes differ, or nothing is left of the direction.
    """
    if not others:
        return direction
    for other in others:
        same = (other.space, other.layers, other.vector.shape)
        if same != (direction.space, direction.layers, direction.vector.shape):
            raise InputError(
                f"conditional: {direction.attribute} {direction.vector.shape} in "
                f"{direction.space} and {other.attribute} {other.vector.shape} in {other.space} "
                "came; expected one space, shape and range of layers."
            )
    flat = direction.vector.ravel()
    normals = np.stack([other.vector.ravel() for other in others])
    left = project_out(flat, normals)
    cosines = {
        f"cosine_{other.attribute}": float(normal @ flat)
        for other, normal in zip(others, normals, strict=True)
    }
    return dataclasses.replace(
        direction,
        vector=left.reshape(direction.vector.shape),
        slope=math.nan if weights is None else float(weights.ravel() @ left),
        evidence={
            **direction.evidence,
            "held": float(len(others)),
            "kept": float(left @ flat),
            **cosines,
        },
    )

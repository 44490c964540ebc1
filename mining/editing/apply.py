"""Apply a direction: W+ plus a step along it."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from mining.generators.base import Floats
from schemas.errors import InputError


def apply_direction(
    w_plus: Floats,
    vector: NDArray,
    step: float | NDArray,
    layers: Sequence[int] = (),
) -> Floats:
    """Move latents along a direction: w_plus + step * vector, on all rows of W+ or on some.

    A vector of W moves every row by the same amount; a vector of W+ moves row l by its own row l.

    Args:
        w_plus: (N, num_ws, D); left as it is.
        vector: (D,) or (num_ws, D).
        step: in the latents' own unit, so 1 is one norm of the vector; one number, or (N,).
        layers: the rows of W+ that move, by number from 0; empty means all.

    Returns:
        A new float32 array of w_plus's shape.

    Raises:
        InputError: the shapes do not fit, a value is not finite, or a layer is not a row of W+.
    """
    w_plus = np.asarray(w_plus, np.float32)
    vector = np.asarray(vector, np.float64)
    if w_plus.ndim != 3 or vector.shape not in (w_plus.shape[2:], w_plus.shape[1:]):
        raise InputError(
            f"apply_direction: latents {w_plus.shape} and a vector {vector.shape} do not fit; "
            "expected (N, num_ws, D) with (D,) or (num_ws, D). Map latents of Z to W+ first."
        )
    rows = w_plus.shape[1]
    outside = [x for x in layers if not isinstance(x, Integral) or not 0 <= int(x) < rows]
    if outside:
        raise InputError(
            f"apply_direction: layers {outside} are outside 0..{rows - 1}; expected whole numbers."
        )
    steps = np.asarray(step, np.float64)
    if steps.shape not in ((), w_plus.shape[:1]):
        raise InputError(
            f"apply_direction: steps {steps.shape} for latents {w_plus.shape}; "
            "expected one number or one for every latent."
        )
    for name, values in (("latents", w_plus), ("vector", vector), ("steps", steps)):
        if not np.isfinite(values).all():
            raise InputError(f"apply_direction: the {name} hold NaN or infinity.")
    moves = np.zeros(rows)
    moves[list(layers) if layers else slice(None)] = 1.0
    moved = w_plus + steps[..., None, None] * moves[:, None] * vector
    return moved.astype(np.float32)

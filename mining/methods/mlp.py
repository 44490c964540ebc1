"""A ReLU network as plain matrices: its outputs, and gradients of them by its input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]


def forward(
    who: str, latents: NDArray, centre: Array, weights: Sequence[Array], biases: Sequence[Array]
) -> tuple[Array, list[Array]]:
    """The outputs (N, Q), and for each hidden layer which units are on, (N, width) of 0 and 1.

    Args:
        latents: (N, D); the centre (D,) is taken off first.
        weights, biases: one (out, in) and one (out,) for each layer.

    Raises:
        InputError: the latents have another width.
    """
    x = np.asarray(latents, np.float64)
    if x.ndim != 2 or x.shape[1] != len(centre):
        raise InputError(f"{who}: latents are {x.shape}, expected (N, {len(centre)}).")
    x, active = x - centre, []
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = np.maximum(x @ weight.T + bias, 0)
        active.append((x > 0).astype(np.float64))
    return x @ weights[-1].T + biases[-1], active


def backward(grads: Array, weights: Sequence[Array], active: Sequence[Array]) -> Array:
    """Gradients by the outputs (..., Q) -> gradients by the latents (..., D).

    Args:
        active: of `forward`, shaped to multiply (..., width).
    """
    grads = grads @ weights[-1]
    for weight, mask in zip(weights[-2::-1], active[::-1], strict=True):
        grads = (grads * mask) @ weight
    return grads

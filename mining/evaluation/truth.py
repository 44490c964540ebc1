"""How near a mined direction comes to the true one, where a generator's truth is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mining.generators.base import Truth
from schemas.errors import InputError


def true_vector(truth: Truth, attribute: str, space: str, num_ws: int) -> NDArray[np.float64]:
    """The true unit direction of one parameter, in the shape that `space` has.

    Returns:
        (D,) for "w"; (num_ws, D) for "w+", zero outside the row that the parameter is read from.

    Raises:
        InputError: the attribute is not a parameter, or the space is neither "w" nor "w+".
    """
    if attribute not in truth.names:
        raise InputError(f"true_vector: {attribute!r} is none of {', '.join(truth.names)}.")
    direction = np.asarray(truth.direction(attribute), np.float64)
    if space == "w":
        return direction
    if space != "w+":
        raise InputError(f"true_vector: the truth is known in w and w+, not in {space!r}.")
    full = np.zeros((num_ws, direction.size))
    full[truth.layers[truth.names.index(attribute)]] = direction
    return full


def truth_cosine(truth: Truth, attribute: str, vector: NDArray, space: str) -> float | None:
    """Cosine between a direction and the true direction of the parameter of the same name.

    In W it is compared with the parameter's direction itself. In W+ it is compared with that
    direction in the one row that the parameter is read from, so what a vector spends on other
    rows counts against it.

    Args:
        vector: (D,) for "w", (num_ws, D) for "w+"; any norm above zero.

    Returns:
        -1..1, or None where no parameter has the attribute's name or the space is "z".

    Raises:
        InputError: the vector's shape is not that of the truth in this space, or it is zero.
    """
    if attribute not in truth.names or space not in ("w", "w+"):
        return None
    vector = np.asarray(vector, np.float64)
    dimensions = truth.directions.shape[1]
    wanted = 1 if space == "w" else 2
    rows = len(vector) if vector.ndim == 2 else 0
    if (
        vector.ndim != wanted
        or vector.shape[-1] != dimensions
        or (wanted == 2 and rows <= max(truth.layers))
    ):
        raise InputError(
            f"truth_cosine: a vector {vector.shape} of space {space!r} came; expected "
            f"{(dimensions,) if wanted == 1 else f'(num_ws, {dimensions})'}."
        )
    norm = float(np.linalg.norm(vector))
    if not np.isfinite(norm) or norm == 0:
        raise InputError(f"truth_cosine: the vector has norm {norm}; it points nowhere.")
    true = true_vector(truth, attribute, space, rows)
    return float(np.vdot(true, vector) / (norm * np.linalg.norm(true)))

"""How far two faces lie apart, by their landmarks and by their descriptors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def normalised_error(found: Array, wanted: Array) -> Array:
    """(N,) NME: mean distance of landmarks over the square root of the wanted ones' box, x 1,000.

    The box is the smallest one about all landmarks. Source: arXiv:2202.00046, section 4.1.

    Args:
        found, wanted: (N, L, 2).
    """
    box = np.prod(wanted.max(axis=1) - wanted.min(axis=1), axis=1)
    size = np.sqrt(np.where(box > 0, box, np.nan))
    return 1000 * np.linalg.norm(found - wanted, axis=2).mean(axis=1) / size


def placed(found: Array, wanted: Array) -> Array:
    """(N, L, 2) landmarks shifted and scaled to lie as near to the wanted ones as they can.

    What a 3-D shape model's pose leaves out, the place and the size of the face, then counts
    nothing: the least squares of scale and shift, no turn.
    """
    centre, own = (points.mean(axis=1, keepdims=True) for points in (wanted, found))
    size = ((found - own) ** 2).sum(axis=(1, 2))
    along = ((found - own) * (wanted - centre)).sum(axis=(1, 2))
    scale = along / np.where(size > 0, size, np.nan)
    return centre + scale[:, None, None] * (found - own)


def cosines(one: Array, other: Array) -> Array:
    """(N,) of rows of descriptors; NaN where there are none."""
    if not one.shape[1]:
        return np.full(len(one), np.nan)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / np.where(lengths > 0, lengths, np.nan)

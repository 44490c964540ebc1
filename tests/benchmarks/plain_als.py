"""The authors' alternation as they run it: plain loops over rows n and modes k.

What their algorithm forms is formed here too: the 2 x L matrix M_n d_k b_k' for each n and k,
afresh in every sweep, and the 2N x 3 matrix of alpha_nk M_n for each k. They run it in PyTorch and
float32. Left out is what the result does not need, such as the residual that they work out twice a
sweep. As the b_k are orthonormal, the other modes drop out, here as there.
Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, equations (3) to (10).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def plain_sweeps(
    left: Any, cameras: Any, basis: Any, sweeps: int = 10, xp: ModuleType = np
) -> tuple[Any, Any]:
    """The d_k (K, 3), unit vectors, and alpha (N, K) after so many sweeps.

    Args:
        left: (N, 2, L) X_n - M_n B_0. cameras: (N, 2, 3). basis: (K, L) orthonormal rows.
        xp: numpy or torch, whose arrays of its own default precision these are.
    """
    rows, count = len(left), len(basis)
    modes = xp.full((count, 3), 3**-0.5)
    alpha = xp.zeros((rows, count))
    flat = left.reshape(2 * rows, -1)
    for _ in range(sweeps):
        for n in range(rows):
            for k in range(count):
                seen = (cameras[n] @ xp.outer(modes[k], basis[k])).ravel()
                alpha[n, k] = (seen @ left[n].ravel()) / (seen @ seen)
        for k in range(count):
            moved = xp.empty((2 * rows, 3))
            for n in range(rows):
                moved[2 * n : 2 * n + 2] = alpha[n, k] * cameras[n]
            found = xp.linalg.pinv(moved) @ (flat @ basis[k])
            length = xp.linalg.norm(found)
            modes[k], alpha[:, k] = found / length, alpha[:, k] * length
    return modes, alpha


def kinder_sweeps(
    left: Array, cameras: Array, basis: Array, sweeps: int = 10
) -> tuple[Array, Array]:
    """The same in NumPy, with all that does not hang on n taken out of the loop over n."""
    rows, count = len(left), len(basis)
    modes = np.full((count, 3), 3**-0.5)
    alpha = np.zeros((rows, count))
    flat, views = left.reshape(2 * rows, -1), left.reshape(rows, -1)
    for _ in range(sweeps):
        bends = [np.outer(d, b) for d, b in zip(modes, basis, strict=True)]
        for n in range(rows):
            for k in range(count):
                seen = (cameras[n] @ bends[k]).ravel()
                alpha[n, k] = (seen @ views[n]) / (seen @ seen)
        for k in range(count):
            moved = (alpha[:, k, None, None] * cameras).reshape(-1, 3)
            found = np.linalg.pinv(moved) @ (flat @ basis[k])
            length = np.linalg.norm(found)
            modes[k], alpha[:, k] = found / length, alpha[:, k] * length
    return modes, alpha

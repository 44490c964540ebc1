"""The affine camera of the shape model: how q = (k, theta, alpha, t) becomes points in an image.

Axes are the image's: x to the right, y down, z away from the viewer (right-handed). Angles are
radians, their signs and order those of the attributes that the geometry extractor measures in
degrees: yaw > 0 turns the face to the image's right, pitch > 0 makes it look up, roll > 0 tilts it
clockwise as the viewer sees it. There (x right, y up, z to the viewer) a head is posed by
Rz(-roll) Rx(-pitch) Ry(yaw); here, with F = diag(1, -1, -1), by F times that times F:
R(theta) = Rz(roll) Rx(-pitch) Ry(-yaw).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CAMERA_NAMES = ("k11", "k12", "k22", "pitch", "yaw", "roll")
SHIFT_NAMES = ("t_x", "t_y")


def component_names(components: int) -> tuple[str, ...]:
    """The names of q's 8 + K numbers, in the paper's order."""
    return (*CAMERA_NAMES, *(f"alpha_{k}" for k in range(components)), *SHIFT_NAMES)


def rotation(theta: Any, xp: ModuleType = np) -> tuple[tuple[Any, Any, Any], ...]:
    """R(theta) = Rz(roll) Rx(-pitch) Ry(-yaw), as three rows of three (N,) entries.

    Args:
        theta: (N, 3) pitch, yaw, roll in radians, an array of `xp`.
        xp: numpy or torch.
    """
    sx, sy, sz = (xp.sin(theta[:, i]) for i in range(3))
    cx, cy, cz = (xp.cos(theta[:, i]) for i in range(3))
    return (
        (cz * cy - sz * sx * sy, -sz * cx, -cz * sy - sz * sx * cy),
        (sz * cy + cz * sx * sy, cz * cx, cz * sx * cy - sz * sy),
        (cx * sy, -sx, cx * cy),
    )


def image_points(
    q: Any, mean_shape: Any, basis: Any, modes: Any, xp: ModuleType = np
) -> tuple[Any, Any]:
    """Equation (2): x and y of R(q) = K [I|0] R(theta) (B_0 + sum_k alpha_k d_k b_k') + t.

    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, equations (2) and (9).

    Args:
        q: (N, 8 + K), an array of `xp`.
        mean_shape: (3, L). basis: (K, L). modes: (K, 3).
        xp: numpy or torch.

    Returns:
        x and y, each (N, L), as fractions of the image.
    """
    alpha = q[:, 6:-2]
    solid = [mean_shape[i] + (alpha * modes[:, i]) @ basis for i in range(3)]
    first, second, _ = rotation(q[:, 3:6], xp)
    along = sum(r[:, None] * s for r, s in zip(first, solid, strict=True))
    down = sum(r[:, None] * s for r, s in zip(second, solid, strict=True))
    x = q[:, 0, None] * along + q[:, 1, None] * down + q[:, -2, None]
    y = q[:, 2, None] * down + q[:, -1, None]
    return x, y


def split_cameras(cameras: Array) -> tuple[Array, Array]:
    """RQ decomposition of every 2x3 camera: M = K [I|0] R with K upper triangular, k11, k22 > 0.

    Args:
        cameras: (N, 2, 3), each of rank 2.

    Returns:
        (N, 3) k11, k12, k22 and (N, 3, 3) rotations.
    """
    top, bottom = cameras[:, 0], cameras[:, 1]
    k22 = np.linalg.norm(bottom, axis=1)
    second = bottom / k22[:, None]
    k12 = np.einsum("ni,ni->n", top, second)
    rest = top - k12[:, None] * second
    k11 = np.linalg.norm(rest, axis=1)
    first = rest / k11[:, None]
    rotations = np.stack([first, second, np.cross(first, second)], axis=1)
    return np.stack([k11, k12, k22], axis=1), rotations


def euler_angles(rotations: Array) -> Array:
    """(N, 3, 3) rotations -> (N, 3) pitch, yaw, roll in radians; pitch lies in [-pi/2, pi/2]."""
    pitch = np.arcsin(np.clip(-rotations[:, 2, 1], -1, 1))
    yaw = np.arctan2(rotations[:, 2, 0], rotations[:, 2, 2])
    roll = np.arctan2(-rotations[:, 0, 1], rotations[:, 1, 1])
    return np.stack([pitch, yaw, roll], axis=1)


def cameras_of(q: Array) -> Array:
    """(N, 8 + K) -> (N, 2, 3): the affine cameras M = K [I|0] R(theta)."""
    first, second, _ = (np.stack(row, axis=1) for row in rotation(q[:, 3:6]))
    top = q[:, 0, None] * first + q[:, 1, None] * second
    return np.stack([top, q[:, 2, None] * second], axis=1)


def mean_rotation(rotations: Array) -> Array:
    """The rotation nearest to the mean of (N, 3, 3) rotations in the Frobenius norm.

    Source: Moakher (2002), doi:10.1137/S0895479801383877, section 3.
    """
    return nearest_rotation(rotations.sum(axis=0))


def orthonormal(cameras: Array) -> Array:
    """(N, 2, 3) the rows [I|0] R of cameras K [I|0] R, K upper triangular; zeros where flat."""
    tiny = np.finfo(float).tiny
    second = cameras[:, 1] / np.maximum(np.linalg.norm(cameras[:, 1:], axis=2), tiny)
    first = cameras[:, 0] - (cameras[:, 0] * second).sum(axis=1, keepdims=True) * second
    first = first / np.maximum(np.linalg.norm(first, axis=1, keepdims=True), tiny)
    return np.stack([first, second], axis=1)


def nearest_rotation(matrix: Array) -> Array:
    """The rotation nearest to a (3, 3) matrix, or to any positive multiple of it."""
    left, _, right = np.linalg.svd(matrix)
    left[:, -1] *= np.sign(np.linalg.det(left @ right))
    return left @ right


def metric_upgrade(cameras: Array) -> tuple[Array, bool]:
    """The 3x3 A for which the cameras M_n A come nearest to scaled orthonormal rows.

    Minimises sum_n (a'Qa - b'Qb)^2 + 4 (a'Qb)^2 over symmetric Q = A A', a and b the rows of M_n,
    with the mean of (a'Qa + b'Qb)/2 fixed at 1. An affine factorisation leaves A free, so angles
    are angles only after this step.
    Source: Tomasi & Kanade (1992), doi:10.1007/BF00129684, with the weak-perspective constraints
    of Poelman & Kanade (1997), doi:10.1109/34.584098.

    Returns:
        A, and whether Q was positive definite; where not, its eigenvalues are raised to 1e-3 of
        the largest, and the depth of the shape is a guess.
    """
    normal, size = upgrade_sums(cameras)
    return upgrade_from(normal, size / len(cameras))


def upgrade_sums(cameras: Array) -> tuple[Array, Array]:
    """What `metric_upgrade` needs of the rows: (6, 6) and (6,), sums over them."""
    a, b = cameras[:, 0], cameras[:, 1]
    rows = np.concatenate([_quadratic(a, a) - _quadratic(b, b), 2 * _quadratic(a, b)])
    return rows.T @ rows, (_quadratic(a, a) + _quadratic(b, b)).sum(axis=0) / 2


def upgrade_from(normal: Array, size: Array) -> tuple[Array, bool]:
    """A, and whether Q was positive definite, from the sums; unit scale over the rows' number.

    Only A's scale hangs on the number of rows; cameras are brought to unit scale later.
    """
    normal = normal + 1e-12 * np.trace(normal) * np.eye(6)
    found = np.linalg.solve(normal, size)
    found /= size @ found
    xx, yy, zz, xy, xz, yz = found
    values, vectors = np.linalg.eigh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    floor = 1e-3 * abs(values).max()
    definite = bool(values.min() >= floor)
    return vectors * np.sqrt(np.maximum(values, floor)), definite


def _quadratic(a: Array, b: Array) -> Array:
    """Coefficients of a'Qb in Q's six numbers (xx, yy, zz, xy, xz, yz), one row per pair."""
    cross = [a[:, i] * b[:, j] + a[:, j] * b[:, i] for i, j in ((0, 1), (0, 2), (1, 2))]
    return np.stack([*(a * b).T, *cross], axis=1)

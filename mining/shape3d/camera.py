"""How a posed shape is seen: one formula for perspective and weak perspective.

A point X = (x, y, z) of the model, turned by R, lands at

    u = (c + s (x', y')) q,   q = 1 / (1 - s z' / f),   (x', y', z') = R X,

in image widths from the image's middle, y up: s is the scale of the plane through the model's
origin in image widths per millimetre, f the focal length in image widths, c where the origin
lands. That is a pinhole camera at the distance f / s; with an infinite f, written as None, q is 1
and the view is weak perspective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Pose:
    """N poses in front of a camera."""

    rotation: Array  # (N, 3, 3) acting on columns (x, y, z): right, up, towards the viewer
    scale: Array  # (N,) image widths per millimetre at the depth of the model's origin
    position: Array  # (N, 2) where the model's origin lands, fractions of the image, y down


def check_focal(who: str, focal: float | None) -> None:
    """Raise InputError unless a camera has this focal length."""
    if focal is not None and not 0.3 <= focal <= 100:
        raise InputError(
            f"{who}: focal {focal!r} came; expected 0.3 to 100 image widths, or none for weak "
            "perspective."
        )


def project(
    shapes: Array, pose: Pose, focal: float | None = None, aspect: float = 1.0
) -> NDArray[np.float64]:
    """Where points of posed shapes land in the image.

    Args:
        shapes: (N, L, 3) millimetres.
        focal: in image widths; None is weak perspective.
        aspect: height over width of the image.

    Returns:
        (N, L, 2) fractions of the image, y down.
    """
    turned = np.einsum("nab,nlb->nla", pose.rotation, np.asarray(shapes, np.float64))
    scale = np.asarray(pose.scale, np.float64)[:, None]
    middle = (np.asarray(pose.position, np.float64) - 0.5) * [1.0, -aspect]
    q = 1 / (1 - scale * turned[..., 2] / focal) if focal is not None else np.ones_like(scale)
    image = (middle[:, None] + scale[..., None] * turned[..., :2]) * q[..., None]
    return 0.5 + image * [1.0, -1.0 / aspect]


def look_at(
    points: Array, focal: float | None, aspect: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The points as a camera sees them that looks at their middle.

    Args:
        points: (N, L, 2) fractions of the image, y down.

    Returns:
        (N, L, 2) image widths from the middle, y up; the turns Q (N, 3, 3) from the given camera
        to that one, the identity for weak perspective; the middles (N, 2) in image widths, y up.
    """
    image = (np.asarray(points, np.float64) - 0.5) * [1.0, -aspect]
    middle = image.mean(axis=1)
    if focal is None:
        turns = np.broadcast_to(np.eye(3), (len(image), 3, 3))
        return image - middle[:, None], turns, middle
    ahead = np.column_stack([middle, np.full(len(image), -focal)])
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    turns = _least_turn(ahead)
    rays = np.concatenate([image, np.full((*image.shape[:2], 1), -focal)], axis=2)
    seen = np.einsum("nab,nlb->nla", turns, rays)
    depth = np.maximum(-seen[..., 2:], 1e-3 * focal)  # what lies beside the camera is far off
    return focal * seen[..., :2] / depth, turns, middle


def _least_turn(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3, 3) the least rotations that turn unit vectors with z < 0 to (0, 0, -1)."""
    x, y, z = direction.T
    k = 1 / (1 - z)  # 1 / (1 + cosine)
    rows = [1 - k * x * x, -k * x * y, x, -k * x * y, 1 - k * y * y, y, -x, -y, -z]
    return np.stack(rows, axis=1).reshape(-1, 3, 3)


def look_back(seen: Pose, turns: Array, middle: Array, focal: float | None, aspect: float) -> Pose:
    """Poses before the camera of `look_at` as poses before the given one.

    Args:
        seen: with `position` in image widths from the middle, y up.
        turns, middle: what `look_at` returned.
    """
    if focal is None:
        return Pose(seen.rotation, seen.scale, 0.5 + (seen.position + middle) * [1, -1 / aspect])
    flat = np.column_stack([seen.position, np.full(len(middle), -focal)])
    place = np.einsum("nba,nb->na", turns, flat / seen.scale[:, None])
    rotation = np.einsum("nba,nbc->nac", turns, seen.rotation)
    scale = -focal / place[:, 2]
    position = 0.5 + place[:, :2] * scale[:, None] * [1, -1 / aspect]
    return Pose(rotation, scale, position)


def euler_angles(rotation: Array) -> NDArray[np.float64]:
    """(N, 3) yaw, pitch, roll in degrees, signs as in `mining.extractors.geometry.POSE`."""
    r = np.asarray(rotation, np.float64)
    yaw = np.arctan2(-r[:, 2, 0], r[:, 2, 2])
    pitch = np.arcsin(np.clip(-r[:, 2, 1], -1, 1))
    roll = np.arctan2(-r[:, 0, 1], r[:, 1, 1])
    return np.degrees(np.stack([yaw, pitch, -roll], axis=1))

"""Cameras as EG3D takes them: 25 numbers, 16 of the camera's pose and 9 of its lens.

The label is a 4x4 camera-to-world matrix [R t; 0 0 0 1] and a 3x3 matrix of intrinsics
[f 0 0.5; 0 f 0.5; 0 0 1] in image widths, both row by row. The camera's axes are OpenCV's: x to
the image's right, y down, z into the scene. The world is the head's own frame: x to the right as
one looks at the face, y up, z out of the face. Lengths are in the volume's unit: the tri-planes of
the FFHQ release span a cube of side 1.

Angles are the face's, as everywhere in this project: yaw > 0 turns it to the image's right,
pitch > 0 makes it look up, roll > 0 tilts it clockwise. A head posed by
H = Rz(-roll) Rx(-pitch) Ry(yaw), in x right, y up, z to the viewer, looks like a head at rest to a
camera with R = H' F, F = diag(1, -1, -1). So yaw > 0 is a camera on the world's -x side, and
pitch > 0 one below the head.

The release's LookAtPoseSampler counts otherwise: its horizontal angle pi/2 + a puts the camera at
x = radius sin(a), where yaw < 0 for a > 0, and its vertical angle pi/2 + b at y = -2 b radius / pi.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.errors import InputError

Floats = NDArray[np.float32]
Array = NDArray[np.float64]
Point = tuple[float, float, float]

LABEL_SIZE = 25
FLIP = np.diag([1.0, -1.0, -1.0])  # F: between OpenCV's axes and (right, up, to the viewer)
ROTATION_ERROR = 1e-3  # of R R' - I, above which a matrix is no rotation

STRICT = {"extra": "forbid"}  # where settings are read into these, other keys are refused


@dataclass(frozen=True)
class Orbit:
    """Where cameras stand and what they look at; the defaults are those of the FFHQ release."""

    __pydantic_config__ = STRICT

    radius: float = 2.7  # from the world's origin to the camera
    pivot: Point = (0.0, 0.0, 0.2)  # the point that is in the image's middle
    focal: float = 4.2647  # focal length in image widths

    def __post_init__(self) -> None:
        if not np.linalg.norm(self.pivot) < self.radius < np.inf:
            raise InputError(
                f"camera: radius {self.radius} and pivot {self.pivot} came; expected a radius "
                "beyond the pivot's distance from the origin."
            )
        if not 0 < self.focal < np.inf:
            raise InputError(f"camera: focal length {self.focal} came; expected more than 0.")


@dataclass(frozen=True)
class PosePrior:
    """Independent normal angles in degrees, clipped at 3 standard deviations.

    The default spreads are near the 0.3 and 0.15 radians that pi-GAN takes for portraits:
    Chan et al. (2021), arXiv:2012.00926, supplement.
    """

    __pydantic_config__ = STRICT

    mean: Point = (0.0, 0.0, 0.0)  # yaw, pitch, roll
    spread: Point = (17.0, 9.0, 0.0)  # standard deviations

    def __post_init__(self) -> None:
        fits = np.isfinite([*self.mean, *self.spread]).all() and min(self.spread) >= 0
        if not fits or abs(self.mean[1]) + 3 * self.spread[1] >= 90:
            raise InputError(
                f"camera: poses with mean {self.mean} and spread {self.spread} came; expected "
                "degrees, spreads of 0 or more, and pitches below 90 within 3 spreads."
            )


FFHQ, PORTRAITS = Orbit(), PosePrior()


def sample_angles(count: int, rng: np.random.Generator, prior: PosePrior = PORTRAITS) -> Array:
    """(count, 3) yaw, pitch and roll in degrees, drawn with `rng`.

    Every row takes three normal numbers: the first rows do not depend on how many follow.
    """
    normal = np.clip(rng.standard_normal((count, 3)), -3, 3)
    return np.asarray(prior.mean) + normal * np.asarray(prior.spread)


def camera_labels(angles: ArrayLike, orbit: Orbit = FFHQ) -> Floats:
    """Cameras that see the face under the given angles and look at the orbit's pivot.

    R = H' F, and t = pivot - s R e_z with s > 0 such that |t| = radius.

    Args:
        angles: (N, 3) or (3,), yaw, pitch and roll in degrees; |pitch| < 90.

    Returns:
        (N, 25) float32.

    Raises:
        InputError: the angles are of another shape, not finite, or a pitch is not below 90.
    """
    rotation = np.swapaxes(_head_rotations(angles), 1, 2) @ FLIP
    radius = np.full(len(rotation), orbit.radius)
    lens = [orbit.focal, 0, 0.5, 0, orbit.focal, 0.5, 0, 0, 1]
    place = _placed(rotation, np.array([[0.0, 0.0, 1.0]]), np.asarray(orbit.pivot), radius)
    return _labels(rotation, place, np.tile(lens, (len(rotation), 1)))


def camera_angles(labels: ArrayLike) -> Array:
    """Yaw, pitch and roll of the face that cameras see, from their rotations alone.

    H = F R' = Rz(-roll) Rx(-pitch) Ry(yaw), taken apart. Where the camera stands does not matter.

    Args:
        labels: (N, 25) or (25,).

    Returns:
        (N, 3) degrees; yaw and roll in [-180, 180], pitch in [-90, 90].

    Raises:
        InputError: a label is not 25 finite numbers, or its matrix holds no rotation.
    """
    rotation, _, _ = _taken_apart(labels)
    head = FLIP @ np.swapaxes(rotation, 1, 2)
    pitch = -np.arcsin(np.clip(head[:, 2, 1], -1, 1))
    yaw = np.arctan2(-head[:, 2, 0], head[:, 2, 2])
    roll = np.arctan2(head[:, 0, 1], head[:, 1, 1])
    return np.rad2deg(np.stack([yaw, pitch, roll], axis=1))


def turned_labels(labels: ArrayLike, angles: ArrayLike, pivot: Point = FFHQ.pivot) -> Floats:
    """Cameras that see the face under other angles, all else as it was.

    The lens stays, the distance from the world's origin stays, and the pivot stays where it is in
    the image: t = pivot - s R q with q the pivot's direction in the camera's own axes.

    Args:
        labels: (N, 25) or (25,).
        angles: (N, 3) or (3,), yaw, pitch and roll in degrees, in place of `camera_angles(labels)`.

    Returns:
        (N, 25) float32.

    Raises:
        InputError: labels or angles are wrong, or a camera is no farther out than the pivot.
    """
    old, place, lens = _taken_apart(labels)
    rotation = np.swapaxes(_head_rotations(angles), 1, 2) @ FLIP
    if len(rotation) not in (1, len(old)):
        raise InputError(f"camera: {len(rotation)} rows of angles for {len(old)} labels came.")
    rotation = np.broadcast_to(rotation, old.shape)
    radius, point = np.linalg.norm(place, axis=1), np.asarray(pivot)
    if (radius <= np.linalg.norm(point)).any():
        raise InputError(
            f"camera: a camera {radius.min():.3g} from the origin came; expected more than the "
            f"{np.linalg.norm(point):.3g} of the pivot {pivot}."
        )
    towards = np.einsum("nji,nj->ni", old, point - place)
    return _labels(rotation, _placed(rotation, towards, point, radius), lens)


def _head_rotations(angles: ArrayLike) -> Array:
    """(N, 3) yaw, pitch, roll in degrees -> (N, 3, 3) H = Rz(-roll) Rx(-pitch) Ry(yaw)."""
    degrees = np.atleast_2d(np.asarray(angles, dtype=np.float64))
    if degrees.ndim != 2 or degrees.shape[1] != 3 or not np.isfinite(degrees).all():
        raise InputError(
            f"camera: angles of shape {np.shape(angles)} came; expected (N, 3) finite numbers: "
            "yaw, pitch and roll in degrees."
        )
    steepest = np.abs(degrees[:, 1]).max(initial=0)
    if steepest >= 90:
        raise InputError(
            f"camera: a pitch of {steepest:.6g} degrees came; expected less than 90, where yaw "
            "and roll become one turn."
        )
    yaw, pitch, roll = np.deg2rad(degrees * [1, -1, -1]).T
    (sy, cy), (sp, cp), (sr, cr) = ((np.sin(a), np.cos(a)) for a in (yaw, pitch, roll))
    rows = [
        [cr * cy - sr * sp * sy, -sr * cp, cr * sy + sr * sp * cy],
        [sr * cy + cr * sp * sy, cr * cp, sr * sy - cr * sp * cy],
        [-cp * sy, sp, cp * cy],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def _placed(rotation: Array, towards: Array, pivot: Array, radius: Array) -> Array:
    """(N, 3) places at a distance from the origin that see the pivot in a direction.

    t = pivot - s d with d = R q, |t| = radius and s > 0.

    Args:
        towards: q, (N, 3) or (1, 3) in the camera's own axes.
    """
    d = np.einsum("nij,nj->ni", rotation, np.broadcast_to(towards, (len(rotation), 3)))
    along, square = d @ pivot, (d * d).sum(axis=1)
    s = (along + np.sqrt(along**2 + square * (radius**2 - pivot @ pivot))) / square
    return pivot - s[:, None] * d


def _labels(rotation: Array, place: Array, lens: Array) -> Floats:
    """(N, 3, 3), (N, 3), (N, 9) -> (N, 25)."""
    pose = np.zeros((len(rotation), 4, 4))
    pose[:, :3, :3], pose[:, :3, 3], pose[:, 3, 3] = rotation, place, 1
    return np.concatenate([pose.reshape(-1, 16), lens], axis=1).astype(np.float32)


def _taken_apart(labels: ArrayLike) -> tuple[Array, Array, Array]:
    """(N, 25) -> rotations (N, 3, 3), places (N, 3) and intrinsics (N, 9), checked."""
    given = np.atleast_2d(np.asarray(labels, dtype=np.float64))
    if given.ndim != 2 or given.shape[1] != LABEL_SIZE or not np.isfinite(given).all():
        raise InputError(
            f"camera: labels of shape {np.shape(labels)} came; expected (N, {LABEL_SIZE}) finite "
            "numbers: a 4x4 camera-to-world matrix and a 3x3 matrix of intrinsics."
        )
    pose = given[:, :16].reshape(-1, 4, 4)
    rotation = pose[:, :3, :3]
    error = np.abs(rotation @ np.swapaxes(rotation, 1, 2) - np.eye(3)).max(axis=(1, 2))
    bad = np.flatnonzero((error > ROTATION_ERROR) | (np.linalg.det(rotation) < 0))
    if len(bad):
        raise InputError(
            f"camera: label {bad[0]} holds no rotation (R R' is off by {error[bad[0]]:.2g}); "
            "expected a rigid camera-to-world matrix."
        )
    return rotation, pose[:, :3, 3], given[:, 16:]

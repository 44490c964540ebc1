"""Pose and projection.

Camera frame: x to the image's right, y up, z towards the viewer, millimetres. A vertex v of the
head's own frame is posed as R (v - PIVOT) + PIVOT + shift, then seen by a pinhole camera at
distance CAMERA_DISTANCE on the z axis. OpenCV's solvePnP uses y down and z away: its rotation is
F R F with F = diag(1, -1, -1).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mining.generators.head.curves import Array

PIVOT = (0.0, -10.0, -75.0)  # the head turns about the top of the spine, mm
CAMERA_DISTANCE = 1100.0  # mm from the camera to the plane z = 0
VIEW_WIDTH = 272.0  # mm across the image in the plane z = 0 at scale 1
LOWERED = -20.0  # mm, so that the hair has room above


def pose_matrix(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) float64 rotation R = Rz(-roll) Rx(-pitch) Ry(yaw), acting on columns (x, y, z).

    Angles are in degrees in the camera frame (x right, y up, z towards the viewer).
    yaw > 0 turns the face to the image's right: the nose, (0, 0, 1), gains x = sin(yaw).
    pitch > 0 makes it look up: the nose gains y = sin(pitch).
    roll > 0 leans the head clockwise in the image: the crown, (0, 1, 0), gains x = sin(roll).
    """
    a, b, c = np.deg2rad([yaw, -pitch, -roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def rotate(points: Array, rotation: np.ndarray, pivot: tuple[float, float, float]) -> Array:
    """(3, ...) points turned about a pivot; elementwise, so no BLAS thread count can matter."""
    x, y, z = (points[i] - pivot[i] for i in range(3))
    rows = [float(r[0]) * x + float(r[1]) * y + float(r[2]) * z for r in rotation]
    return np.stack([row + pivot[i] for i, row in enumerate(rows)])


class Camera:
    """The camera of one image: it knows the pose and the image's size in pixels."""

    def __init__(self, values: Mapping[str, float], size: int) -> None:
        self.size = size
        self.rotation = pose_matrix(values["yaw"], values["pitch"], values["roll"])
        self.shift = (values["shift_x"], values["shift_y"] + LOWERED)
        self.focal = size / VIEW_WIDTH * CAMERA_DISTANCE * values["scale"]
        self.pixels_per_mm = size / VIEW_WIDTH * values["scale"]

    def pose(self, points: Array) -> Array:
        """(3, ...) from the head's own frame to the camera frame."""
        return self.place(rotate(points, self.rotation, PIVOT))

    def place(self, points: Array) -> Array:
        """(3, ...) moved with the head but not turned, as the shoulders are."""
        x, y, z = points
        return np.stack([x + self.shift[0], y + self.shift[1], z])

    def project(self, posed: Array) -> Array:
        """(3, ...) camera frame to pixel x (right), y (down) and depth (mm, larger is nearer)."""
        factor = self.focal / (CAMERA_DISTANCE - posed[2])
        middle = 0.5 * (self.size - 1)
        return np.stack([middle + posed[0] * factor, middle - posed[1] * factor, posed[2]])

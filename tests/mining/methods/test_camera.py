"""The affine camera: angles, decomposition, metric upgrade."""

from __future__ import annotations

import numpy as np
import pytest

from mining.generators.head.camera import pose_matrix
from mining.methods.camera import (
    cameras_of,
    euler_angles,
    image_points,
    mean_rotation,
    metric_upgrade,
    rotation,
    split_cameras,
)


@pytest.fixture
def q(rng):
    codes = np.zeros((50, 8))
    codes[:, :3] = [1.2, 0.1, 0.9] + 0.05 * rng.normal(size=(50, 3))
    codes[:, 3:6] = rng.uniform(-1.2, 1.2, size=(50, 3))
    return codes


def test_cameras_split_back_into_k_and_angles(q):
    k, rotations = split_cameras(cameras_of(q))
    np.testing.assert_allclose(k, q[:, :3], atol=1e-12)
    np.testing.assert_allclose(euler_angles(rotations), q[:, 3:6], atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), 1)


@pytest.mark.parametrize(
    ("angle", "nose"),
    [(0, (0, -1)), (1, (1, 0))],
    ids=["pitch looks up", "yaw turns to the right of the image"],
)
def test_signs_of_angles(angle, nose):
    q = np.array([[1.0, 0, 1, 0, 0, 0, 0, 0]])
    q[0, 3 + angle] = 0.3
    tip = np.array([[0.0], [0.0], [-1.0]])  # towards the viewer
    x, y = image_points(q, tip, np.zeros((0, 1)), np.zeros((0, 3)))
    np.testing.assert_allclose([x[0, 0], y[0, 0]], np.sin(0.3) * np.array(nose), atol=1e-12)


def test_roll_is_clockwise_in_the_image():
    q = np.array([[1.0, 0, 1, 0, 0, 0.3, 0, 0]])
    x, y = image_points(q, np.array([[1.0], [0.0], [0.0]]), np.zeros((0, 1)), np.zeros((0, 3)))
    np.testing.assert_allclose([x[0, 0], y[0, 0]], [np.cos(0.3), np.sin(0.3)])


def test_angles_are_those_of_the_head_generator():
    """Signs and order alike: both turn F R F, F = diag(1, -1, -1), for the same three angles."""
    flip = np.diag([1.0, -1.0, -1.0])
    for yaw, pitch, roll in [(25, 0, 0), (0, 20, 0), (0, 0, 15), (25, 20, -15), (-50, 30, 40)]:
        there = pose_matrix(yaw, pitch, roll)
        here = np.stack(rotation(np.radians([[pitch, yaw, roll]])))[:, :, 0]
        np.testing.assert_allclose(here, flip @ there @ flip, atol=1e-12)


def test_metric_upgrade_undoes_an_affine_distortion(q, rng):
    q[:, 0] = q[:, 2] = 1.0
    q[:, 1] = 0.0
    cameras = cameras_of(q)
    distortion = rng.normal(size=(3, 3))
    upgrade, definite = metric_upgrade(cameras @ distortion)
    assert definite
    mended = cameras @ distortion @ upgrade
    np.testing.assert_allclose(
        mended @ mended.transpose(0, 2, 1), np.tile(np.eye(2), (50, 1, 1)), atol=1e-8
    )


def test_metric_upgrade_says_when_depth_is_a_guess(rng):
    flat = np.zeros((20, 2, 3))
    flat[:, 0, 0] = flat[:, 1, 1] = 1.0  # never turns: depth is not seen
    flat += 1e-9 * rng.normal(size=flat.shape)
    assert not metric_upgrade(flat)[1]


def test_mean_rotation_of_symmetric_turns_is_the_identity():
    theta = np.array([[0.3, 0, 0], [-0.3, 0, 0], [0, 0.4, 0], [0, -0.4, 0]])
    rotations = np.stack([np.stack(row, axis=1) for row in rotation(theta)], axis=1)
    np.testing.assert_allclose(mean_rotation(rotations), np.eye(3), atol=1e-12)

"""Pose and attributes from landmarks whose truth is known, and from a photograph."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from mining.extractors.base import NO_POSE, NOT_MEASURED, OK, Measurement, measure
from mining.extractors.face_template import RIGID, TEMPLATE
from mining.extractors.geometry import ATTRIBUTES, Geometry, euler_angles, head_pose, to_front
from mining.extractors.registry import make_extractors
from mining.generators.head.camera import pose_matrix
from schemas.errors import InputError

FOCAL = 4.26


def seen(points: np.ndarray, angles: tuple[float, float, float], shift=(3.0, 5.0, -1000.0)):
    """The template's points posed and projected, as fractions of a square image."""
    placed = points @ pose_matrix(*angles).T + shift
    return 0.5 + FOCAL * placed[:, :2] * [1, -1] / -placed[:, 2:]


@settings(max_examples=60, deadline=None)
@given(st.floats(-60, 60), st.floats(-40, 40), st.floats(-60, 60))
def test_pose_and_frontal_face_are_exact_on_the_template_itself(yaw, pitch, roll):
    points = seen(TEMPLATE, (yaw, pitch, roll))
    rotation, translation = head_pose(points, FOCAL)
    np.testing.assert_allclose(euler_angles(rotation), (yaw, pitch, roll), atol=1e-3)
    frontal = to_front(points, rotation, translation, FOCAL)
    np.testing.assert_allclose(frontal, TEMPLATE[:, :2], atol=1e-2)  # millimetres


def test_a_wide_image_is_seen_in_its_proportions():
    points = seen(TEMPLATE, (20, 5, -10))
    wide = 0.5 + (points - 0.5) * [0.5, 1.0]  # the same view in an image twice as wide
    rotation, _ = head_pose(wide, FOCAL / 2, aspect=0.5)
    np.testing.assert_allclose(euler_angles(rotation), (20, 5, -10), atol=1e-3)


@pytest.mark.parametrize("focal", [0.5, 1.0, 4.26, 15.0, 50.0, 100.0])
@pytest.mark.parametrize("size", [0.02, 0.06, 0.3])
def test_small_faces_anywhere_and_long_lenses_have_their_pose(rng, focal, size):
    """size: of the face, in image widths; 0.06 is a face of 60 px in 1024."""
    for _ in range(6):
        angles = tuple(rng.uniform([-60, -40, -60], [60, 40, 60]))
        distance = 140 * focal / size
        centre = (0.5 - size / 2) * rng.uniform(-1, 1, 2) * distance / focal
        placed = TEMPLATE @ pose_matrix(*angles).T + [*centre, -distance]
        points = 0.5 + focal * placed[:, :2] * [1, -1] / -placed[:, 2:]
        rotation, translation = head_pose(points, focal)
        np.testing.assert_allclose(euler_angles(rotation), angles, atol=1e-3)
        assert translation[2] == pytest.approx(-distance, rel=1e-4)


def test_the_pose_minimises_the_reprojection_error(rng):
    points = seen(TEMPLATE, (20, 10, -5)) + 0.002 * rng.standard_normal((68, 2))
    rotation, translation = head_pose(points, FOCAL)

    def residuals(step):
        """Of the pose a step away: three angles in radians, three lengths in metres."""
        turned = Rotation.from_rotvec(step[:3]).as_matrix() @ rotation
        placed = TEMPLATE[RIGID] @ turned.T + translation + 1000 * step[3:]
        image = 0.5 + FOCAL * placed[:, :2] * [1, -1] / -placed[:, 2:]
        return 1000 * (image - points[RIGID]).ravel()

    best = least_squares(residuals, np.zeros(6), xtol=1e-12, ftol=1e-12, gtol=1e-12)
    assert (residuals(np.zeros(6)) ** 2).sum() == pytest.approx(2 * best.cost, rel=1e-6)
    np.testing.assert_allclose(best.x, 0, atol=1e-5)


def test_landmarks_without_a_pose_are_rows_with_a_reason():
    points = np.stack([seen(TEMPLATE, (0, 0, 0)), np.full((68, 2), 0.4), np.zeros((68, 2))])
    points = np.concatenate([points, points[:1]])
    points[3, RIGID[0], 0] = np.inf
    source = Measurement((OK, OK, "no_face", OK), {"landmarks": points.astype(np.float32)})
    found = Geometry()(np.zeros((4, 8, 8, 3), np.uint8), {"dlib": source})
    assert found.status == (OK, NO_POSE, NOT_MEASURED, NO_POSE)
    assert found.measured().tolist() == [True, False, False, False]
    for column in found.values.values():
        assert np.isfinite(column).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("attribute", "rows", "move"),
    [
        ("mouth_open", [65, 66, 67, 55, 56, 57, 58, 59], (0, -6)),
        ("smile", [48, 54, 60, 64], (0, 4)),
        ("eye_closed", [37, 38, 43, 44], (0, -5)),
        ("brow_raise", list(range(17, 27)), (0, 4)),
        ("nose_length", [31, 32, 33, 34, 35], (0, -5)),
        ("chin_length", [6, 7, 8, 9, 10], (0, -5)),
    ],
)
def test_each_attribute_grows_with_what_it_is_named_after(attribute, rows, move):
    face = TEMPLATE[:, :2].copy()
    function = ATTRIBUTES[attribute][0]
    before = function(face)
    face[rows] += move
    assert function(face) > before + 2  # millimetres


def test_turning_the_head_moves_no_attribute_of_a_rigid_face():
    for angles in ((25, 0, 0), (0, 15, 0), (0, 0, 20), (-20, -10, 5)):
        points = seen(TEMPLATE, angles)
        rotation, translation = head_pose(points, FOCAL)
        frontal = to_front(points, rotation, translation, FOCAL)
        for name, (function, _, _) in ATTRIBUTES.items():
            assert function(frontal) == pytest.approx(function(TEMPLATE[:, :2]), abs=0.01), name


def test_the_template_is_symmetric_and_its_rigid_points_leave_out_mouth_and_jaw():
    mirrored = TEMPLATE[[*range(16, -1, -1), *range(26, 16, -1)]] * [-1, 1, 1]
    np.testing.assert_array_equal(mirrored, TEMPLATE[:27])
    assert not set(RIGID) & {*range(17), *range(48, 68)}


def test_a_focal_length_that_no_camera_has_is_refused():
    with pytest.raises(InputError, match="focal 0.0 came"):
        Geometry(focal=0.0)


def test_a_real_photograph():
    data = pytest.importorskip("skimage.data")
    chain = make_extractors({"dlib": {"descriptor": True}, "geometry": {}})
    result = measure(chain, data.astronaut()[None])
    assert result["dlib"].measured().all()
    assert result["dlib"].values["faces"][0] >= 1
    left, top, right, bottom = result["dlib"].values["box"][0]
    assert 0.3 < left < right < 0.6 and 0.1 < top < bottom < 0.4
    assert np.linalg.norm(result["dlib"].values["descriptor"][0]) == pytest.approx(1.4, abs=0.3)
    values = {name: column[0] for name, column in result["geometry"].values.items()}
    assert max(abs(values[name]) for name in ("yaw", "pitch", "roll")) < 15  # she faces us
    assert values["smile"] > 10  # and smiles, showing her teeth
    assert values["mouth_open"] > 5

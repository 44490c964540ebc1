"""The tables of the extractor `mediapipe`, its views of an image and its change of camera."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.extractors import mediapipe_points as table


@pytest.mark.needs("mediapipe")
def test_tables_agree_with_those_of_the_package():
    from mediapipe.tasks.python.vision import FaceLandmarksConnections as contours
    from mediapipe.tasks.python.vision.face_landmarker import Blendshapes

    assert [name.upper() for name in table.BLENDSHAPES] == [b.name for b in Blendshapes]
    ends = {
        part: {end for line in getattr(contours, part) for end in (line.start, line.end)}
        for part in (
            "FACE_LANDMARKS_FACE_OVAL",
            "FACE_LANDMARKS_LEFT_EYE",
            "FACE_LANDMARKS_RIGHT_EYE",
            "FACE_LANDMARKS_LEFT_EYEBROW",
            "FACE_LANDMARKS_RIGHT_EYEBROW",
            "FACE_LANDMARKS_LIPS",
        )
    }
    oval, left_eye, right_eye, left_brow, right_brow, lips = ends.values()
    points = [{a, b} for a, b, _ in table.IBUG_PLACES]
    assert len(points) == 68
    for wanted, rows in (
        (oval, range(17)),
        (right_brow, range(17, 22)),  # the face's right is the image's left
        (left_brow, range(22, 27)),
        (right_eye, range(36, 42)),
        (left_eye, range(42, 48)),
        (lips, range(48, 68)),
    ):
        assert all(points[row] <= wanted for row in rows)


def test_every_blendshape_is_a_column_of_single_numbers():
    """Single float32 numbers are what directions are mined for."""
    columns = table.columns(468)
    assert len(table.BLENDSHAPES) == len(table.CATEGORIES) == 52
    for name in (*table.BLENDSHAPES, "yaw", "pitch", "roll", *table.TRANSLATION):
        assert (columns[name].shape, columns[name].dtype) == ((), "float32")


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    number=st.integers(0, 21),
    at=st.tuples(st.floats(-0.5, 1.5), st.floats(-0.5, 1.5), st.floats(-1, 1)),
)
def test_points_of_a_view_go_back_to_where_they_came_from(height, width, number, at):
    image = np.arange(1, height * width * 3 + 1, dtype=np.uint64).reshape(height, width, 3)
    image = (image % 251 + 1).astype(np.uint8)
    view = table.views(height, width)[number]
    part = view.cut(image)
    assert part.shape == (view.height, view.width, 3)
    rows, columns = np.nonzero(part.any(axis=2))
    np.testing.assert_array_equal(part[rows, columns], image[rows + view.top, columns + view.left])
    inside = max(0, min(view.top + view.height, height) - max(view.top, 0))
    inside *= max(0, min(view.left + view.width, width) - max(view.left, 0))
    assert len(rows) == inside > 0
    x, y, z = view.in_image(np.array([at]), height, width)[0]
    assert x * width == pytest.approx(at[0] * view.width + view.left, abs=1e-9)
    assert y * height == pytest.approx(at[1] * view.height + view.top, abs=1e-9)
    assert z * width == pytest.approx(at[2] * view.width, abs=1e-9)


def test_the_first_view_is_the_image_and_parts_cover_it():
    whole, *others = table.views(120, 200)
    assert whole == table.View(0, 0, 200, 120) and len(others) == 21
    seen = np.zeros((120, 200), int)
    for view in others[-9:]:
        seen[view.top : view.top + view.height, view.left : view.left + view.width] += 1
    assert seen.min() >= 1


@given(
    x=st.floats(-0.4, 0.4),
    y=st.floats(-0.4, 0.4),
    size=st.floats(3, 12),
    yaw=st.floats(-30, 30),
    pitch=st.floats(-20, 20),
    focal=st.floats(1, 10),
)
def test_the_camera_is_changed_as_planted(x, y, size, yaw, pitch, focal):
    """A face seen along its ray, put before a camera of 63 degrees as MediaPipe does it."""
    import cv2

    rng = np.random.default_rng(5)
    face = rng.normal(size=(468, 3)) * [3.5, 4.5, 2.5]
    face += table.CANONICAL_MIDDLE - face.mean(axis=0)
    turn = np.asarray(cv2.Rodrigues(np.array([0.0, np.radians(yaw), 0.0]))[0])
    turn = np.asarray(cv2.Rodrigues(np.array([-np.radians(pitch), 0.0, 0.0]))[0]) @ turn
    flat = (face - table.CANONICAL_MIDDLE) @ turn.T * size + [x * 400, -y * 400, 0]  # y up
    mesh = flat * [1, -1, -1] / 400 + [0.5, 0.5, 0]
    given_focal = 200 / np.tan(np.radians(31.5))
    away = 1 - (flat[:, 2] - flat[:, 2].mean()) / given_focal
    seen = np.column_stack([flat[:, :2] / given_focal * away[:, None], -away])
    matrix = fitted(face, seen * given_focal / size)
    view = table.View(0, 0, 400, 400)
    rotation, shift = table.in_camera(matrix, mesh, view, 400, 400, focal)
    ray = np.array([x / focal, -y / focal, -1.0])
    # along its ray the face shows what it shows along the axis
    axis = np.cross([0, 0, -1.0], ray)
    angle = np.arctan(np.hypot(x, y) / focal)
    toward = axis / np.linalg.norm(axis) * angle if angle > 1e-9 else np.zeros(3)
    true = np.asarray(cv2.Rodrigues(toward)[0]) @ turn
    apart = np.degrees(np.arccos(np.clip((np.trace(rotation.T @ true) - 1) / 2, -1, 1)))
    assert apart < 2.5
    np.testing.assert_allclose(shift, ray * focal * 400 / size, rtol=0.08, atol=1e-9)


def fitted(start, end):
    """(4, 4) the rotation and shift of points (K, 3) that fit others best, both in centimetres."""
    middle, goal = start.mean(axis=0), end.mean(axis=0)
    left, _, right = np.linalg.svd((end - goal).T @ (start - middle))
    rotation = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    return np.block([[rotation, (goal - rotation @ middle)[:, None]], [np.zeros(3), np.ones(1)]])

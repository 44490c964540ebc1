"""Distances between landmark sets, in parts of the eye distance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mining.evaluation.landmark_agreement import compare_landmarks, landmark_distances, size_of
from schemas.errors import InputError


def faces(rng, rows: int, points: int = 68) -> np.ndarray:
    """Landmarks whose outer eye corners (of 68) lie 0.2 of the image apart."""
    made = rng.uniform(0.3, 0.7, (rows, points, 2))
    made[:, 36], made[:, 45 % points] = (0.4, 0.5), (0.6, 0.5)
    return made.astype(np.float32)


def test_a_planted_shift_comes_back_in_eye_distances(rng):
    first = faces(rng, 50)
    second = first + np.float32([0.003, 0.004])  # 0.005 of the image, 2.5 % of 0.2
    second[:5] += np.float32(0.1)
    distances = landmark_distances(first, second)
    assert distances[5:] == pytest.approx(0.025, abs=1e-5)
    known = np.arange(50) >= 2, np.arange(50) < 47
    found = compare_landmarks(
        ("a", "b"), 68, np.where(known[0] & known[1], distances, np.nan), known
    )
    assert (found.rows, found.only_first, found.only_second) == (45, 3, 2)
    assert found.median == pytest.approx(0.025, abs=1e-5)
    assert found.far == pytest.approx(3 / 45)  # rows 2, 3 and 4
    assert found.size == "outer eye corners"


def test_sets_without_known_eyes_are_measured_in_their_boxes():
    first = np.array([[[0.0, 0.0], [0.3, 0.4], [0.1, 0.1]]], np.float32)
    distances = landmark_distances(first, first + np.float32([0.05, 0.0]))
    assert distances == pytest.approx([0.1], abs=1e-6)
    assert size_of(3) == "diagonal of the points' box"


def test_faces_without_a_size_and_missing_ones_have_no_distance():
    points = np.full((2, 68, 2), np.nan, np.float32)
    points[0] = 0.5
    assert np.isnan(landmark_distances(points, points)).all()
    none = np.zeros(2, bool)
    found = compare_landmarks(("a", "b"), 68, np.full(2, np.nan), (none, none))
    assert found.rows == 0 and math.isnan(found.mean) and math.isnan(found.far)


def test_sets_that_do_not_pair_up_are_named():
    with pytest.raises(InputError, match=r"\(2, 68, 2\) and \(2, 5, 2\)"):
        landmark_distances(np.zeros((2, 68, 2)), np.zeros((2, 5, 2)))

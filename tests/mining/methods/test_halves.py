"""Two halves of a dataset: planted shapes come out twice, and angles between planes are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.methods.halves import compare_models, half_agreement, principal_angles
from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from schemas.errors import InputError
from tests.mining.methods.test_refine import MODES, planted

CONFIG = NrsfmConfig(MODES, "metric", sweeps=40)


@pytest.fixture(scope="module")
def landmarks():
    return planted(np.random.default_rng(8), rows=500)[0]


def test_halves_of_planted_shapes_agree_whatever_the_order_of_rows(landmarks, rng):
    found = half_agreement(landmarks, CONFIG)
    assert found.rows == (250, 250)
    assert found.plane.shape == (3 + MODES,) and found.plane.max() < 1
    assert found.basis.shape == (MODES,) and found.basis.max() < 8
    assert found.shapes.shape == (1 + MODES,) and found.shapes.max() < 10
    assert found.mean_shape < 0.02
    for angles in (found.basis, found.plane, found.shapes):
        assert (np.diff(angles) >= 0).all()
    assert found.middle[1] == np.median(found.plane)
    again = half_agreement(landmarks[rng.permutation(len(landmarks))], CONFIG)
    np.testing.assert_allclose(again.shapes, found.shapes, atol=1e-4)
    other = half_agreement(landmarks, CONFIG, seed=1)
    assert not np.allclose(other.shapes, found.shapes, atol=1e-4)


def test_noise_that_no_halves_share_parts_their_modes(landmarks, rng):
    """More modes than there are: the last ones are noise, in each half its own."""
    found = half_agreement(landmarks, NrsfmConfig(MODES + 3, "metric"))
    assert found.plane[: 3 + MODES].max() < 1 and found.plane[-1] > 45


def test_a_turned_mirrored_and_scaled_model_is_the_same_model(landmarks, rng):
    model = fit_nrsfm(landmarks, CONFIG)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = dataclasses.replace(
        model, mean_shape=1.7 * turn @ model.mean_shape, modes=model.modes @ turn.T
    )
    found = compare_models(model, moved, (500, 500))
    assert found.mean_shape < 1e-9
    for angles in (found.basis, found.plane, found.shapes):
        assert angles.max() < 1e-4


def test_where_cameras_are_not_metric_any_affine_map_is_taken_out(landmarks, rng):
    model = fit_nrsfm(landmarks, NrsfmConfig(MODES, "none"))
    change = np.eye(3) + 0.3 * rng.normal(size=(3, 3))
    modes = model.modes @ change.T
    moved = dataclasses.replace(
        model,
        mean_shape=change @ model.mean_shape,
        modes=modes / np.linalg.norm(modes, axis=1, keepdims=True),
    )
    found = compare_models(model, moved, (500, 500))
    assert found.mean_shape < 1e-9 and found.shapes.max() < 1e-4


def test_the_distance_of_mean_shapes_is_a_share_of_their_size(landmarks):
    model = fit_nrsfm(landmarks, CONFIG)
    bent = model.mean_shape * np.array([[1.0], [1.0], [1.5]])
    found = compare_models(model, dataclasses.replace(model, mean_shape=bent), (1, 1))
    assert 0.05 < found.mean_shape < 0.5 and found.basis.max() < 1e-4


@given(st.floats(0, 90), st.integers(0, 2**32 - 1))
def test_the_angle_of_two_planes_is_the_one_they_were_given(degrees, seed):
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    tilt = np.radians(degrees)
    tilted = np.cos(tilt) * frame[1] + np.sin(tilt) * frame[2]
    mixed = rng.normal(size=(2, 2)) + 3 * np.eye(2)  # any basis of the same plane
    found = principal_angles(frame[:2], mixed @ np.stack([frame[0], tilted]))
    np.testing.assert_allclose(found, [0, degrees], atol=1e-5)


def test_spaces_of_unlike_size_have_as_many_angles_as_the_smaller():
    np.testing.assert_allclose(principal_angles(np.eye(5)[:3], np.eye(5)[2:4]), [0, 90], atol=1e-6)


def test_what_cannot_be_compared_is_refused(landmarks):
    with pytest.raises(InputError, match=r"\(2, 5\) and \(2, 4\)"):
        principal_angles(np.eye(2, 5), np.eye(2, 4))
    with pytest.raises(InputError, match="NaN"):
        principal_angles(np.full((2, 5), np.nan), np.eye(2, 5))
    with pytest.raises(InputError, match="seed is -1"):
        half_agreement(landmarks, CONFIG, seed=-1)
    with pytest.raises(InputError, match="5 rows of 30 landmarks cannot carry"):
        half_agreement(landmarks[:10], NrsfmConfig(8))

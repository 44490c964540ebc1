"""Cameras: degrees in and out, the release's own numbers, and where they stand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.generators.camera import (
    Orbit,
    PosePrior,
    camera_angles,
    camera_labels,
    sample_angles,
    turned_labels,
)
from mining.generators.head.camera import pose_matrix
from schemas.errors import InputError

angle = st.tuples(st.floats(-179, 179), st.floats(-89, 89), st.floats(-179, 179))


def looked_at(labels, point):
    """(N, 2) where a point of the world appears, as fractions of the image from its upper left."""
    pose = labels[:, :16].reshape(-1, 4, 4).astype(np.float64)
    seen = np.einsum("nji,nj->ni", pose[:, :3, :3], np.asarray(point) - pose[:, :3, 3])
    lens = labels[:, 16:].reshape(-1, 3, 3)
    on_film = np.einsum("nij,nj->ni", lens, seen)
    return on_film[:, :2] / on_film[:, 2:]


@given(angle)
def test_degrees_come_back(angles):
    found = camera_angles(camera_labels(angles))[0]
    # float32 rotations: a pitch of 89 degrees is known to 1e-3
    assert (found - angles + 180) % 360 - 180 == pytest.approx(np.zeros(3), abs=5e-3)


@given(angle)
def test_a_camera_sees_the_head_as_if_the_head_had_turned(angles):
    """The head generator poses by R (v - pivot) + pivot; a camera that moves shows the same."""
    orbit = Orbit(radius=3.0, pivot=(0.0, 0.0, 0.0), focal=2.0)
    nose = np.array([0.1, -0.05, 0.5])
    x, y, z = pose_matrix(*angles) @ nose
    expected = 0.5 + 2.0 * np.array([x, -y]) / (3.0 - z)
    found = looked_at(camera_labels(angles, orbit), nose)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_signs_are_those_of_the_project():
    right, up, clockwise = camera_labels([[30, 0, 0], [0, 20, 0], [0, 0, 10]])
    nose, crown = (0, 0, 0.5), (0, 0.4, 0.2)
    assert looked_at(right[None], nose)[0, 0] > 0.55  # towards the image's right
    assert looked_at(up[None], nose)[0, 1] < 0.45  # upwards
    assert looked_at(clockwise[None], crown)[0, 0] > 0.55


@given(angle, st.floats(1.0, 5.0), st.tuples(*[st.floats(-0.5, 0.5)] * 3))
def test_cameras_stand_on_their_orbit_and_look_at_the_pivot(angles, radius, pivot):
    labels = camera_labels(angles, Orbit(radius, pivot, 4.0))
    assert np.linalg.norm(labels[0, [3, 7, 11]]) == pytest.approx(radius, rel=1e-5)
    np.testing.assert_allclose(looked_at(labels, pivot), 0.5, atol=1e-4)


# of the release's LookAtPoseSampler.sample(pi/2 + a, pi/2 + b, (0, 0, 0.2), radius=2.7)
RELEASED = {
    (0.4, -0.2): [
        0.9084563,
        0.05705192,
        -0.414068,
        1.042872,
        0,
        -0.9906409,
        -0.1364944,
        0.3437749,
        -0.4179799,
        0.1239992,
        -0.8999539,
        2.466625,
        0,
        0,
        0,
        1,
    ],
    (-0.7, 0.3): [
        0.7306337,
        0.1378933,
        0.6687002,
        -1.70737,
        0,
        -0.9793935,
        0.2019616,
        -0.5156621,
        0.6827697,
        -0.14756,
        -0.7155778,
        2.027062,
        0,
        0,
        0,
        1,
    ],
}


@pytest.mark.parametrize("turn", RELEASED)
def test_cameras_of_the_release_are_ours_at_some_angles(turn):
    label = np.array([*RELEASED[turn], 4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1], np.float32)
    angles = camera_angles(label)
    np.testing.assert_allclose(camera_labels(angles)[0], label, atol=2e-6)
    assert angles[0, 2] == pytest.approx(0, abs=1e-4)  # it never rolls
    assert angles[0, 0] * turn[0] < 0 and angles[0, 1] * turn[1] > 0


@given(angle, angle)
def test_turning_changes_the_angles_alone(before, after):
    orbit = Orbit(2.4, (0.1, -0.1, 0.15), 3.0)
    turned = turned_labels(camera_labels(before, orbit), after, orbit.pivot)
    np.testing.assert_allclose(turned, camera_labels(after, orbit), atol=1e-5)


def test_a_camera_that_does_not_turn_stays_where_it_is():
    off = camera_labels([[10, 5, -3]], Orbit(2.5, (0.1, 0.2, 0.3), 4.0))  # not at this pivot
    np.testing.assert_allclose(turned_labels(off, camera_angles(off), (0, 0, 0.2)), off, atol=1e-6)


def test_a_pivot_off_the_middle_stays_where_it_was_in_the_image():
    off = camera_labels([[10, 5, -3]], Orbit(2.5, (0.1, 0.2, 0.3), 4.0))
    turned = turned_labels(off, [-25, 8, 0], (0, 0, 0.2))
    there, here = (looked_at(labels, (0, 0, 0.2)) for labels in (off, turned))
    np.testing.assert_allclose(here, there, atol=1e-5)
    assert np.linalg.norm(turned[0, [3, 7, 11]]) == pytest.approx(2.5, rel=1e-6)


def test_poses_follow_their_prior():
    prior = PosePrior(mean=(5.0, -4.0, 0.0), spread=(20.0, 10.0, 0.0))
    angles = sample_angles(4000, np.random.default_rng(0), prior)
    np.testing.assert_allclose(angles.mean(axis=0), prior.mean, atol=1.0)  # 3 standard errors
    np.testing.assert_allclose(angles.std(axis=0), prior.spread, rtol=0.04)
    assert np.abs(angles[:, 1] + 4).max() <= 30
    np.testing.assert_array_equal(sample_angles(7, np.random.default_rng(0), prior), angles[:7])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: camera_labels([[0, 90, 0]]), "pitch of 90"),
        (lambda: camera_labels([[0, 0]]), r"\(1, 2\)"),
        (lambda: camera_labels([[0, np.nan, 0]]), "finite"),
        (lambda: camera_angles(np.zeros((2, 24))), r"\(2, 24\)"),
        (lambda: camera_angles(np.zeros((1, 25))), "label 0 holds no rotation"),
        (lambda: Orbit(radius=0.1), "radius 0.1"),
        (lambda: Orbit(focal=0), "focal length 0"),
        (lambda: PosePrior(spread=(1.0, 40.0, 0.0)), "40"),
        (lambda: turned_labels(camera_labels([0, 0, 0]), [0, 0, 0], (0, 0, 3)), "pivot"),
        (lambda: turned_labels(camera_labels([0, 0, 0]), np.zeros((2, 3))), "2 rows"),
    ],
)
def test_what_is_no_camera_is_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()

"""Fits to landmarks whose pose and coefficients are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from mining.extractors import geometry
from mining.generators.head.camera import pose_matrix
from mining.shape3d.camera import Pose, euler_angles, look_at, look_back, project
from mining.shape3d.fit import FitConfig, Fitter
from mining.shape3d.model import Sparse
from mining.shape3d.newton import (
    POSE,
    Seen,
    State,
    costs,
    look,
    minimise,
    moved,
    rotation_of,
    slopes,
)
from mining.shape3d.readers.head import read_head
from schemas.errors import InputError
from tests.mining.shape3d.planted import made_model, planted

# landmarks that are as good as their noise says, in full precision
EXACT = FitConfig(noise=0.01, outline=1, hidden=0, precision="float64", iterations=50, tolerance=0)
ALIKE = FitConfig(noise=1.0, outline=1, hidden=0)


def generic(rng: np.random.Generator) -> Sparse:
    """A model none of whose components looks like a turn or a shift of the head."""
    mean = made_model(rng, 1, 1).mean
    return Sparse(mean, rng.standard_normal((40, 68, 3)), rng.standard_normal((12, 68, 3)))


def degrees_apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) angles between rotations."""
    return np.degrees(Rotation.from_matrix(a @ b.transpose(0, 2, 1)).magnitude())


@pytest.mark.parametrize(("focal", "distance"), [(4.26, 0.1), (4.26, 0.4), (1.0, 0.3), (None, 0.4)])
def test_exact_landmarks_give_back_what_was_planted(rng, focal, distance):
    model = generic(rng)
    truth = planted(rng, model, 40, focal=focal, distance=distance)
    fit = Fitter(model, replace(EXACT, focal=focal)).fit(truth.points)
    assert fit.good.all()
    assert degrees_apart(fit.pose.rotation, truth.pose.rotation).max() < 0.01
    np.testing.assert_allclose(fit.angles, truth.angles, atol=0.01)
    np.testing.assert_allclose(fit.pose.scale, truth.pose.scale, rtol=1e-3)
    np.testing.assert_allclose(fit.pose.position, truth.pose.position, atol=1e-4)
    np.testing.assert_allclose(fit.identity, truth.identity, atol=0.01)
    np.testing.assert_allclose(fit.expression, truth.expression, atol=0.01)
    assert fit.residual.max() < 1e-4


def test_single_precision_six_rounds_and_a_normal_prior_are_enough(rng):
    model = generic(rng)
    truth = planted(rng, model, 100, noise=1.0)
    quick = Fitter(model, ALIKE).fit(truth.points)
    slow = Fitter(model, replace(ALIKE, precision="float64", iterations=50, tolerance=0)).fit(
        truth.points
    )
    assert quick.converged.all() and quick.iterations.max() <= 6
    np.testing.assert_allclose(quick.angles, slow.angles, atol=0.05)
    np.testing.assert_allclose(quick.expression, slow.expression, atol=0.02)
    np.testing.assert_allclose(quick.cost, slow.cost, rtol=1e-3)


def test_the_cost_of_noisy_faces_is_that_of_chance(rng):
    """Measurements less the unknowns without a prior: 136 - 6, as for any linear Gaussian model."""
    model = made_model(rng)
    fit = Fitter(model, ALIKE).fit(planted(rng, model, 600, noise=1.0).points)
    assert fit.cost.mean() == pytest.approx(130, rel=0.03)  # its standard error is 0.5 %
    assert fit.cost.std() == pytest.approx(np.sqrt(2 * 130), rel=0.15)


def test_errors_are_as_large_as_the_equations_say(rng):
    """The inverse of the normal equations is the covariance of the unknowns."""
    model = made_model(rng)
    truth = planted(rng, model, 400, noise=1.0, distance=0.0)
    fit = Fitter(model, replace(ALIKE, precision="float64")).fit(truth.points)
    fitter = Fitter(model, replace(ALIKE, precision="float64"))
    problem = fitter._problem
    state = State(
        fit.pose.rotation,
        fit.pose.scale,
        (fit.pose.position - 0.5) * [1, -1],
        np.concatenate([fit.identity, fit.expression], axis=1),
    )
    weights = np.broadcast_to(1 / fit.pose.scale[:, None, None], (400, 1, 68))
    points = ((truth.points - 0.5) * [1, -1]).transpose(0, 2, 1)
    seen = Seen(points, weights, fit.pose.scale)
    jacobian = slopes(problem, state, seen, look(problem, state, seen))
    prior = np.diag([0.0] * POSE + [1.0] * 52)
    expected = np.linalg.inv(jacobian @ jacobian.transpose(0, 2, 1) + prior)
    expected = np.sqrt(np.einsum("nkk->nk", expected))
    turned = Rotation.from_matrix(truth.pose.rotation @ fit.pose.rotation.transpose(0, 2, 1))
    found = np.concatenate(
        [
            turned.as_rotvec() / expected[:, :3],
            (truth.identity - fit.identity) / expected[:, POSE:46],
            (truth.expression - fit.expression) / expected[:, 46:],
        ],
        axis=1,
    )
    in_deviations = np.sqrt(np.square(found).mean(axis=0))  # of each unknown over 400 faces
    assert in_deviations.mean() == pytest.approx(1, abs=0.03)
    assert 0.85 < in_deviations.min() and in_deviations.max() < 1.15  # four standard errors


def test_the_fit_minimises_what_it_says(rng):
    model = made_model(rng, 5, 3)
    truth = planted(rng, model, 1, noise=2.0)
    config = FitConfig(precision="float64", iterations=50, tolerance=0)
    fit = Fitter(model, config).fit(truth.points)
    basis = np.concatenate([model.identity, model.expression])

    def residuals(unknowns, sigma):
        """With sigma in image widths, the prior behind."""
        rotation = Rotation.from_rotvec(unknowns[:3]).as_matrix() @ fit.pose.rotation[0]
        scale = fit.pose.scale * np.exp(unknowns[3])
        pose = Pose(rotation[None], scale, fit.pose.position + unknowns[None, 4:6])
        shape = model.mean + np.tensordot(unknowns[6:], basis, 1)
        error = (project(shape[None], pose, config.focal)[0] - truth.points[0]) / sigma[:, None]
        return np.concatenate([error.ravel(), unknowns[6:]])

    found = np.concatenate([np.zeros(6), fit.identity[0], fit.expression[0]])
    sine = np.sin(np.radians(fit.angles[0, 0]))
    sigma = np.full(68, 3.0) * fit.pose.scale[0]
    sigma[:17] *= 4
    sigma[:8] += 30 * fit.pose.scale[0] * max(-sine, 0)
    sigma[9:17] += 30 * fit.pose.scale[0] * max(sine, 0)
    best = least_squares(residuals, found, args=(sigma,), xtol=1e-14, ftol=1e-14)
    # sigma is that of the start's pose there, that of the fitted one here, which differ a little
    np.testing.assert_allclose(best.x[6:], found[6:], atol=0.01)
    assert np.degrees(np.abs(best.x[:3])).max() < 0.1


def test_slopes_are_the_derivatives_of_the_view(rng):
    model = made_model(rng, 4, 3)
    problem = Fitter(model, replace(EXACT, focal=1.5))._problem
    truth = planted(rng, model, 5, focal=1.5)
    state = State(
        truth.pose.rotation,
        truth.pose.scale,
        0.05 * rng.standard_normal((5, 2)),
        rng.standard_normal((5, 7)),
    )
    seen = Seen(
        0.1 * rng.standard_normal((5, 2, 68)),
        rng.uniform(100, 300, (5, 1, 68)),
        rng.uniform(0.5, 2, 5) * truth.pose.scale,
    )
    found = slopes(problem, state, seen, look(problem, state, seen))
    for k in range(found.shape[1]):
        step = np.zeros((5, found.shape[1]))
        step[:, k] = 1e-5
        ahead, behind = (
            look(problem, moved(state, sign * step, seen.unit), seen).error for sign in (1, -1)
        )
        change = (behind - ahead).reshape(5, -1) / 2e-5  # the error is seen - view
        np.testing.assert_allclose(found[:, k], change, rtol=1e-5, atol=1e-5)


def test_a_row_is_the_same_to_the_last_bit_whatever_its_neighbours_are(rng):
    model = made_model(rng)
    points = planted(rng, model, 70, noise=1.0).points
    fitter = Fitter(model, ALIKE)
    together = fitter.fit(points)
    hostile = points.copy()
    hostile[1::2] = rng.uniform(0, 1, (35, 68, 2))
    hostile[5], hostile[7], hostile[9], hostile[11] = np.nan, np.inf, 0.5, 1e300
    hostile[13, 40] = -1e9
    hostile[15, :, 0] = 0.3  # on a line
    beside = fitter.fit(hostile)
    assert beside.good[::2].all() and not beside.good[5:17:2].any()
    for name in ("angles", "identity", "expression", "residual", "cost"):
        all_rows = getattr(together, name)
        np.testing.assert_array_equal(getattr(beside, name)[::2], all_rows[::2])
        assert np.isnan(getattr(beside, name)[~beside.good]).all()
        for size in (1, 3, 10):
            parts = [getattr(fitter.fit(points[k : k + size]), name) for k in range(0, 30, size)]
            np.testing.assert_array_equal(np.concatenate(parts), all_rows[:30])


def test_points_of_no_face_get_no_fit(rng):
    fitter = Fitter(read_head().landmarks())
    scattered = rng.uniform(0.2, 0.8, (50, 68, 2))
    mirrored = planted(rng, read_head().landmarks(), 50).points * [1, -1]
    shuffled = planted(rng, read_head().landmarks(), 50).points[:, rng.permutation(68)]
    for points in (scattered, mirrored, shuffled):
        fit = fitter.fit(points)
        assert not fit.good.any()
        assert np.isnan(fit.angles).all() and np.isnan(fit.pose.position).all()
    assert fitter.fit(planted(rng, read_head().landmarks(), 50, noise=3.0).points).good.all()


@given(st.floats(-80, 80), st.floats(-50, 50), st.floats(-180, 180), st.floats(0.02, 1.0))
def test_heads_that_look_anywhere_have_their_pose(yaw, pitch, roll, size):
    """size: of the face against the image's width."""
    model = read_head().landmarks()
    pose = Pose(pose_matrix(yaw, pitch, roll)[None], np.array([size / 140]), np.full((1, 2), 0.4))
    points = project(model.mean[None], pose, 4.26)
    fit = Fitter(model, replace(ALIKE, noise=0.5)).fit(points)
    assert degrees_apart(fit.pose.rotation, pose.rotation)[0] < 0.3  # the prior's pull is none
    np.testing.assert_allclose(fit.identity, 0, atol=0.05)


def test_a_wide_image_is_seen_in_its_proportions(rng):
    model = generic(rng)
    truth = planted(rng, model, 10, aspect=0.5)
    fit = Fitter(model, EXACT).fit(truth.points, aspect=0.5)
    np.testing.assert_allclose(fit.angles, truth.angles, atol=0.01)
    np.testing.assert_allclose(fit.pose.position, truth.pose.position, atol=1e-4)


def test_weak_perspective_is_perspective_through_the_longest_lens(rng):
    model = generic(rng)
    points = planted(rng, model, 10, focal=None).points
    near = Fitter(model, replace(EXACT, focal=100.0)).fit(points)
    far = Fitter(model, replace(EXACT, focal=None)).fit(points)
    np.testing.assert_allclose(near.angles, far.angles, atol=0.5)
    np.testing.assert_allclose(near.pose.scale, far.pose.scale, rtol=0.01)


def test_an_outline_that_slides_does_not_turn_the_head(rng):
    """The far side's outline moved 15 mm outwards, as where the outline is seen instead."""
    model = read_head().landmarks()
    truth = planted(rng, model, 100, reach=(0, 10, 10))
    pose = Pose(
        np.stack([pose_matrix(25, *two) for two in truth.angles[:, 1:]]),
        truth.pose.scale,
        truth.pose.position,
    )
    points = project(np.broadcast_to(model.mean, (100, 68, 3)), pose, 4.26)
    points[:, 9:17, 0] += 15 * pose.scale[:, None]
    yaw = Fitter(model).fit(points).angles[:, 0] - 25
    naive = Fitter(model, FitConfig(outline=1, hidden=0)).fit(points).angles[:, 0] - 25
    assert np.abs(yaw).mean() < 1.0 < 3 * np.abs(yaw).mean() < np.abs(naive).mean()


def test_angles_have_the_signs_of_the_geometry_extractor(rng):
    angles = rng.uniform([-179, -89, -179], [179, 89, 179], (50, 3))
    rotation = np.stack([pose_matrix(*three) for three in angles])
    np.testing.assert_allclose(euler_angles(rotation), angles, atol=1e-6)
    other = np.array([geometry.euler_angles(one) for one in rotation])
    np.testing.assert_allclose(euler_angles(rotation), other, atol=1e-9)


def test_looking_at_a_face_and_back_changes_no_image(rng):
    model = made_model(rng, 1, 1)
    truth = planted(rng, model, 20, focal=0.7, aspect=0.8, distance=0.4)
    seen, turns, middle = look_at(truth.points, 0.7, 0.8)
    np.testing.assert_allclose(seen.mean(axis=1), 0, atol=0.03)  # the face is ahead
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    place = truth.pose.rotation  # any pose before the turned camera will do
    ahead = Pose(turns @ place, truth.pose.scale, 0.01 * rng.standard_normal((20, 2)))
    given_camera = look_back(ahead, turns, middle, 0.7, 0.8)
    np.testing.assert_allclose(given_camera.rotation, place, atol=1e-12)
    shapes = np.broadcast_to(model.mean, (20, 68, 3))
    image = project(shapes, given_camera, 0.7, 0.8)
    again = look_at_with(image, turns, 0.7, 0.8)
    middle_up = Pose(ahead.rotation, ahead.scale, 0.5 + ahead.position * [1, -1])
    expected = (project(shapes, middle_up, 0.7) - 0.5) * [1, -1]
    np.testing.assert_allclose(again, expected, atol=1e-9)


def look_at_with(points: np.ndarray, turns: np.ndarray, focal: float, aspect: float) -> np.ndarray:
    """Points as cameras that are turned by `turns` see them, in image widths, y up."""
    image = (points - 0.5) * [1, -aspect]
    rays = np.concatenate([image, np.full((*image.shape[:2], 1), -focal)], axis=2)
    seen = np.einsum("nab,nlb->nla", turns, rays)
    return -focal * seen[..., :2] / seen[..., 2:]


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_a_step_of_any_size_is_a_rotation_about_its_axis(vector):
    found = rotation_of(np.array([vector]))[0]
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(found) == pytest.approx(1)
    np.testing.assert_allclose(found @ vector, vector, atol=1e-6)
    small = 1e-4 * np.array(vector)
    expected = Rotation.from_rotvec(small).as_matrix()
    np.testing.assert_allclose(rotation_of(small[None])[0], expected, atol=1e-6)


def test_a_step_that_raises_the_cost_is_not_taken(rng):
    """From a start half a turn away the cost never rises, whatever the steps do."""
    model = made_model(rng, 5, 3)
    truth = planted(rng, model, 50, noise=1.0, distance=0)
    problem = Fitter(model, EXACT)._problem
    state = State(
        truth.pose.rotation @ pose_matrix(170, 20, 0), truth.pose.scale,
        np.zeros((50, 2)), np.zeros((50, 8)),
    )  # fmt: skip
    points = ((truth.points - 0.5) * [1, -1]).transpose(0, 2, 1)
    seen = Seen(points, np.full((50, 1, 68), 270.0), truth.pose.scale)
    before = costs(problem, look(problem, state, seen), state)
    for _ in range(8):
        cost, steps, _ = minimise(problem, state, seen, 1, 0.0)
        assert (cost <= before).all() and (steps == 1).all()
        np.testing.assert_allclose(cost, costs(problem, look(problem, state, seen), state))
        before = cost


def test_no_faces_and_no_components_are_allowed(rng):
    model = made_model(rng)
    fit = Fitter(model).fit(np.empty((0, 68, 2)))
    assert fit.angles.shape == (0, 3) and fit.identity.shape == (0, 40)
    rigid = read_head().landmarks(0, 0)
    truth = planted(rng, rigid, 5)
    fit = Fitter(rigid).fit(truth.points)
    np.testing.assert_allclose(fit.angles, truth.angles, atol=0.01)
    assert fit.identity.shape == (5, 0) and fit.expression.shape == (5, 0)


def test_what_cannot_be_fitted_is_refused():
    model = read_head().landmarks()
    with pytest.raises(InputError, match=r"points \(68, 2\) came; expected \(N, 68, 2\)"):
        Fitter(model).fit(np.zeros((68, 2)))
    with pytest.raises(InputError, match="focal 0.1 came"):
        FitConfig(focal=0.1)
    with pytest.raises(InputError, match="noise nan came"):
        FitConfig(noise=float("nan"))
    with pytest.raises(InputError, match="regularisation 0 came"):
        FitConfig(regularisation=0)
    with pytest.raises(InputError, match="precision 'half' came"):
        FitConfig(precision="half")  # type: ignore[arg-type]


def test_the_problem_does_not_share_memory_with_the_model(rng):
    model = made_model(rng, 3, 2)
    fitter = Fitter(model)
    points = planted(rng, model, 3).points
    before = fitter.fit(points).angles
    model.mean[:] = 0
    np.testing.assert_array_equal(fitter.fit(points).angles, before)

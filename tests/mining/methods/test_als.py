"""The authors' alternation: against the plain loop, the planted truth and the closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mining.methods.als import als
from mining.methods.refine import Factors, refine
from schemas.errors import InputError
from tests.benchmarks.plain_als import kinder_sweeps, plain_sweeps
from tests.mining.methods.planted import Head, centred, closed_form, row_space, unfolded

MODES = 4


def drawn(rng, rows=200, landmarks=30):
    """Coordinates, factors of the singular value decomposition, and what is left outside."""
    head = Head.made(rng, landmarks, MODES)
    return unfolded(head.landmarks(rng, head.codes(rng, rows)), MODES)


@pytest.mark.parametrize("start", ["normal", "least_squares"])
@pytest.mark.parametrize("leaning", [0.0, 0.5], ids=["orthonormal", "not orthogonal"])
def test_no_iteration_raises_the_objective(rng, start, leaning):
    points, factors, rest = drawn(rng)
    lean = np.eye(MODES) + leaning * rng.uniform(size=(MODES, MODES))
    factors = replace(factors, basis=lean @ factors.basis)
    found = als(points, factors, 30, start=start, rest=rest)
    assert len(found.objectives) == 31 and found.objectives[0] > 1.5 * found.objectives[-1]
    assert (np.diff(found.objectives) <= 1e-12 * found.objectives[0]).all()
    again = ((points - found.factors.points()) ** 2).sum() + rest
    assert found.objectives[-1] == pytest.approx(again, rel=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found.factors.modes, axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("loop", [plain_sweeps, kinder_sweeps])
def test_it_is_the_plain_loop_over_rows_and_modes(rng, loop):
    points, factors, _ = drawn(rng, rows=60)
    found = als(points, factors, 10).factors
    modes, alpha = loop(points - factors.cameras @ factors.shape, factors.cameras, factors.basis)
    np.testing.assert_allclose(found.modes, modes, atol=1e-9)
    np.testing.assert_allclose(found.alpha, alpha, atol=1e-9)


def test_the_plain_loop_in_torch_is_the_same_in_its_precision(rng):
    points, factors, _ = drawn(rng, rows=20)
    left = points - factors.cameras @ factors.shape
    arrays = (left, factors.cameras, factors.basis)
    modes, _ = plain_sweeps(*(torch.tensor(x, dtype=torch.float32) for x in arrays), 3, torch)
    np.testing.assert_allclose(modes.numpy(), plain_sweeps(*arrays, 3)[0], atol=1e-3)


def test_it_finds_planted_directions_and_amplitudes_for_the_true_cameras(rng):
    head = Head.made(rng, 30, MODES)
    modes = 1 + 0.4 * rng.normal(size=(MODES, 3))  # about where it starts: it has other ends
    modes /= np.linalg.norm(modes, axis=1, keepdims=True)
    cameras = rng.normal(size=(300, 2, 3))
    alpha = rng.normal(size=(300, MODES))
    truth = Factors(cameras, head.shape, head.basis, modes, alpha)
    points = truth.points() + 1e-4 * rng.normal(size=(300, 2, 30))
    found = als(points, replace(truth, modes=0 * modes, alpha=0 * alpha), 200).factors
    np.testing.assert_allclose(found.modes, modes, atol=1e-4)
    seen = np.sqrt(((cameras @ modes.T) ** 2).sum(axis=1))
    gaps = seen * (found.alpha - alpha)  # an error in alpha is the noise over what is seen of d_k
    assert np.sqrt((gaps**2).mean()) == pytest.approx(1e-4, rel=0.1)


def test_the_closed_form_is_no_worse_and_the_joint_refinement_better_still(rng):
    for _ in range(2):
        points, factors, rest = drawn(rng)
        some = als(points, factors, 10, rest=rest).objectives[-1]
        most = als(points, factors, 300, rest=rest).objectives[-1]
        closed = closed_form(points, factors)
        objective = ((points - closed.points()) ** 2).sum() + rest
        assert objective <= (1 + 1e-9) * most <= (1 + 1e-9) * some
        joint = refine(points, closed, 20, rest=rest)
        assert joint.objectives[-1] < 0.5 * objective


def test_the_seed_is_the_start_of_alpha_alone(rng):
    points, factors, _ = drawn(rng, rows=80)
    one, same, other = (als(points, factors, 3, seed=seed) for seed in (1, 1, 2))
    assert one.objectives == same.objectives
    assert one.objectives[0] != other.objectives[0]
    assert one.objectives[1:] == pytest.approx(other.objectives[1:], rel=1e-12)
    none = als(points, factors, 0)
    assert len(none.objectives) == 1 and none.factors.alpha.shape == (80, MODES)


def test_a_mode_that_nothing_holds_keeps_its_direction(rng):
    points, factors, _ = drawn(rng, rows=50)
    still = factors.cameras @ factors.shape
    found = als(still, factors, 5)
    assert found.objectives[-1] == pytest.approx(0, abs=1e-20)
    np.testing.assert_allclose(np.linalg.norm(found.factors.modes, axis=1), 1, rtol=1e-12)


def test_whole_landmarks_and_their_coordinates_give_the_same_modes(rng):
    head = Head.made(rng, 30, MODES)
    landmarks = head.landmarks(rng, head.codes(rng, 100))
    inside, factors, rest = unfolded(landmarks, MODES)
    whole = centred(landmarks)
    rows = row_space(whole, MODES)
    wide = replace(factors, shape=rows[:3], basis=rows[3:])
    one, other = als(inside, factors, rest=rest), als(whole, wide)
    np.testing.assert_allclose(one.factors.modes, other.factors.modes, atol=1e-9)
    assert one.objectives == pytest.approx(other.objectives, rel=1e-9)


def test_errors_say_what_came_and_what_was_expected(rng):
    points, factors, _ = drawn(rng, rows=20)
    with pytest.raises(InputError, match="'zeros', expected one of normal, least_squares"):
        als(points, factors, start="zeros")
    with pytest.raises(InputError, match="-1 iterations"):
        als(points, factors, -1)

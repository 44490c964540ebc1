"""The gradient polish of equation (10): its gradient, its end, and its rivals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mining.methods.als import als
from mining.methods.polish import penalised, polish
from schemas.errors import InputError
from tests.mining.methods.planted import Head, closed_form, unfolded

MODES = 4


def drawn(rng, rows=150, landmarks=30):
    head = Head.made(rng, landmarks, MODES)
    return unfolded(head.landmarks(rng, head.codes(rng, rows)), MODES)


def test_the_gradient_is_that_of_finite_differences(rng):
    points, factors, _ = drawn(rng, rows=12)
    lean = np.eye(MODES) + 0.3 * rng.uniform(size=(MODES, MODES))  # the rows need not be orthogonal
    at = replace(
        factors,
        basis=lean @ factors.basis,
        modes=rng.normal(size=(MODES, 3)),
        alpha=rng.normal(size=(12, MODES)),
    )
    _, by_modes, by_alpha = penalised(points, at, 5.0)
    for name, gradient in (("modes", by_modes), ("alpha", by_alpha)):
        value = getattr(at, name)
        for place in np.ndindex(value.shape):
            step = np.zeros_like(value)
            step[place] = 1e-5
            up, down = (
                penalised(points, replace(at, **{name: value + sign * step}), 5.0)[0]
                for sign in (1, -1)
            )
            assert (up - down) / 2e-5 == pytest.approx(gradient[place], rel=1e-6, abs=1e-6)


def test_the_penalty_is_that_of_equation_10(rng):
    points, factors, _ = drawn(rng, rows=12)
    longer = replace(factors, modes=np.diag([2.0, 1.0, 1.0])[[0, 1, 2, 0]])
    plain = ((points - longer.points()) ** 2).sum()
    assert penalised(points, longer, 0.5)[0] == pytest.approx(plain + 0.5 * 2 * (4 - 1) ** 2)


@pytest.mark.parametrize("penalty", [0.0, 5.0, 100.0])
def test_from_few_sweeps_it_goes_down_to_the_closed_form(rng, penalty):
    points, factors, rest = drawn(rng)
    start = als(points, factors, 10, rest=rest)
    found = polish(points, start.factors, penalty, 500, rest)
    closed = closed_form(points, factors)
    objective = ((points - closed.points()) ** 2).sum() + rest
    assert found.objectives[0] == pytest.approx(start.objectives[-1], rel=1e-9)
    assert (np.diff(found.objectives) <= 1e-12 * found.objectives[0]).all()
    assert (1 - 1e-9) * objective <= found.objectives[-1] < found.objectives[0]
    np.testing.assert_allclose(np.linalg.norm(found.factors.modes, axis=1), 1, rtol=1e-12)
    again = ((points - found.factors.points()) ** 2).sum() + rest
    assert found.objectives[-1] == pytest.approx(again, rel=1e-12)  # unit modes pay no penalty
    assert found.converged and "CONVERGENCE" in found.reason


def test_the_closed_form_has_nothing_left_to_polish(rng):
    points, factors, _ = drawn(rng)
    closed = closed_form(points, factors)
    found = polish(points, closed, 5.0, 50)
    assert found.objectives[-1] == pytest.approx(found.objectives[0], rel=1e-9)
    np.testing.assert_allclose(found.factors.modes, closed.modes, atol=1e-4)


def test_a_limit_on_steps_is_said(rng):
    points, factors, _ = drawn(rng, rows=50)
    start = als(points, factors, 2).factors
    found = polish(points, start, iterations=3)
    assert not found.converged and "LIMIT" in found.reason
    assert len(found.objectives) == 5  # the start, three steps, unit modes


def test_errors_say_what_came_and_what_was_expected(rng):
    points, factors, _ = drawn(rng, rows=20)
    with pytest.raises(InputError, match="penalty -1.0 and 100 iterations"):
        polish(points, factors, -1.0)
    with pytest.raises(InputError, match="penalty 1.0 and 0 iterations"):
        polish(points, factors, 1.0, 0)

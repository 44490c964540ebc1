"""What a combination costs in identity, from the cost of each direction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.editing.condition import Conditioned, trade_off
from mining.editing.identity_form import identity_form, with_costs


@given(seed=st.integers(0, 2**32 - 1))
def test_parents_cost_what_was_measured_and_combinations_no_more_than_their_sum(seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(4, 9))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    costs, shares = rng.uniform(0.05, 0.3, size=4), rng.normal(size=4)
    form = identity_form(vectors, costs)
    np.testing.assert_allclose(np.sqrt(np.diag(form)), costs)
    squared = shares @ form @ shares
    assert -1e-12 <= squared <= (np.abs(shares) @ costs) ** 2 + 1e-12


def test_what_was_not_measured_costs_as_much_as_the_others():
    form = identity_form(np.eye(3), np.array([0.1, 0.3, np.nan]))
    assert form[2, 2] == pytest.approx(0.2**2)
    assert np.isnan(identity_form(np.eye(3), np.full(3, np.nan))).all()


def test_costs_grow_with_the_root_of_the_step_below_a_sigma_and_with_the_step_beyond():
    point = Conditioned(np.ones(1), np.ones(1), 0.5, np.zeros(1), 1.0, sigma=2.0, cost=0.2)
    assert point.cost_of(1.0) == pytest.approx(0.2)  # two steps of norm 1: one sigma
    assert point.cost_of(0.25) == pytest.approx(0.1)
    assert point.cost_of(-2.0) == pytest.approx(0.4)


def test_a_metric_of_identity_buys_effect_where_identity_is_cheap(rng):
    vectors = np.linalg.qr(rng.normal(size=(8, 3)))[0].T
    responses = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # two ways to the same effect
    form = identity_form(vectors, np.array([0.4, 0.1, 0.2]))
    covariance = np.eye(3)
    plain = with_costs(trade_off(vectors, responses, 0, [1]), form, covariance)
    saving = with_costs(trade_off(vectors, responses, 0, [1], form), form, covariance)
    assert all(point.sigma == pytest.approx(1) for point in (*plain, *saving))
    assert saving[0].cost_of(1) < 0.75 * plain[0].cost_of(1)
    assert abs(saving[0].shares[1]) > abs(saving[0].shares[0])

"""Conditioned directions on linear attributes, where every response is known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.editing.condition import Wishes, choose, project_out, trade_off
from schemas.errors import InputError

WIDTH, ATTRIBUTES = 64, 5


def planted(rng, overlap=0.6):
    """Gradients of attributes that share a common part, as entangled ones do: (A, D)."""
    own = np.linalg.qr(rng.normal(size=(WIDTH, ATTRIBUTES + 1)))[0].T
    gradients = np.sqrt(1 - overlap**2) * own[:-1] + overlap * own[-1]
    return gradients / np.linalg.norm(gradients, axis=1, keepdims=True)


def test_a_conditioned_direction_leaks_little_and_keeps_its_effect(rng):
    gradients = planted(rng)
    curve = trade_off(gradients, gradients @ gradients.T, 0, [1, 2, 3, 4])
    plain, found = curve[0], choose(curve, 0.7)
    assert plain.vector @ gradients[0] > 0.999 and plain.leak > 0.3
    assert found.effect >= 0.7 * plain.effect
    assert found.leak <= plain.leak / 3
    # what was expected is what a linear attribute does
    np.testing.assert_allclose(gradients[1:] @ found.vector, found.held, atol=1e-9)
    assert gradients[0] @ found.vector == pytest.approx(found.effect)
    assert np.linalg.norm(found.vector) == pytest.approx(1)


def test_the_end_of_the_curve_is_the_projection(rng):
    gradients = planted(rng)
    last = trade_off(gradients, gradients @ gradients.T, 2, [0, 1, 3, 4])[-1]
    wanted = project_out(gradients[2], np.delete(gradients, 2, axis=0))
    assert last.vector @ wanted > 0.9999
    assert last.leak < 1e-3


@given(seed=st.integers(0, 2**32 - 1), held=st.integers(1, ATTRIBUTES - 1))
def test_effect_and_leak_fall_along_the_curve(seed, held):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(7, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    responses = rng.normal(size=(7, ATTRIBUTES))
    curve = trade_off(vectors, responses, 0, range(1, held + 1))
    effects, leaks = (np.array([getattr(p, name) for p in curve]) for name in ("effect", "leak"))
    assert (effects > 0).all()
    assert (np.diff(effects) <= 1e-9 * effects[0]).all()
    assert (np.diff(leaks) <= 1e-9 + 1e-6 * leaks[0]).all()


@given(seed=st.integers(0, 2**32 - 1), others=st.integers(1, 6))
def test_what_is_projected_out_is_gone(seed, others):
    rng = np.random.default_rng(seed)
    vector, away = rng.normal(size=WIDTH), rng.normal(size=(others, WIDTH))
    away[-1] = away[0]  # given twice
    left = project_out(vector, away)
    np.testing.assert_allclose(away @ left, 0, atol=1e-9)
    assert np.linalg.norm(left) == pytest.approx(1) and left @ vector > 0


def test_what_cannot_be_held_is_said(rng):
    gradients = planted(rng)
    responses = gradients @ gradients.T
    with pytest.raises(InputError, match="changed and held at once"):
        trade_off(gradients, responses, 1, [1, 2])
    with pytest.raises(InputError, match="at least one of them held"):
        trade_off(gradients, responses, 1, [])
    with pytest.raises(InputError, match=r"\(5, 64\).*\(4, 5\) do not pair"):
        trade_off(gradients, responses[:-1], 0, [1])
    with pytest.raises(InputError, match="hold NaN"):
        trade_off(gradients, responses * np.nan, 0, [1])
    with pytest.raises(InputError, match="no direction moves attribute 0"):
        trade_off(gradients, responses * [0, 1, 1, 1, 1], 0, [1])
    with pytest.raises(InputError, match="Hold fewer"):
        project_out(gradients[0], gradients)
    with pytest.raises(InputError, match=r"\(64,\) and others \(1, 3\)"):
        project_out(gradients[0], np.ones(3))
    with pytest.raises(InputError, match="least_effect is 0"):
        choose(trade_off(gradients, responses, 0, [1]), 0)


def test_a_leak_that_is_asked_for_gives_the_strongest_effect_below_it(rng):
    gradients = planted(rng)
    curve = trade_off(gradients, gradients @ gradients.T, 0, [1, 2, 3, 4])
    found = choose(curve, wishes=Wishes(0.1, leak=0.2))
    better = [point for point in curve if point.effect > found.effect]
    assert found.leak <= 0.2 and all(point.leak > 0.2 for point in better)
    with pytest.raises(InputError, match=r"leak of 1e-09 is not to be had.*least is"):
        choose(curve, wishes=Wishes(0.99, leak=1e-9))


def test_an_identity_budget_leaves_what_is_cheap_enough(rng):
    gradients = planted(rng)
    bare = trade_off(gradients, gradients @ gradients.T, 0, [1, 2])
    curve = [replace(point, sigma=1.0, cost=0.2) for point in bare]
    costs = [point.cost_of(1.0) for point in curve]
    budget = float(np.median(costs))
    assert choose(curve, wishes=Wishes(0.1, identity_budget=budget)).cost_of(1.0) <= budget
    with pytest.raises(InputError, match=r"budget of 0\.01 is too small.*cheapest"):
        choose(curve, wishes=Wishes(identity_budget=0.01))
    with pytest.raises(InputError, match="no direction's cost in identity was measured"):
        choose(bare, wishes=Wishes(identity_budget=0.3))
    with pytest.raises(InputError, match="by is -1"):
        Wishes(by=-1)


def test_a_combination_beside_its_parents_buys_no_effect_out_of_nothing(rng):
    gradients = planted(rng)
    shares = rng.normal(size=ATTRIBUTES)
    size = np.linalg.norm(shares @ gradients)
    vectors = np.vstack([gradients, shares @ gradients / size]).astype(np.float32).astype(float)
    responses = vectors @ gradients.T
    alone = trade_off(gradients, responses[:-1], 0, [1, 2])
    responses[-1] += 0.05  # as it measures; the step of no length between the two would gain 1e6
    curve = trade_off(vectors, responses, 0, [1, 2])
    assert curve[0].effect == pytest.approx(alone[0].effect, rel=0.2)
    for point in curve:
        assert gradients[0] @ point.vector == pytest.approx(point.effect, abs=0.2)


def test_nothing_is_cancelled_by_what_is_hardly_known(rng):
    gradients = planted(rng)
    responses = gradients @ gradients.T
    vague = np.zeros((5, 5))
    vague[1, 1] = 100.0  # what direction 1 does to the held attributes is anyone's guess
    sure = trade_off(gradients, responses, 0, [1, 2])[-1]
    wary = trade_off(gradients, responses, 0, [1, 2], doubt=vague)[-1]
    assert abs(sure.shares[1]) > 0.1 and abs(wary.shares[1]) < 0.01
    assert wary.doubt == pytest.approx(100 * wary.shares[1] ** 2)
    assert wary.leak >= np.sqrt((wary.held**2).mean()) / wary.effect

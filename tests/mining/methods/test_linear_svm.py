"""The SVM's own solver: LIBLINEAR's objective, planted planes, rows in files, few and many."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from mining.methods.linear_svm import _best_length, fit_linear_svm
from mining.methods.scaled_rows import ScaledRows


def noisy(rng, rows: int, width: int, uneven: float = 3.0):
    """Rows of uneven spread, a true normal, and signs of which some are wrong."""
    data = 3 + rng.normal(size=(rows, width)) * np.geomspace(uneven, 1 / uneven, width)
    truth = rng.normal(size=width)
    signs = np.sign((data - 3) @ truth)
    signs[rng.random(rows) < 0.1] *= -1
    return data, signs, truth / np.linalg.norm(truth)


def objective(rows: ScaledRows, signs, costs, weights) -> float:
    gaps = np.maximum(0, 1 - signs * rows.times(weights))
    return float(weights @ weights) / 2 + float(costs @ gaps**2)


@pytest.mark.parametrize(
    ("rows", "width", "cost"),
    [(2000, 40, 0.002), (2000, 40, 1.0), (300, 40, 1000.0), (41, 40, 0.1), (30, 80, 0.5)],
)
def test_the_objective_is_that_of_liblinear(rng, rows, width, cost):
    data, signs, _ = noisy(rng, rows, width)
    scaled = ScaledRows.of(data)
    found = fit_linear_svm(scaled, signs, np.full(rows, cost))
    assert found.converged
    theirs = LinearSVC(C=cost, dual=False, tol=1e-10, max_iter=100_000)
    theirs.fit((data - scaled.centre) / scaled.scale, signs)
    weights = np.r_[theirs.coef_[0], theirs.intercept_]
    wanted = objective(scaled, signs, np.full(rows, cost), weights)
    assert found.objective == pytest.approx(wanted, rel=1e-6)
    mine = np.r_[found.weights, found.intercept]
    assert objective(scaled, signs, np.full(rows, cost), mine) == pytest.approx(found.objective)
    np.testing.assert_allclose(mine, weights, atol=1e-4 * np.linalg.norm(weights))


def test_the_gradient_vanishes_where_rows_cost_differently(rng):
    data, signs, _ = noisy(rng, 500, 20)
    rows, costs = ScaledRows.of(data), rng.uniform(0.01, 2, size=500)
    found = fit_linear_svm(rows, signs, costs)
    weights = np.r_[found.weights, found.intercept]
    x = np.column_stack([(data - rows.centre) / rows.scale, np.ones(500)])
    gaps = np.maximum(0, 1 - signs * (x @ weights))
    gradient = weights - 2 * x.T @ (costs * signs * gaps)
    assert np.linalg.norm(gradient) < 1e-8 * np.linalg.norm(2 * x.T @ (costs * signs))


def test_finds_a_planted_plane_through_label_noise(rng):
    data, signs, truth = noisy(rng, 20_000, 32, uneven=1.2)
    found = fit_linear_svm(ScaledRows.of(data), signs, np.full(20_000, 1.0))
    assert found.weights @ truth / np.linalg.norm(found.weights) > 0.995  # under 5.7 degrees
    assert found.converged and found.iterations <= 12


def test_rows_in_a_file_and_in_float32_give_the_same_plane(rng, tmp_path):
    data, signs, _ = noisy(rng, 9000, 16)  # three blocks
    data = data.astype(np.float32)
    data.tofile(tmp_path / "rows")
    stored = np.memmap(tmp_path / "rows", np.float32, "r", shape=data.shape)
    costs = np.full(9000, 0.01)
    found = [fit_linear_svm(ScaledRows.of(x), signs, costs) for x in (data.astype(float), stored)]
    np.testing.assert_allclose(found[1].weights, found[0].weights, rtol=1e-9, atol=1e-12)
    assert found[0].iterations == found[1].iterations


@pytest.mark.parametrize("cost", [0.002, 1.0])
def test_without_a_matrix_the_plane_is_the_same(rng, cost):
    data, signs, _ = noisy(rng, 1500, 30)
    rows, costs = ScaledRows.of(data), np.full(1500, cost)
    one, other = (fit_linear_svm(rows, signs, costs, direct=width) for width in (30, 29))
    assert one.converged and other.converged
    np.testing.assert_allclose(other.weights, one.weights, atol=1e-7)
    assert other.objective == pytest.approx(one.objective, rel=1e-12)


def test_only_the_picked_rows_count(rng):
    data, signs, _ = noisy(rng, 400, 10)
    rows, picked = ScaledRows.of(data), np.sort(rng.permutation(400)[:200])
    found = fit_linear_svm(rows.only(picked), signs[picked], np.ones(200))
    alone = ScaledRows(data[picked], np.arange(200), rows.centre, rows.scale)
    np.testing.assert_array_equal(
        found.weights, fit_linear_svm(alone, signs[picked], np.ones(200)).weights
    )


def test_what_has_not_converged_says_so(rng):
    data, signs, _ = noisy(rng, 2000, 30)
    rows = ScaledRows.of(data)
    short = fit_linear_svm(rows, signs, np.full(2000, 10.0), most=1)
    assert not short.converged and short.iterations == 1
    full = fit_linear_svm(rows, signs, np.full(2000, 10.0))
    assert full.converged and full.objective < short.objective


def test_the_length_is_that_of_the_least_value_on_the_line(rng):
    for _ in range(20):
        weights, step = rng.normal(size=5), rng.normal(size=5)
        places, moves = rng.normal(size=60), rng.normal(size=60)
        costs = rng.uniform(0.1, 1, size=60)

        def values(t):
            here = weights + t[:, None] * step  # noqa: B023
            gaps = np.maximum(0, 1 - places - t[:, None] * moves)  # noqa: B023
            return (here**2).sum(axis=1) / 2 + gaps**2 @ costs  # noqa: B023

        best = _best_length(weights, step, places, moves, costs)
        assert values(np.array([best]))[0] <= values(np.linspace(0, 20, 2001)).min() + 1e-12

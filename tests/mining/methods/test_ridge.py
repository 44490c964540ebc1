"""Ridge: the closed form, the choice of its penalty, and what correlated latents do."""

from __future__ import annotations

import numpy as np
import pytest

from mining.methods.ridge import RidgeConfig, fit_ridge, mine_ridge, slope_along
from mining.methods.svm import SvmConfig, mine_svm


@pytest.fixture
def skewed(rng):
    """Latents whose axes differ tenfold in spread, a squashed score, and its true direction."""
    mixing = np.linalg.qr(rng.normal(size=(20, 20)))[0] * np.geomspace(0.2, 2, 20)
    latents = rng.normal(size=(3000, 20)) @ mixing.T
    truth = rng.normal(size=20)
    truth /= np.linalg.norm(truth)
    place = latents @ truth
    return latents, 30 * np.tanh(place / place.std()) + rng.normal(size=3000), truth


def test_is_the_closed_form(rng):
    latents, scores = rng.normal(size=(40, 6)), rng.normal(size=40)
    fit = fit_ridge(latents, scores, 2.5)
    x, y = latents - latents.mean(axis=0), scores - scores.mean()
    weights = np.linalg.solve(x.T @ x + 2.5 * np.eye(6), x.T @ y)
    np.testing.assert_allclose(fit.weights, weights)
    gaps = scores - latents @ fit.weights - fit.intercept
    assert fit.r2 == pytest.approx(1 - (gaps**2).sum() / (y**2).sum())
    mined = mine_ridge(latents, scores, RidgeConfig(2.5))
    np.testing.assert_allclose(mined.vector, weights / np.linalg.norm(weights))


def test_gcv_is_its_definition_and_the_choice_its_minimum(rng):
    latents = rng.normal(size=(50, 10))
    scores = latents[:, 0] + rng.normal(size=50)
    x = latents - latents.mean(axis=0)
    y = scores - scores.mean()
    chosen = fit_ridge(latents, scores)

    def gcv(penalty):
        hat = x @ np.linalg.solve(x.T @ x + penalty * np.eye(10), x.T)
        return 50 * ((y - hat @ y) ** 2).sum() / (49 - np.trace(hat)) ** 2

    assert chosen.r2_gcv == pytest.approx(1 - gcv(chosen.penalty) / y.var(ddof=1))
    assert gcv(chosen.penalty) <= min(gcv(chosen.penalty * 2), gcv(chosen.penalty / 2))


def test_noise_raises_the_penalty(rng):
    latents = rng.normal(size=(300, 100))
    clean = latents @ np.ones(100)
    noisy = clean + 50 * rng.normal(size=300)
    assert fit_ridge(latents, noisy).penalty > 10 * fit_ridge(latents, clean).penalty


def test_more_numbers_than_rows_is_no_trouble(rng):
    latents = rng.normal(size=(60, 200))
    found = mine_ridge(latents, latents[:, 0] + 0.1 * rng.normal(size=60))
    assert found.vector[0] == max(abs(found.vector))


def test_finds_the_gradient_where_latents_are_correlated_and_svm_does_not(skewed):
    latents, scores, truth = skewed
    ridge = mine_ridge(latents, scores)
    svm = mine_svm(latents, scores, SvmConfig(share=0.3))
    assert ridge.vector @ truth > 0.99
    assert svm.vector @ truth < ridge.vector @ truth
    assert slope_along(latents, scores, truth) == pytest.approx(ridge.slope, rel=0.02)


def test_the_slope_is_slope_along_whatever_the_penalty(rng):
    latents = rng.normal(size=(200, 6))
    scores = 5 * latents[:, 0] + 0.1 * rng.normal(size=200)
    for penalty in (None, 1e-3, 1e4):
        found = mine_ridge(latents, scores, RidgeConfig(penalty))
        assert found.slope == pytest.approx(slope_along(latents, scores, found.vector))
        assert found.slope == pytest.approx(5, rel=0.02)


@pytest.mark.parametrize("width", [99, 100, 300])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_row_order_does_not_decide_the_penalty(rng, width, noise):
    latents = 3 + rng.normal(size=(100, width))
    scores = latents[:, 0] + noise * rng.normal(size=100)
    first = fit_ridge(latents, scores)
    for _ in range(5):
        order = rng.permutation(100)
        second = fit_ridge(latents[order], scores[order])
        assert second.penalty == pytest.approx(first.penalty, rel=1e-9)
        np.testing.assert_allclose(second.weights, first.weights, atol=1e-9)
        assert second.r2_gcv == pytest.approx(first.r2_gcv, abs=1e-9)


def test_gcv_is_its_definition_where_there_are_more_numbers_than_rows(rng):
    latents = rng.normal(size=(30, 80))
    scores = latents[:, 0] + rng.normal(size=30)
    x, y = latents - latents.mean(axis=0), scores - scores.mean()
    for penalty in (1e-2, 1.0, 50.0):
        hat = x @ np.linalg.solve(x.T @ x + penalty * np.eye(80), x.T)
        gcv = 30 * ((y - hat @ y) ** 2).sum() / (29 - np.trace(hat)) ** 2
        fit = fit_ridge(latents, scores, penalty)
        assert fit.r2_gcv == pytest.approx(1 - gcv / y.var(ddof=1), rel=1e-6)


def test_constant_scores_and_constant_latents_fit_to_nothing(rng):
    assert not fit_ridge(rng.normal(size=(9, 3)), np.full(9, 2.0)).weights.any()
    flat = fit_ridge(np.ones((9, 3)), rng.normal(size=9))
    assert not flat.weights.any()
    assert flat.r2 == pytest.approx(0)

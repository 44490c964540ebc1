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
    assert mine_ridge(latents, scores, RidgeConfig(2.5)).slope == pytest.approx(
        np.linalg.norm(weights)
    )


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

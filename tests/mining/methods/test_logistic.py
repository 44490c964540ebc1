"""Logistic regression: scikit-learn's optimum, correlated latents, its accuracy, few rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mining.methods.logistic import (
    LogisticConfig,
    chosen_penalty,
    fit_logistic,
    logistic_of,
    mine_logistic,
)
from mining.methods.ridge import fit_ridge
from mining.methods.scaled_rows import ScaledRows
from mining.methods.svm import SvmConfig, mine_svm


def odds(rng, rows: int, width: int):
    """Correlated latents whose axes differ in spread, a binary attribute, and its direction."""
    mixing = np.linalg.qr(rng.normal(size=(width, width)))[0] * np.geomspace(0.4, 2, width)
    latents = 2 + rng.normal(size=(rows, width)) @ mixing.T
    truth = rng.normal(size=width)
    truth /= np.linalg.norm(truth)
    place = (latents - 2) @ truth
    chance = 1 / (1 + np.exp(-2 * place / place.std()))
    return latents, (rng.random(rows) < chance).astype(float), truth


@pytest.mark.parametrize(("rows", "width"), [(600, 10), (30, 60)])
def test_the_optimum_is_that_of_scikit_learn(rng, rows, width):
    latents, scores, _ = odds(rng, rows, width)
    data, signs = ScaledRows.of(latents), np.where(scores > 0, 1, -1)
    found = fit_logistic(data, signs, LogisticConfig(penalty=0.01))
    theirs = LogisticRegression(
        C=1 / (0.01 * rows), class_weight="balanced", tol=1e-12, solver="newton-cg", max_iter=1000
    )
    theirs.fit((latents - data.centre) / data.scale, signs)
    assert found.converged
    np.testing.assert_allclose(found.weights[:-1], theirs.coef_[0], atol=1e-5)
    assert found.weights[-1] == pytest.approx(theirs.intercept_[0], abs=1e-5)


def test_finds_the_gradient_of_the_odds_where_latents_are_correlated(rng):
    latents, scores, truth = odds(rng, 8000, 20)
    found = mine_logistic(latents, scores)
    assert found.vector @ truth > 0.98  # under 11.5 degrees
    assert found.evidence["converged"] == 1
    svm = mine_svm(latents, scores, SvmConfig(split="all"))
    assert svm.vector @ truth < found.vector @ truth


@pytest.mark.parametrize(("rows", "width"), [(200, 30), (40, 60)])
def test_the_penalty_is_that_of_ridge_to_the_classes(rng, rows, width):
    latents, scores, _ = odds(rng, rows, width)
    data, signs = ScaledRows.of(latents), np.where(scores > 0, 1.0, -1.0)
    whole = (latents - data.centre) / data.scale
    wanted = fit_ridge(whole, signs).penalty / (4 * rows)
    assert chosen_penalty(data, signs) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("rows", "width"), [(400, 100), (800, 300)])
def test_noise_and_few_rows_raise_the_penalty(rng, rows, width):
    latents, scores, truth = odds(rng, rows, width)
    found = mine_logistic(latents, scores)
    free = mine_logistic(latents, scores, LogisticConfig(penalty=1e-4))
    assert found.evidence["penalty"] > 1e-3
    assert found.vector @ truth > free.vector @ truth


def test_the_accuracy_is_that_of_rows_not_fitted(rng):
    latents, noise = rng.normal(size=(300, 120)), rng.normal(size=300)
    assert 0.3 < mine_logistic(latents, noise).evidence["accuracy"] < 0.7
    latents[:, 0] += 4 * noise
    assert mine_logistic(latents, noise).evidence["accuracy"] > 0.85


def test_a_threshold_cuts_the_scores(rng):
    latents = rng.normal(size=(2000, 6))
    scores = np.where(latents[:, 0] > 1, 5 + latents[:, 1], latents[:, 2])
    middle = mine_logistic(latents, scores, LogisticConfig(threshold=3.0))
    assert middle.vector[0] > 0.95
    assert mine_logistic(latents, scores).vector[2] > 0.5  # the median asks another thing


def test_rows_in_a_file_give_the_same_direction(rng, tmp_path):
    latents, scores, _ = odds(rng, 9000, 8)
    latents = latents.astype(np.float32)
    latents.tofile(tmp_path / "rows")
    stored = np.memmap(tmp_path / "rows", np.float32, "r", shape=latents.shape)
    one = mine_logistic(latents, scores)
    other = logistic_of(stored, scores, LogisticConfig())
    np.testing.assert_allclose(other.vector, one.vector, atol=1e-7)


def test_what_has_not_converged_says_so(rng):
    latents, scores, _ = odds(rng, 500, 10)
    assert mine_logistic(latents, scores, LogisticConfig(iterations=1)).evidence["converged"] == 0

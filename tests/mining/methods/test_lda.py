"""Fisher's discriminant: the closed form, correlated latents, moments in parts, few rows."""

from __future__ import annotations

import numpy as np
import pytest

from mining.methods.lda import LdaConfig, lda_of, mine_lda
from mining.methods.moments import moments_of
from mining.methods.ridge import mine_ridge


@pytest.fixture
def skewed(rng):
    """Latents whose axes differ tenfold in spread, a squashed score, and its true direction."""
    mixing = np.linalg.qr(rng.normal(size=(20, 20)))[0] * np.geomspace(0.2, 2, 20)
    latents = 4 + rng.normal(size=(8000, 20)) @ mixing.T
    truth = rng.normal(size=20)
    truth /= np.linalg.norm(truth)
    place = (latents - 4) @ truth
    return latents, np.tanh(place / place.std()) + 0.1 * rng.normal(size=8000), truth


def test_is_the_closed_form(skewed):
    latents, scores, _ = skewed
    high = scores > np.median(scores)
    inside = sum(np.cov(x.T) * (len(x) - 1) for x in (latents[high], latents[~high])) / 7998
    pull = 0.01 * np.trace(inside) / 20 * np.eye(20)
    wanted = np.linalg.solve(
        inside + pull, latents[high].mean(axis=0) - latents[~high].mean(axis=0)
    )
    found = mine_lda(latents, scores, LdaConfig(penalty=0.01))
    np.testing.assert_allclose(found.vector, wanted / np.linalg.norm(wanted), atol=1e-10)


def test_finds_the_gradient_where_latents_are_correlated(skewed):
    latents, scores, truth = skewed
    found = mine_lda(latents, scores, LdaConfig(penalty=1e-5))
    assert found.vector @ truth > 0.98  # under 11.5 degrees
    assert found.evidence["separation"] > 1.5


def test_moments_in_parts_give_the_same(skewed):
    latents, scores, _ = skewed
    high = scores > np.median(scores)
    parts = [moments_of(np.array_split(latents[side], 5)) for side in (~high, high)]
    one, other = mine_lda(latents, scores), lda_of(*parts)
    np.testing.assert_allclose(other.vector, one.vector, atol=1e-9)
    assert other.evidence == pytest.approx(one.evidence)


def test_without_a_penalty_it_is_ridge_to_the_classes(rng):
    for rows, width in ((500, 60), (50, 60)):
        latents, scores = rng.normal(size=(rows, width)), rng.normal(size=rows)
        latents[:, 0] += scores
        signs = np.where(scores > np.median(scores), 1.0, -1.0)
        found = mine_lda(latents, scores)
        np.testing.assert_allclose(found.vector, mine_ridge(latents, signs).vector, atol=1e-8)
        assert found.evidence["penalty"] > 1e-3


def test_fewer_rows_than_numbers_is_the_same_solution(rng):
    latents, scores = rng.normal(size=(30, 80)), rng.normal(size=30)
    latents[:, 0] += 3 * scores
    high = scores > np.median(scores)
    parts = [moments_of([latents[side]]) for side in (~high, high)]
    config = LdaConfig(penalty=0.1)
    one, other = mine_lda(latents, scores, config), lda_of(*parts, config)
    np.testing.assert_allclose(one.vector, other.vector, atol=1e-8)
    assert one.evidence == pytest.approx(other.evidence)

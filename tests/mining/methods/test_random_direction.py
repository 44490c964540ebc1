"""The control: uniform on the sphere, turned towards the score, and of no use."""

from __future__ import annotations

import numpy as np
import pytest

from mining.methods.random_direction import RandomConfig, mine_random, random_of
from mining.methods.ridge import mine_ridge, slope_along


def test_its_cosine_to_the_truth_is_that_of_chance(rng):
    truth = np.eye(64)[3]
    cosines = np.array(
        [random_of(truth, 9, RandomConfig(seed)).vector @ truth for seed in range(500)]
    )
    assert (cosines >= 0).all()
    expected = random_of(truth, 9).evidence["rms_cosine"]
    assert expected == 1 / 8
    assert np.sqrt((cosines**2).mean()) == pytest.approx(expected, rel=0.1)  # 3 standard errors


def test_the_score_grows_along_it_and_decides_nothing_else(rng):
    latents = rng.normal(size=(300, 12))
    one, other = rng.normal(size=(2, 300))
    found = [mine_random(latents, scores) for scores in (one, other, -one)]
    assert abs(found[0].vector @ found[1].vector) == pytest.approx(1)
    assert all(direction.slope >= 0 for direction in found)
    assert found[0].evidence["flipped"] + found[2].evidence["flipped"] == 1
    assert found[0].slope == pytest.approx(slope_along(latents, one, found[0].vector))


def test_finds_nothing_where_ridge_does(rng):
    latents = rng.normal(size=(500, 256))
    scores = latents[:, 0]
    assert mine_ridge(latents, scores).vector[0] > 0.99
    assert mine_random(latents, scores).vector[0] < 0.3


def test_another_seed_is_another_direction(rng):
    latents, scores = rng.normal(size=(50, 64)), rng.normal(size=50)
    one, other = (mine_random(latents, scores, RandomConfig(seed)) for seed in (0, 1))
    assert abs(one.vector @ other.vector) < 0.6


@pytest.mark.parametrize("size", [8, 512])
def test_is_not_what_a_plain_generator_of_the_same_seed_draws(size):
    plain = np.random.default_rng(0).normal(size=size)
    found = random_of(np.ones(size), 9).vector
    assert abs(found @ plain) < 0.9 * np.linalg.norm(plain)

"""Stability on planted truth: what theory expects of halves, sizes and seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mining.evaluation.stability import Stability, StabilityConfig, measure_stability
from mining.methods.ridge import RidgeConfig, mine_ridge
from mining.methods.svm import SvmConfig, mine_svm
from schemas.errors import InputError

D = 20
MANY = StabilityConfig(halves=20, sizes=(0.1, 0.25, 0.5))
HALVES = StabilityConfig(halves=5, sizes=())


def planted(rng, rows: int, noise: float):
    """White latents, and a score of slope 1 along the first axis."""
    latents = rng.normal(size=(rows, D))
    return latents, latents[:, 0] + noise * rng.normal(size=rows)


def ridge(latents, scores):
    config = RidgeConfig(penalty=1e-6)  # as good as least squares, which the expectation is of
    return lambda rows, seed: mine_ridge(latents[rows], scores[rows], config).vector


def measured(latents, scores, config=MANY) -> Stability:
    mine = ridge(latents, scores)
    return measure_stability(mine, mine(np.arange(len(scores)), 0), latents, scores, config)


def test_a_strong_signal_is_stable_and_more_rows_make_it_more_so(rng):
    found = measured(*planted(rng, 1000, noise=0.05))
    assert found.low > 0.999 and len(found.halves) == 20
    rows, cosines = zip(*found.sizes, strict=True)
    assert rows == (100, 250, 500)
    assert 0.99 < cosines[0] < cosines[1] < cosines[2] < 1
    assert found.low <= found.mean <= found.high <= 1


def test_halves_come_out_as_expected_of_least_squares(rng):
    latents, scores = planted(rng, 200, noise=2.0)
    expected = 1 / (1 + D * 2.0**2 / (100 - D - 1))  # 0.497
    found = np.mean([measured(*planted(rng, 200, noise=2.0), HALVES).mean for _ in range(20)])
    assert found == pytest.approx(expected, abs=0.05)  # the draws' own standard error is 0.02
    assert measured(latents, scores).high < 0.95


def test_noise_alone_has_halves_that_agree_by_chance_only(rng):
    noise = [(rng.normal(size=(200, D)), rng.normal(size=200)) for _ in range(20)]
    means = [measured(*made, HALVES).mean for made in noise]
    assert abs(np.mean(means)) < 0.1  # 1 / sqrt(D) is 0.22 for one pair, a fifth of that for 20
    assert max(means) < 0.5


def test_the_split_is_that_of_the_rows_whatever_their_order(rng):
    latents, scores = planted(rng, 120, noise=1.0)
    shuffled = rng.permutation(len(scores))
    one, other = measured(latents, scores), measured(latents[shuffled], scores[shuffled])
    np.testing.assert_allclose(one.halves, other.halves, atol=1e-9)
    another = measured(latents, scores, StabilityConfig(halves=20, seed=1))
    assert set(one.halves).isdisjoint(another.halves)


def test_seeds_tell_where_chance_enters(rng):
    latents, scores = planted(rng, 300, noise=0.5)

    def mine(rows, seed):
        return mine_svm(latents[rows], scores[rows], SvmConfig(share=0.3, seed=seed)).vector

    whole, config = mine(np.arange(300), 0), StabilityConfig(halves=1, seeds=3)
    found = measure_stability(mine, whole, latents, scores, config, reseed=True)
    assert len(found.seeds) == 3 and all(0.9 < cosine < 0.99999 for cosine in found.seeds)
    assert measure_stability(mine, whole, latents, scores, config).seeds == ()


def test_each_set_of_rows_is_mined_once_and_a_half_is_half(rng):
    latents, scores = planted(rng, 101, noise=1.0)
    asked = []

    def mine(rows, seed):
        asked.append(tuple(rows))
        assert np.all(np.diff(rows) > 0)
        return ridge(latents, scores)(rows, seed)

    config = StabilityConfig(halves=2, sizes=(0.1, 50 / 101))
    measure_stability(mine, np.eye(D)[0], latents, scores, config)
    assert sorted(map(len, asked)) == [10, 10, 50, 50, 51, 51] and len(set(asked)) == 6


def test_rows_that_say_too_little_are_left_out_with_their_reason(rng):
    latents, scores = planted(rng, 60, noise=1.0)

    def mine(rows, seed):
        if len(rows) < 20:
            raise InputError("picky: expected at least 20.")
        return ridge(latents, scores)(rows, seed)

    found = measure_stability(mine, np.eye(D)[0], latents, scores)
    assert len(found.halves) == 3 and [rows for rows, _ in found.sizes] == [30]
    assert found.reason == "6 rows: picky: expected at least 20."
    with pytest.raises(InputError, match="3 rows came, expected at least 4"):
        measure_stability(mine, np.eye(D)[0], latents[:3], scores[:3])


def test_without_halves_nothing_is_known():
    found = Stability(())
    assert all(map(math.isnan, (found.mean, found.low, found.high)))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"halves": 0}, "halves is 0"),
        ({"sizes": (0.5, 1.0)}, "a size is 1.0"),
        ({"seeds": -1}, "seeds is -1"),
    ],
)
def test_a_wrong_plan_is_refused(settings, said):
    with pytest.raises(InputError, match=said):
        StabilityConfig(**settings)

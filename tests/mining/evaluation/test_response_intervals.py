"""Intervals of leak and identity cost: they cover what was planted, and are honest about little."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mining.evaluation.rescoring import Rescored, RescoringConfig
from mining.evaluation.response import identity_cost, identity_interval, leak_interval, respond

STEPS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
PAIRS = (("plan", "own"), ("plan", "other"), ("plan", "third"))
NAMES = {name: (extractor, name) for extractor, name in PAIRS}
SPREADS = {"own": 2.0, "other": 0.5, "third": 1.0}
SLOPES = np.array([1.0, 0.05, -0.2])  # relative: .5, .1, -.2, so the leak is sqrt(.025) / .5
LEAK = math.sqrt((0.1**2 + 0.2**2) / 2) / 0.5


def rescored(rng, identities=60, noise=0.1, distances=None) -> Rescored:
    """Every identity has the planted slopes with some spread of its own."""
    slopes = SLOPES * (1 + noise * rng.normal(size=(identities, 3)))
    values = slopes[:, None, :] * STEPS[:, None] + rng.normal(size=(identities, 1, 3))
    if distances is None:
        distances = np.abs(STEPS) * (0.3 + 0.05 * rng.normal(size=(identities, 1)))
    return Rescored(STEPS, 1.0, PAIRS, ("1",) * 3, values, distances, {}, ())


def test_the_interval_covers_the_planted_leak_and_narrows_with_more_identities():
    config = RescoringConfig(bootstrap=400)
    covered, widths = 0, {10: [], 160: []}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        low, high = leak_interval(rescored(rng), NAMES, SPREADS, "own", config)
        covered += low <= LEAK <= high
        for count, found in widths.items():
            ends = leak_interval(rescored(rng, count), NAMES, SPREADS, "own", config)
            found.append(ends[1] - ends[0])
    assert covered >= 33  # 95 % of 40 are 38; fewer than 33 have a chance below 1 in 1,000
    assert np.mean(widths[160]) == pytest.approx(np.mean(widths[10]) / 4, rel=0.3)


def test_the_interval_holds_the_leak_that_the_responses_tell(rng):
    found, config = rescored(rng), RescoringConfig(bootstrap=400)
    relative = [each.relative for each in respond(found, NAMES, SPREADS, config)]
    leak = math.sqrt((relative[1] ** 2 + relative[2] ** 2) / 2) / abs(relative[0])
    low, high = leak_interval(found, NAMES, SPREADS, "own", config)
    assert low < leak < high


def test_attributes_without_a_spread_or_a_value_are_no_part_of_it(rng):
    found, config = rescored(rng), RescoringConfig(bootstrap=200)
    whole = leak_interval(found, {k: NAMES[k] for k in ("own", "third")}, SPREADS, "own", config)
    found.values[:, :, 1] = np.nan
    assert leak_interval(found, NAMES, SPREADS, "own", config) == pytest.approx(whole)
    unspread = {**SPREADS, "other": math.nan}
    assert leak_interval(rescored(rng), NAMES, unspread, "own", config)[0] > 0


def test_one_identity_gives_no_interval(rng):
    config = RescoringConfig()
    assert all(map(math.isnan, leak_interval(rescored(rng, 1), NAMES, SPREADS, "own", config)))
    mean, low, high = identity_interval(rescored(rng, 1), config)
    assert mean > 0 and math.isnan(low) and math.isnan(high)


def test_the_cost_in_identity_is_covered_and_its_mean_is_the_cost():
    config, covered = RescoringConfig(bootstrap=300), 0
    for seed in range(40):
        found = rescored(np.random.default_rng(seed))
        mean, low, high = identity_interval(found, config)
        assert mean == identity_cost(found)
        covered += low <= 0.3 <= high
    assert covered >= 33


def test_without_a_single_distance_nothing_is_known(rng):
    found = rescored(rng, distances=np.full((60, 5), np.nan))
    assert all(map(math.isnan, identity_interval(found, RescoringConfig())))

"""What an edit costs in identity: planted angles between descriptors come out as 1 - cosine."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mining.evaluation.identity import identity_change, identity_changes
from mining.evaluation.rescoring import Rescored, RescoringConfig

STEPS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])


def turned(angles: np.ndarray, sigma: float = 1.0, steps: np.ndarray = STEPS) -> Rescored:
    """Descriptors of M faces that turn by (M,) radians for every sigma."""
    cosines = np.cos(angles[:, None] * steps)
    empty = np.empty((len(angles), len(steps), 0))
    return Rescored(
        steps * sigma, sigma, (), (), empty, np.full(cosines.shape, np.nan), {}, (), cosines
    )


def test_a_planted_angle_comes_out_whatever_sigma_is():
    for sigma in (0.1, 1.0, 30.0):
        mean, low, high = identity_change(turned(np.full(8, 0.5), sigma))
        assert mean == pytest.approx(1 - math.cos(0.5), abs=1e-12)
        assert low == pytest.approx(mean) and high == pytest.approx(mean)  # all faces alike


def test_both_signs_count_alike_and_what_lies_between_steps_is_interpolated():
    found = turned(np.full(3, 0.5))
    found.cosines[:, 1] = 1.0  # to the one side nothing changes
    assert identity_change(found)[0] == pytest.approx((1 - math.cos(0.5)) / 2)
    wide = turned(np.full(3, 0.5), steps=np.array([-2.0, 0.0, 2.0]))
    assert identity_change(wide)[0] == pytest.approx((1 - math.cos(1.0)) / 2)
    short = turned(np.full(3, 0.5), steps=np.array([-0.5, 0.0, 0.5]))
    assert np.isnan(identity_changes(short)).all()  # no step reaches one sigma


def test_the_interval_covers_the_mean_angle_and_narrows():
    config, truth = RescoringConfig(bootstrap=400), 1 - math.exp(-(0.1**2) / 2) * math.cos(0.5)
    covered, widths = 0, []
    for seed in range(40):
        angles = 0.5 + 0.1 * np.random.default_rng(seed).normal(size=100)
        _, low, high = identity_change(turned(angles), config)
        covered += low <= truth <= high
        widths.append(
            (high - low, np.subtract(*identity_change(turned(angles[:25]), config)[:0:-1]))
        )
    assert covered >= 33  # 95 % of 40 are 38; fewer than 33 have a chance below 1 in 1,000
    wide, narrow = np.mean(widths, axis=0)[::-1]
    assert wide == pytest.approx(2 * narrow, rel=0.2)  # a quarter of the faces


def test_lost_faces_and_missing_descriptors_are_left_out():
    found = turned(np.array([0.5, 0.5, 2.0]))
    found.cosines[2] = np.nan
    assert identity_change(found)[0] == pytest.approx(1 - math.cos(0.5))
    found.cosines[1] = np.nan
    mean, low, high = identity_change(found)
    assert mean == pytest.approx(1 - math.cos(0.5)) and math.isnan(low) and math.isnan(high)
    without = Rescored(STEPS, 1.0, (), (), np.empty((3, 5, 0)), np.full((3, 5), np.nan), {}, ())
    assert without.cosines.shape == (0, 0)  # as made before cosines were kept
    assert np.isnan(identity_change(without)).all()
    assert identity_changes(without).shape == (3,)

"""Which spreads are a measure of anything."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mining.evaluation.spread import real_spread


def test_a_spread_is_the_standard_deviation_of_what_was_measured(rng):
    values = np.append(rng.normal(3, 0.5, 1000), np.nan)
    assert real_spread(values, "1") == pytest.approx(np.nanstd(values), rel=1e-12)


@pytest.mark.parametrize(
    ("size", "unit", "real"),
    [
        (2e-6, "1", False),  # a blendshape that all images share
        (0.01, "1", False),  # less than a shift by one pixel changes it
        (0.05, "1", True),
        (2e-6, "share of the face", True),  # a unit says that its scale is another
        (0.001, "degrees", True),
        (0.0, "degrees", False),
        (0.0, "1", False),
    ],
)
def test_a_plain_number_must_vary_by_more_than_a_measurement_is_worth(rng, size, unit, real):
    found = real_spread(size * rng.normal(size=500), unit)
    assert math.isfinite(found) is real


def test_the_rounding_of_a_constant_is_no_spread(rng):
    constant = np.float32(4000.1) * (1 + np.float32(6e-8) * rng.integers(-1, 2, 500))
    assert constant.std() > 0
    assert math.isnan(real_spread(constant, "mm"))


def test_nothing_measured_has_no_spread():
    assert math.isnan(real_spread(np.full(5, np.nan), "mm"))
    assert math.isnan(real_spread(np.empty(0), "mm"))

"""Leaks without their noise: unbiased, with errors that hold, on planted responses."""

from __future__ import annotations

import numpy as np
import pytest

from mining.editing.leaks import leak_of
from schemas.errors import InputError

DRAWS = 4000


@pytest.mark.parametrize("truth", [[0.0] * 6, [0.02, -0.05, 0.1, 0, 0, 0.2]])
def test_is_unbiased_and_knows_its_error(rng, truth):
    errors = np.full(6, 0.04)
    true = float(np.mean(np.square(truth)))
    found = [leak_of(rng.normal(truth, errors), errors) for _ in range(DRAWS)]
    squares = np.array([leak.square for leak in found])
    assert squares.mean() == pytest.approx(true, abs=4 * squares.std() / np.sqrt(DRAWS))
    assert np.mean([leak.raw**2 for leak in found]) > true + 0.9 * 0.04**2  # noise and all
    assert np.median([leak.error for leak in found]) == pytest.approx(squares.std(), rel=0.35)
    above = np.mean([leak.most >= np.sqrt(true) for leak in found])
    assert above > 0.93


def test_what_noise_explains_is_not_resolved(rng):
    errors = np.full(6, 0.025)
    nothing = [leak_of(rng.normal(0, errors), errors).resolved for _ in range(DRAWS)]
    assert np.mean(nothing) < 0.06
    plenty = [leak_of(rng.normal(0.15, errors), errors).resolved for _ in range(200)]
    assert all(plenty)
    assert leak_of(np.full(3, 0.01), np.full(3, 0.02)).size == 0


def test_what_was_not_measured_is_left_out():
    found = leak_of(np.array([0.3, np.nan, 0.1]), np.array([0.1, 0.1, np.nan]))
    assert found.size == pytest.approx(np.sqrt(0.08)) and found.raw == pytest.approx(0.3)
    none = leak_of(np.full(2, np.nan), np.zeros(2))
    assert np.isnan([none.square, none.error, none.raw]).all() and not none.resolved
    with pytest.raises(InputError, match=r"changes \(2,\) and errors \(3,\)"):
        leak_of(np.zeros(2), np.zeros(3))

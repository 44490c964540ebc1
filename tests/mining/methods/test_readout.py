"""The read-out of an attribute from codes."""

from __future__ import annotations

import numpy as np
import pytest

from mining.methods.readout import fit_readout
from schemas.errors import InputError


def test_reads_a_linear_attribute_in_its_own_unit(rng):
    codes = rng.normal(size=(300, 5)) * [1, 1e-3, 10, 0.1, 1] + 4
    scores = codes @ [2, 300, 0, 0, 0] - 7 + 0.01 * rng.normal(size=300)
    readout = fit_readout(codes, scores)
    np.testing.assert_allclose(readout(codes), scores, atol=0.06)
    assert readout.weights[1] == pytest.approx(300, rel=0.01)
    assert readout.r2 > 0.999


def test_r2_is_held_out(rng):
    readout = fit_readout(rng.normal(size=(60, 20)), rng.normal(size=60))
    assert readout.r2 < 0.2


def test_a_constant_code_takes_no_weight(rng):
    codes = np.c_[rng.normal(size=100), np.ones(100)]
    readout = fit_readout(codes, codes[:, 0])
    assert readout.weights[1] == pytest.approx(0, abs=1e-12)


def test_errors_name_the_shapes():
    with pytest.raises(InputError, match=r"readout: latents \(9, 2\) and scores \(8,\)"):
        fit_readout(np.zeros((9, 2)), np.zeros(8))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"held_out": 0.99}, r"held_out 0.99 of 40 rows leaves 0 to fit"),
        ({"held_out": 1.5}, r"held_out is 1.5"),
        ({"held_out": 0.0}, r"held_out is 0.0"),
        ({"seed": -1}, r"seed is -1"),
    ],
)
def test_refuses_a_split_that_cannot_be(rng, settings, said):
    with pytest.raises(InputError, match=said):
        fit_readout(rng.normal(size=(40, 2)), rng.normal(size=40), **settings)


def test_row_order_does_not_matter_even_where_codes_tie(rng):
    codes = np.repeat(rng.normal(size=(30, 6)), 3, axis=0)  # three rows of every code
    codes[:, 3:] += rng.normal(size=(90, 3))  # that differ only in later columns
    scores = codes[:, 0] + rng.normal(size=90)
    order = rng.permutation(90)
    first, second = fit_readout(codes, scores), fit_readout(codes[order], scores[order])
    assert second.r2 == pytest.approx(first.r2, abs=1e-9)


def test_a_rare_score_that_the_training_rows_lack_is_no_trouble(rng):
    scores = np.zeros(60)
    scores[0] = 1
    for seed in range(12):  # in some draws the one lies in the held-out rows
        assert np.isfinite(fit_readout(rng.normal(size=(60, 3)), scores, seed=seed).weights).all()

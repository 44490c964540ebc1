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

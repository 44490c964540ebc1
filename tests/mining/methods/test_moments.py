"""Moments of rows in parts: what NumPy says of all rows, in any order, far from zero too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.methods.moments import Moments, moments_of
from mining.methods.pca import PcaConfig, mine_pca, pca_of
from schemas.errors import InputError


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(2, 60),
    width=st.integers(1, 6),
    parts=st.integers(1, 7),
    away=st.sampled_from([0.0, 1.0, 1e6]),
)
def test_parts_in_any_order_have_the_moments_of_all_rows(seed, rows, width, parts, away):
    rng = np.random.default_rng(seed)
    data = away + rng.normal(size=(rows, width))
    found = moments_of(np.array_split(data[rng.permutation(rows)], parts))
    assert found.rows == rows
    np.testing.assert_allclose(found.mean, data.mean(axis=0), rtol=1e-12, atol=1e-12)
    wanted = np.atleast_2d(np.cov(data.T))
    np.testing.assert_allclose(found.covariance, wanted, rtol=1e-6, atol=1e-9)


def test_blocks_of_float32_add_up_in_float64(rng):
    data = (100 + rng.normal(size=(20_000, 3))).astype(np.float32)
    found = Moments.of(data)
    np.testing.assert_allclose(found.covariance, np.cov(data.T.astype(np.float64)), rtol=1e-9)


def test_components_from_moments_are_those_of_a_full_decomposition(rng):
    spreads = np.geomspace(3, 0.1, 40)
    data = 5 + rng.normal(size=(3000, 40)) * spreads @ np.linalg.qr(rng.normal(size=(40, 40)))[0]
    config = PcaConfig(components=8)
    found = pca_of(moments_of(np.array_split(data, 9)), config)
    whole = np.linalg.svd(data - data.mean(axis=0), full_matrices=False)[2][:8]
    vectors = np.stack([direction.vector for direction in found])
    gap = vectors.T @ vectors - whole.T @ whole  # the two projectors
    assert np.linalg.norm(gap, 2) < 1e-6
    for one, other in zip(found, mine_pca(data, config), strict=True):
        assert one.vector @ other.vector == pytest.approx(1)
        assert one.evidence == pytest.approx(other.evidence)


def test_what_has_no_moments_is_said(rng):
    with pytest.raises(InputError, match="no row came"):
        moments_of([np.empty((0, 3))])
    with pytest.raises(InputError, match=r"\(3,\) came"):
        Moments.of(np.zeros(3))
    with pytest.raises(InputError, match="NaN or infinity"):
        Moments.of(np.array([[1.0, np.nan]]))
    with pytest.raises(InputError, match="2 and 3 columns"):
        moments_of([np.zeros((4, 2)), np.zeros((4, 3))])

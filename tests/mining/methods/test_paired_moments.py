"""Sums of latents and scores over parts: what regression on all rows finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.methods.paired_moments import (
    PairedMoments,
    each_paired,
    joint_moments,
    paired_moments_of,
)
from mining.methods.ridge import RidgeConfig, fit_ridge, mine_ridge, mine_ridge_of, ridge_of
from schemas.errors import InputError


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(2, 60),
    parts=st.integers(1, 7),
    away=st.sampled_from([0.0, 1.0, 1e5]),
)
def test_parts_in_any_order_have_the_sums_of_all_rows(seed, rows, parts, away):
    rng = np.random.default_rng(seed)
    x, y = away + rng.normal(size=(rows, 3)), away + rng.normal(size=rows)
    pieces = np.array_split(rng.permutation(rows), parts)
    found = paired_moments_of((x[piece], y[piece]) for piece in pieces)
    dx, dy = x - x.mean(axis=0), y - y.mean()
    assert found.rows == found.latents.rows == rows
    assert found.score_mean == pytest.approx(y.mean())
    np.testing.assert_allclose(found.mean, x.mean(axis=0))
    np.testing.assert_allclose(found.scatter, dx.T @ dx, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(found.pull, dx.T @ dy, rtol=1e-7, atol=1e-8)
    assert found.score_energy == pytest.approx(dy @ dy, rel=1e-7)


@pytest.mark.parametrize("penalty", [None, 1e-2, 1e3])
def test_ridge_from_sums_is_ridge(rng, penalty):
    x = 20 + rng.normal(size=(20_000, 30)) * np.geomspace(3, 0.1, 30)
    y = 5 + x @ rng.normal(size=30) + rng.normal(size=20_000)
    sums = paired_moments_of(zip(np.array_split(x, 7), np.array_split(y, 7), strict=True))
    config = RidgeConfig(penalty)
    one, other = mine_ridge(x, y, config), mine_ridge_of(sums, config)
    np.testing.assert_allclose(other.vector, one.vector, atol=1e-8)
    assert other.slope == pytest.approx(one.slope, rel=1e-8)
    assert other.evidence == pytest.approx(one.evidence, rel=1e-8)
    fits = fit_ridge(x, y, penalty), ridge_of(sums, penalty)
    assert fits[1].intercept == pytest.approx(fits[0].intercept, rel=1e-8)


def test_exact_scores_leave_nothing_negative(rng):
    x = rng.normal(size=(200, 5))
    fit = ridge_of(PairedMoments.of(x, x @ np.arange(5.0)))
    np.testing.assert_allclose(fit.weights, np.arange(5.0), atol=1e-6)
    assert 0.999999 < fit.r2 <= 1


def test_what_does_not_pair_up_is_said(rng):
    with pytest.raises(InputError, match=r"\(4, 2\).*\(3,\)"):
        PairedMoments.of(np.ones((4, 2)), np.ones(3))
    with pytest.raises(InputError, match="no row came"):
        paired_moments_of([(np.empty((0, 2)), np.empty(0))])
    with pytest.raises(InputError, match="NaN or infinity"):
        PairedMoments.of(np.ones((2, 2)), np.array([1.0, np.nan]))


@pytest.mark.parametrize("count", [1, 3])
def test_several_scores_share_the_sums_of_the_latents(rng, count):
    x = 3 + rng.normal(size=(20_000, 4)).astype(np.float32)
    scores = x @ rng.normal(size=(4, count)) + rng.normal(size=(20_000, count))
    for k, found in enumerate(each_paired(joint_moments(x, scores), 4)):
        alone = PairedMoments.of(x, scores[:, k])
        assert found.rows == alone.rows and found.scatter.shape == (4, 4)
        np.testing.assert_allclose(found.joint.mean, alone.joint.mean, rtol=1e-12)
        np.testing.assert_allclose(found.joint.scatter, alone.joint.scatter, rtol=1e-9)

"""Moments of rows in parts: what NumPy says of all rows, in any order, far from zero too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.methods.moments import BLOCK, Moments, moments_of
from mining.methods.pca import PcaConfig, explained, mine_pca, pca_of
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


@st.composite
def partitions(draw):
    """Rows with columns of very different sizes, cut into parts, and an order of the parts."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, width = draw(st.integers(2, 50)), draw(st.integers(1, 5))
    data = rng.normal(size=(rows, width)) * 10.0 ** rng.integers(-4, 5, width)
    cuts = sorted(draw(st.lists(st.integers(1, rows - 1), max_size=6, unique=True)))
    parts = np.split(np.sort(data, axis=0), cuts)  # sorted: no part is like another
    return parts, draw(st.permutations(range(len(parts))))


@given(partitions(), st.randoms(use_true_random=False))
def test_parts_may_be_added_in_any_order_and_as_any_tree(case, random):
    parts, order = case
    heap = [Moments.of(parts[k]) for k in order]
    while len(heap) > 1:
        one = heap.pop(random.randrange(len(heap)))
        heap.append(one + heap.pop(random.randrange(len(heap))))
    whole = Moments.of(np.concatenate(parts))
    assert heap[0].rows == whole.rows
    size = np.sqrt(np.diag(whole.scatter)) + np.finfo(float).tiny
    scale = np.outer(size, size)
    np.testing.assert_allclose(heap[0].scatter / scale, whole.scatter / scale, atol=1e-9)
    deviation = size / np.sqrt(whole.rows)
    np.testing.assert_allclose(heap[0].mean / deviation, whole.mean / deviation, atol=1e-9)


def test_blocks_differ_as_much_as_they_like(rng):
    """Sorted rows: the first block's mean is nothing like the others'."""
    data = np.sort(1e3 * rng.standard_cauchy(size=(3 * BLOCK + 7, 4)), axis=0)
    found = Moments.of(data)
    np.testing.assert_allclose(found.covariance, np.cov(data.T), rtol=1e-9)
    np.testing.assert_array_equal(found.scatter, found.scatter.T)
    np.testing.assert_allclose((Moments.of(data[:9]) + Moments.of(data[9:])).scatter, found.scatter)


def test_a_known_covariance_with_gaps_gives_its_axes(rng):
    """Planted spreads 8, 4, 2, then 1 of all others: planes are known where there is a gap."""
    axes = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    spreads = np.array([8.0, 4.0, 2.0, *np.ones(27)])
    parts = ((rng.normal(size=(5000, 30)) * spreads @ axes.T).astype(np.float32) for _ in range(8))
    found = moments_of(parts)
    vectors = np.stack([one.vector for one in pca_of(found, PcaConfig(components=3))], axis=1)
    for k in (1, 2, 3):  # sampling turns them by about s t / (s^2 - t^2) / sqrt(N) = 0.003
        rest = vectors[:, :k] - axes[:, :k] @ (axes[:, :k].T @ vectors[:, :k])
        assert np.linalg.norm(rest, 2) < 0.04
    shares = np.cumsum(spreads**2) / (spreads**2).sum()
    np.testing.assert_allclose(explained(found), shares, atol=0.01)
    with pytest.raises(InputError, match="no variance"):
        explained(Moments.of(np.ones((5, 2))))

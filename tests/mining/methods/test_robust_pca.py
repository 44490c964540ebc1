"""Robust PCA: exact recovery, the micromotion acceptance test, and honesty about convergence."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mining.methods import robust_pca as module
from mining.methods.anchor_motion import read, rotated_pursuit
from mining.methods.robust_pca import CONTINUATION, RobustPca, RobustPcaConfig, robust_pca
from schemas.errors import InputError

ANCHORS, CORRUPTED, WIDTH = 12, 3, 512


def motion(found, degrees):
    """The unit step along which the degrees of one identity grow, and its share of the energy."""
    step = read(found.low_rank, degrees, np.zeros(len(degrees), int), "component")
    return step / np.linalg.norm(step), found.component()[1]


def planted_anchors(rng):
    """Anchors minus their start: one motion by degrees, noise, and three damaged anchors."""
    truth = rng.normal(size=WIDTH)
    truth /= np.linalg.norm(truth)
    degrees = np.linspace(1 / ANCHORS, 1, ANCHORS)
    moves = 8 * degrees[:, None] * truth + 0.05 * rng.normal(size=(ANCHORS, WIDTH))
    for row in rng.choice(ANCHORS, CORRUPTED, replace=False):
        hit = rng.choice(WIDTH, WIDTH // 10, replace=False)
        moves[row, hit] += 2 * rng.normal(size=len(hit))
    return moves, degrees, truth


def test_finds_the_motion_in_spite_of_corrupted_anchors():
    robust, plain = [], []
    for seed in range(20):
        moves, degrees, truth = planted_anchors(np.random.default_rng(seed))
        vector, _ = motion(robust_pca(moves), degrees)
        robust.append(vector @ truth)  # signed: the degrees tell the sign
        plain.append(abs(np.linalg.svd(moves, full_matrices=False)[2][0] @ truth))
    assert np.mean(robust) >= 0.98
    assert np.mean(robust) > np.mean(plain)


def test_finds_a_motion_along_one_coordinate(rng):
    degrees = np.linspace(1 / ANCHORS, 1, ANCHORS)
    moves = 0.05 * rng.normal(size=(ANCHORS, WIDTH))
    moves[:, 7] += 8 * degrees
    vector, _ = motion(rotated_pursuit(moves, RobustPcaConfig(), seed=0), degrees)
    assert vector[7] > 0.99
    plain, _ = motion(robust_pca(moves), degrees)
    assert plain[7] < 0.9  # the pursuit itself takes it for damage


@pytest.mark.parametrize("width", [1, 2, 17, 512])
def test_the_rotation_keeps_the_data(rng, width):
    moves = rng.normal(size=(6, width))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one column is no matter for convergence
        found = rotated_pursuit(moves, RobustPcaConfig(), seed=3)
    gap = np.linalg.norm(moves - found.low_rank - found.sparse) / np.linalg.norm(moves)
    assert gap == pytest.approx(found.residual, abs=1e-12)


def test_without_centring_the_component_is_the_face_not_its_motion(rng):
    moves, degrees, truth = planted_anchors(rng)
    start = 20 * rng.normal(size=WIDTH) / np.sqrt(WIDTH)
    vector, _ = motion(robust_pca(moves + start), degrees)
    assert vector @ truth < 0.8


def test_recovers_a_sum_of_low_rank_and_sparse_exactly(rng):
    low = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 80))
    sparse = np.where(rng.random((60, 80)) < 0.05, 10 * rng.normal(size=(60, 80)), 0)
    found = robust_pca(low + sparse)
    assert found.converged
    assert found.rank == 3
    np.testing.assert_allclose(found.low_rank, low, atol=1e-4)
    np.testing.assert_allclose(found.sparse, sparse, atol=1e-4)


def damaged(rng, size, rank, share):
    """A low rank, the gross damage to it, and where that is."""
    low = rng.normal(size=(size, rank)) @ rng.normal(size=(rank, size))
    where = rng.uniform(size=low.shape) < share
    sparse = np.where(where, rng.choice([-1, 1], low.shape) * rng.uniform(1, 500, low.shape), 0)
    return low, sparse, where


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_recovers_exactly_what_theory_promises_in_thirty_iterations(rng, share):
    low, sparse, where = damaged(rng, 500, 25, share)
    found = robust_pca(low + sparse, CONTINUATION)
    assert found.converged and found.iterations <= 30
    assert found.rank == 25
    np.testing.assert_array_equal(abs(found.sparse) > 1e-6 * abs(found.sparse).max(), where)
    assert np.linalg.norm(found.low_rank - low) <= 1e-6 * np.linalg.norm(low)


def test_some_singular_values_alone_give_what_all_of_them_do(rng, monkeypatch):
    low, sparse, _ = damaged(rng, 120, 4, 0.05)
    whole = robust_pca(low + sparse, CONTINUATION)
    monkeypatch.setattr(module, "PARTIAL_FROM", 100)
    part = robust_pca(low + sparse, CONTINUATION)
    assert (part.rank, part.iterations) == (whole.rank, whole.iterations)
    np.testing.assert_allclose(part.low_rank, whole.low_rank, atol=1e-8 * abs(low).max())


@pytest.mark.parametrize("shape", [(12, 90), (90, 12), (40, 40), (1, 30)])
@pytest.mark.parametrize("threshold", [1e-9, 1e-3, 0.5, 1e9])
def test_shrunk_singular_values_are_those_of_a_full_decomposition(rng, shape, threshold):
    matrix = rng.normal(size=shape) + 20 * np.outer(rng.normal(size=shape[0]), np.ones(shape[1]))
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    kept = np.maximum(sizes - threshold, 0)
    found, rank = module._shrunk(matrix, threshold, min(shape))
    np.testing.assert_allclose(found, (left * kept) @ right, atol=1e-12 * sizes[0])
    assert rank == (kept > 0).sum()


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_the_size_of_numbers_does_not_matter(rng, scale):
    moves, _, _ = planted_anchors(rng)
    one, other = robust_pca(moves), robust_pca(scale * moves)
    assert (one.iterations, one.rank) == (other.iterations, other.rank) and other.converged
    np.testing.assert_allclose(other.low_rank / scale, one.low_rank, atol=1e-9)


def test_too_much_damage_is_no_exact_answer_and_says_nothing_else(rng):
    low, sparse, where = damaged(rng, 100, 30, 0.4)
    found = robust_pca(low + sparse, CONTINUATION)
    assert np.linalg.norm(low + sparse - found.low_rank - found.sparse) <= 1e-7 * np.linalg.norm(
        low + sparse
    )
    assert found.rank > 30 or (abs(found.sparse) > 1e-6 * abs(sparse).max()).sum() != where.sum()


def test_residual_is_relative_and_below_the_tolerance(rng):
    moves, _, _ = planted_anchors(rng)
    small, large = robust_pca(moves), robust_pca(1e6 * moves)
    gap = moves - small.low_rank - small.sparse
    assert small.residual == pytest.approx(np.linalg.norm(gap) / np.linalg.norm(moves))
    assert small.residual <= 1e-7
    assert small.iterations == large.iterations  # the scale of the data does not matter
    np.testing.assert_allclose(large.low_rank, 1e6 * small.low_rank, rtol=1e-6, atol=1e-3)


def test_a_growing_mu_ends_where_the_fixed_one_does(rng):
    moves, _, _ = planted_anchors(rng)

    def objective(found: RobustPca) -> float:
        nuclear = np.linalg.svd(found.low_rank, compute_uv=False).sum()
        return nuclear + abs(found.sparse).sum() / np.sqrt(WIDTH)

    fixed = robust_pca(moves, RobustPcaConfig(growth=1.0))
    growing = robust_pca(moves)
    assert growing.iterations < fixed.iterations
    assert objective(growing) == pytest.approx(objective(fixed), rel=1e-5)


def test_says_when_it_did_not_converge(rng):
    moves, _, _ = planted_anchors(rng)
    with pytest.warns(RuntimeWarning, match="after 3 iterations, not converged"):
        found = robust_pca(moves, RobustPcaConfig(iterations=3))
    assert not found.converged
    assert found.iterations == 3
    assert found.residual > 1e-7


def test_the_component_grows_with_the_degrees(rng):
    moves, degrees, truth = planted_anchors(rng)
    up, share = motion(robust_pca(moves), degrees)
    down, _ = motion(robust_pca(moves), -degrees)
    np.testing.assert_allclose(up, -down)
    assert 0.5 < share <= 1


def test_refuses_what_it_cannot_split():
    with pytest.raises(InputError, match=r"\(3,\)"):
        robust_pca(np.ones(3))
    with pytest.raises(InputError, match="is 0"):
        robust_pca(np.zeros((3, 4)))
    with pytest.raises(InputError, match="not finite"):
        robust_pca(np.full((3, 4), np.nan))
    with pytest.raises(InputError, match="tolerance"):
        RobustPcaConfig(tolerance=0)
    with pytest.raises(InputError, match="iterations is 2.5"):
        RobustPcaConfig(iterations=2.5)
    with pytest.raises(InputError, match="growth is 0.5"):
        RobustPcaConfig(growth=0.5)
    with pytest.raises(InputError, match="sparsity is -1"):
        RobustPcaConfig(sparsity=-1)

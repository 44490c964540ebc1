"""The shape model's fit in shards, spilled to files, and with landmarks that are grossly wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.methods.fit_parts import fit_parts, measured
from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from mining.methods.parts import LocalParts, SpilledParts
from mining.methods.robust_landmarks import robust_space
from mining.methods.row_parts import row_keys, usable_rows
from schemas.errors import InputError
from tests.mining.methods.test_refine import MODES, planted, planted_with_shape, procrustes

ROWS = 500
CONFIGS = {
    "closed": NrsfmConfig(MODES, "upgrade", sweeps=0, sample=150),
    "metric": NrsfmConfig(MODES, "metric", sweeps=0, sample=150),
    "joint": NrsfmConfig(MODES, "metric", sweeps=30, passes=8, sample=150),
    "none": NrsfmConfig(MODES, "none", sweeps=0, sample=150),
    "als": NrsfmConfig(MODES, "upgrade", sweeps=0, sample=150, search="als"),
    "robust": NrsfmConfig(MODES, "metric", sweeps=30, passes=5, sample=150, robust=True),
}


def sharded(landmarks, rng):
    """Shards of uneven sizes in any order, and the rows that each holds."""
    cuts = np.sort(rng.choice(np.arange(1, len(landmarks)), 6, replace=False))
    shards = np.split(rng.permutation(len(landmarks)), cuts)
    return [landmarks[rows] for rows in shards], shards


def span(rows):
    """The projector on the span of (K, L) rows."""
    left = np.linalg.qr(rows.T)[0]
    return left @ left.T


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_shards_in_any_order_give_the_result_of_all_rows_at_once(rng, tmp_path, config):
    landmarks, _ = planted(rng, rows=ROWS)
    whole = fit_nrsfm(landmarks, config)
    shards, rows = sharded(landmarks, rng)
    sources = [lambda shard=shard: shard for shard in shards]
    for parts in (
        LocalParts(shards),
        LocalParts(shards, workers=2),
        SpilledParts(tmp_path, sources),
    ):
        found = fit_parts(parts, config)
        assert found.rows == ROWS and (found.missing, found.flat) == (0, 0)
        assert found.model.objective == pytest.approx(whole.objective, rel=1e-8)
        np.testing.assert_allclose(span(found.model.basis), span(whole.basis), atol=1e-8)
        np.testing.assert_allclose(found.model.mean_shape, whole.mean_shape, atol=1e-8)
        codes = np.concatenate(list(found.codes))
        np.testing.assert_allclose(codes, whole.codes[np.concatenate(rows)], atol=1e-5)
        gaps = whole.project(codes) - landmarks[np.concatenate(rows)]
        assert (gaps**2).sum() == pytest.approx(
            ((whole.project(whole.codes) - landmarks) ** 2).sum()
        )
    left = {file.name.partition("-")[0] for file in tmp_path.iterdir()}
    assert len(left) == 1  # the files of earlier steps are gone


def test_noisy_rows_turn_as_their_rigid_landmarks_say_and_so_do_new_ones(rng):
    landmarks, codes = planted(rng, rows=ROWS, noise=0.015)
    config = NrsfmConfig(MODES, "metric", sweeps=60, sample=150)
    whole = fit_nrsfm(landmarks, config)
    assert whole.rigid is not None and len(whole.rigid.landmarks) == 18
    assert whole.relative_residual <= whole.closed_residual
    shards, rows = sharded(landmarks, rng)
    found = fit_parts(LocalParts(shards), config)
    assert found.model.rigid is not None
    np.testing.assert_array_equal(found.model.rigid.landmarks, whole.rigid.landmarks)
    np.testing.assert_allclose(found.model.rigid.shape, whole.rigid.shape, atol=1e-8)
    np.testing.assert_allclose(
        np.concatenate(list(found.codes)), whole.codes[np.concatenate(rows)], atol=1e-5
    )
    again = whole.fit(landmarks)
    np.testing.assert_allclose(again[:, 3:6], whole.codes[:, 3:6], atol=1e-6)
    assert (
        whole.residuals(landmarks, again) <= whole.residuals(landmarks, whole.codes)
    ).mean() > 0.9
    for k in (3, 4, 5):  # angles are the true ones but for one rotation of all, which is small
        assert np.corrcoef(whole.codes[:, k], codes[:, k])[0, 1] > 0.9


def test_a_sample_that_is_refined_and_passed_on_is_as_good_as_all_rows(rng):
    landmarks, _ = planted(rng, rows=1500)
    whole = fit_nrsfm(landmarks, NrsfmConfig(MODES, sweeps=100))
    sampled = fit_nrsfm(landmarks, NrsfmConfig(MODES, sweeps=100, sample=200))
    assert sampled.objective <= 1.02 * whole.objective
    assert sampled.relative_residual < 0.5 * sampled.closed_residual


def test_rows_that_miss_landmarks_or_lie_on_a_line_are_skipped_and_counted(rng):
    landmarks, _ = planted(rng, rows=200)
    spoilt = landmarks.copy()
    spoilt[[3, 50], 4, 1] = np.nan
    spoilt[120, 0, 0] = np.inf
    spoilt[7] = np.linspace(0.2, 0.8, landmarks.shape[1])[:, None] * [1, 0.7]
    empty = np.full((4, landmarks.shape[1], 2), np.nan)
    config = NrsfmConfig(MODES, sweeps=10)
    found = fit_parts(LocalParts([empty[:0], spoilt[:90], empty, spoilt[90:]]), config)
    assert (found.rows, found.missing, found.flat) == (196, 7, 1)
    np.testing.assert_array_equal(np.flatnonzero(~usable_rows(spoilt)), [3, 7, 50, 120])
    kept = fit_nrsfm(np.delete(landmarks, [3, 7, 50, 120], axis=0), config)
    np.testing.assert_allclose(found.model.mean_shape, kept.mean_shape, atol=1e-8)
    np.testing.assert_allclose(np.concatenate(list(found.codes)), kept.codes, atol=1e-5)


def test_what_cannot_be_fitted_is_said(rng):
    landmarks, _ = planted(rng, rows=60)
    with pytest.raises(InputError, match="30 and 29 landmarks"):
        fit_parts(LocalParts([landmarks[:30], landmarks[30:, 1:]]), NrsfmConfig(MODES))
    with pytest.raises(InputError, match=r"\(60, 30\), expected \(N, L, 2\)"):
        fit_parts(LocalParts([landmarks[..., 0]]), NrsfmConfig(MODES))
    for nothing in (np.full_like(landmarks, np.nan), landmarks[:0]):
        with pytest.raises(InputError, match="0 rows of 30 landmarks cannot carry"):
            fit_parts(LocalParts([nothing]), NrsfmConfig(MODES))
    with pytest.raises(InputError, match=r"\(60, 0, 2\), expected \(N, L, 2\)"):
        fit_nrsfm(landmarks[:, :0], NrsfmConfig(MODES))
    with pytest.raises(InputError, match="2 rows of a sample of 2 differ; expected at least 4"):
        fit_nrsfm(landmarks, NrsfmConfig(MODES, sample=2))
    with pytest.raises(InputError, match="rows of a sample of 20 have enough landmarks that agree"):
        fit_nrsfm(landmarks[:20], NrsfmConfig(16, robust=True))


def test_rows_that_come_many_times_are_in_the_sample_once(rng):
    landmarks, _ = planted(rng, rows=60)
    for first in range(3):  # among few one has the smallest key, and filled the sample alone
        often = np.concatenate([np.repeat(landmarks[first : first + 1], 120, axis=0), landmarks])
        moments = measured(LocalParts(np.array_split(often, 3)), NrsfmConfig(sample=100))
        assert (moments.rows, len(moments.sample)) == (180, 60)
        np.testing.assert_array_equal(
            np.unique(moments.sample, axis=0), np.unique(landmarks, axis=0)
        )
    found = fit_nrsfm(often, NrsfmConfig(MODES, sweeps=10, sample=100))
    np.testing.assert_allclose(found.codes[:120], found.codes[:1].repeat(120, axis=0), atol=1e-9)


def test_a_row_of_which_too_little_is_right_costs_the_others_nothing(rng):
    landmarks, _ = planted(rng, rows=200)
    landmarks[10, :28] = 0.4  # to the robust fit the other two are errors, and these fix no camera
    config = NrsfmConfig(MODES, sweeps=10, robust=True)
    found = fit_parts(LocalParts([landmarks[:90], landmarks[90:]]), config)
    codes = np.concatenate(list(found.codes))
    assert np.isnan(codes[10]).all() and np.isfinite(np.delete(codes, 10, axis=0)).all()
    gaps = found.model.project(np.delete(codes, 10, axis=0)) - np.delete(landmarks, 10, axis=0)
    assert np.sqrt((gaps**2).mean()) < 2e-3
    with pytest.raises(InputError, match="1 of 200 rows are collinear as the shape model sees"):
        fit_nrsfm(landmarks, config)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 40), points=st.integers(1, 9))
def test_keys_hang_on_the_rows_values_alone(seed, rows, points):
    rng = np.random.default_rng(seed)
    landmarks = rng.uniform(size=(rows, points, 2)).astype(np.float32)
    order = rng.permutation(rows)
    keys = row_keys(landmarks)
    np.testing.assert_array_equal(row_keys(landmarks[order]), keys[order])
    assert len(np.unique(keys)) == rows


def spoilt_by(landmarks, rng, share=0.1):
    """Landmarks of which a share lies anywhere, and which they are."""
    wrong = rng.uniform(size=landmarks.shape[:2]) < share
    spoilt = landmarks.copy()
    spoilt[wrong] += rng.uniform(-0.4, 0.4, size=(int(wrong.sum()), 2))
    return spoilt, wrong


def test_gross_errors_leave_the_shape_within_twice_its_clean_error(rng):
    landmarks, _, exact = planted_with_shape(rng, rows=900, noise=2e-3)
    spoilt, wrong = spoilt_by(landmarks, rng)
    clean = fit_nrsfm(landmarks, NrsfmConfig(MODES))
    robust = fit_nrsfm(spoilt, NrsfmConfig(MODES, robust=True))
    naive = fit_nrsfm(spoilt, NrsfmConfig(MODES))
    error = [procrustes(found.mean_shape, exact) for found in (clean, robust, naive)]
    assert error[1] <= 2 * error[0]
    assert error[2] > 2 * error[0]  # so that the option is what does it
    gaps = np.linalg.norm(robust.project(robust.codes) - landmarks, axis=2)
    assert np.median(gaps) < 4e-3 and gaps[~wrong].mean() < 6e-3


def test_a_robust_space_of_clean_landmarks_is_the_plain_one(rng):
    landmarks, _ = planted(rng, rows=400, noise=1e-3)
    found = robust_space(landmarks, MODES)
    plain = fit_nrsfm(landmarks, NrsfmConfig(MODES, "none", sweeps=0))
    both = np.concatenate([plain.mean_shape, plain.basis])
    assert np.linalg.norm(span(found.rows) - span(both)) < 0.1
    points, shift, rest = found.coordinates(landmarks[:50])
    again = points @ found.rows + shift[:, :, None]
    assert np.abs(again.transpose(0, 2, 1) - landmarks[:50]).max() < 6e-3
    assert rest > 0

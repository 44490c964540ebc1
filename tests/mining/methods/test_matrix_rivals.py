"""The closed forms on planted people: each finds what it can find, and says how well."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mining.methods.matrix_rivals import (
    RIVALS,
    frame_of,
    inverse,
    mean_jacobian,
    regression,
    ridge_inverted,
    within_sequences,
)
from schemas.errors import InputError
from tests.mining.methods.planted_matrix import CONFIG, NAMES, ROWS, D, K, cosines, people


@pytest.fixture(scope="module")
def planted():
    return people()


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_finds_the_planted_columns(name, planted):
    matrix = RIVALS[name](planted.rows, planted.rows.codes, CONFIG)
    assert matrix.names == NAMES
    assert cosines(matrix, planted.motion).min() > 0.9
    latents = planted.rows.latents
    read = matrix.parameters(latents)
    for k in range(K):
        assert np.corrcoef(read[:, k], planted.truth[:, k])[0, 1] > 0.95
    assert 0.9 < matrix.evidence["r2_yaw"] <= 1


@pytest.mark.parametrize("make", [ridge_inverted, within_sequences, mean_jacobian])
def test_a_transfer_lands_where_it_is_read(make, planted):
    matrix = make(planted.rows, planted.rows.codes, CONFIG)
    w_plus = np.repeat(planted.rows.latents[:6, None], ROWS, axis=1)
    moved = matrix.transferred(w_plus[:3], w_plus[3:])
    found, wanted = (matrix.parameters(matrix.latents(rows)) for rows in (moved, w_plus[3:]))
    np.testing.assert_allclose(found / matrix.scale, wanted / matrix.scale, atol=1e-3)


def test_identity_in_what_is_measured_misleads_all_but_pairs():
    leaking = people(leak=2.0)
    found = {
        name: cosines(make(leaking.rows, leaking.rows.codes, CONFIG), leaking.motion)[3]
        for name, make in RIVALS.items()
    }
    assert found.pop("within_sequences") > 0.97
    assert max(found.values()) < 0.85


def test_noise_in_p_shortens_the_regression_alone():
    noisy = people(sequences=0)
    codes = noisy.rows.codes
    moving = codes.moving + np.random.default_rng(1).normal(size=codes.moving.shape) * 12
    codes = dataclasses.replace(codes, moving=np.where(np.arange(K) == 0, moving, codes.moving))
    true = np.linalg.norm(noisy.motion[0])
    short = regression(noisy.rows, codes, CONFIG).vectors[0]
    right = ridge_inverted(noisy.rows, codes, CONFIG).vectors[0]
    assert np.linalg.norm(short) / true == pytest.approx(0.5, abs=0.1)  # half of p is noise
    assert np.linalg.norm(right) / true == pytest.approx(1, abs=0.15)


def test_the_jacobian_of_an_nrsfm_model_is_read_through_its_codes(planted):
    class Linear:
        """phi(w) = w M: codes are a mixture of everything that latents hold."""

        mixing = np.random.default_rng(5).normal(size=(D, D))

        def predict(self, latents):
            return latents @ self.mixing

        def jacobian(self, latents):
            return np.broadcast_to(self.mixing.T, (len(latents), D, D))

    class Control:
        regressor = Linear()

    matrix = mean_jacobian(planted.rows, planted.rows.codes, CONFIG, Control())
    assert matrix.method == "mean_jacobian"
    assert cosines(matrix, planted.motion).min() > 0.95


def test_pairs_are_needed_for_the_one_within_them():
    alone = people(sequences=0)
    with pytest.raises(InputError, match="no sequences"):
        within_sequences(alone.rows, alone.rows.codes, CONFIG)


def test_shuffled_rows_give_the_same_numbers(planted, rng):
    from mining.methods.matrix_mining import taken

    rows = taken(planted.rows, rng.permutation(len(planted.rows)))
    for name in ("ridge_inverted", "regression", "within_sequences"):
        first = RIVALS[name](planted.rows, planted.rows.codes, CONFIG).vectors
        np.testing.assert_allclose(RIVALS[name](rows, rows.codes, CONFIG).vectors, first, rtol=1e-6)


def test_an_inverse_holds_what_it_does_not_change(rng):
    weights, mask = rng.normal(size=(3, 8)), np.array([1.0] * 6 + [0.0] * 2)
    steps = inverse(weights, mask)
    np.testing.assert_allclose(weights @ steps.T, np.eye(3), atol=1e-12)
    assert not steps[:, 6:].any()


def test_ranges_leave_tails_out_and_angles_have_scales_of_their_own(planted):
    codes = planted.rows.codes
    frame = frame_of(planted.rows, codes.names, codes.units, codes.moving, CONFIG)
    assert (codes.moving[:, 3] < frame.low[3]).mean() == pytest.approx(0.005, abs=0.003)
    np.testing.assert_allclose(frame.scale[:3] * CONFIG.reach, [40, 20, 20])
    np.testing.assert_allclose(frame.scale[3:] * 2 * CONFIG.reach, (frame.high - frame.low)[3:])
    extreme = dataclasses.replace(CONFIG, extremes=True)
    wide = frame_of(planted.rows, codes.names, codes.units, codes.moving, extreme)
    np.testing.assert_array_equal(wide.high, codes.moving.max(axis=0))


def test_rows_without_a_face_count_nothing(planted):
    codes = planted.rows.codes
    moving = codes.moving.copy()
    moving[::7] = np.nan
    found = ridge_inverted(planted.rows, dataclasses.replace(codes, moving=moving), CONFIG)
    assert cosines(found, planted.motion).min() > 0.9
    moving[5:] = np.nan
    with pytest.raises(InputError, match="expected at least 10"):
        ridge_inverted(planted.rows, dataclasses.replace(codes, moving=moving), CONFIG)

"""Latents back from features: a planted encoder is found, and what does not fit is named."""

from __future__ import annotations

import numpy as np
import pytest

from mining.methods.inversion import correlations, explained_share, fit_encoder, known_rows
from schemas.errors import InputError

WIDE = 12  # numbers of a latent


def planted(rows: int = 600, noise: float = 0.05, seed: int = 0):
    """Two kinds of features, in units 1000 apart, that together show 10 of a latent's numbers."""
    made = np.random.default_rng(1)
    first, second = made.standard_normal((5, 10)), 1000 * made.standard_normal((8, 10))
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((rows, WIDE)).astype(np.float32)
    shown = latents[:, :10]
    one = shown @ first.T + noise * rng.standard_normal((rows, 5))
    other = shown @ second.T + 1000 * noise * rng.standard_normal((rows, 8)) + 5000
    return {"points": one.astype("f4"), "pixels": other.astype("f4")}, latents


def test_a_planted_encoder_is_found_and_says_how_good_it_is():
    encoder = fit_encoder(*planted())
    features, latents = planted(seed=2)
    found = encoder.invert(features)
    assert found.shape == latents.shape and found.dtype == np.float32
    r = correlations(latents, found)
    assert r[:10].min() > 0.95
    assert np.abs(r[10:]).max() < 0.2  # which no feature shows
    assert found[:, 10:].std() < 0.1
    told = explained_share(latents, found)
    assert told == pytest.approx(10 / 12, abs=0.04)
    assert encoder.explained == pytest.approx(told, abs=0.04)


def test_the_order_of_rows_and_the_units_of_features_do_not_matter():
    features, latents = planted()
    mixed = np.random.default_rng(3).permutation(len(latents))
    fresh, _ = planted(seed=2)
    expected = fit_encoder(features, latents).invert(fresh)
    shuffled = {kind: values[mixed] for kind, values in features.items()}
    found = fit_encoder(shuffled, latents[mixed]).invert(fresh)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    scaled, new = ({**each, "points": 64 * each["points"]} for each in (features, fresh))
    np.testing.assert_allclose(fit_encoder(scaled, latents).invert(new), expected, atol=1e-4)


def test_images_without_a_face_teach_nothing_and_have_no_latent():
    features, latents = planted()
    expected = fit_encoder({k: v[40:] for k, v in features.items()}, latents[40:])
    features["points"][:40, 2] = np.nan
    encoder = fit_encoder(features, latents)
    assert encoder.reading.rows == 560
    fresh, _ = planted(seed=2)
    np.testing.assert_array_equal(encoder.invert(fresh), expected.invert(fresh))
    fresh["pixels"][3] = np.nan
    found = encoder.invert(fresh)
    assert np.isnan(found[3]).all() and np.isfinite(np.delete(found, 3, axis=0)).all()
    assert known_rows(fresh).sum() == 599


def test_a_constant_feature_does_no_harm():
    features, latents = planted()
    fresh, _ = planted(seed=2)
    expected = fit_encoder(features, latents).invert(fresh)
    for each in (features, fresh):
        each["same"] = np.full((len(latents), 3), 7, np.float32)
    np.testing.assert_allclose(fit_encoder(features, latents).invert(fresh), expected, atol=1e-5)


def test_what_does_not_fit_is_named():
    features, latents = planted()
    with pytest.raises(InputError, match=r"600 images and latents \(599, 12\) do not pair up"):
        fit_encoder(features, latents[1:])
    with pytest.raises(InputError, match=r"points \(600, 5\), pixels \(599, 8\) came"):
        fit_encoder({**features, "pixels": features["pixels"][1:]}, latents)
    with pytest.raises(InputError, match="features none came"):
        fit_encoder({}, latents)
    blind = {**features, "points": np.full((600, 5), np.nan)}
    with pytest.raises(InputError, match="of 0 of 600 images all features are known"):
        fit_encoder(blind, latents)
    encoder = fit_encoder(features, latents)
    with pytest.raises(InputError, match="pixels of no numbers came; expected 8"):
        encoder.invert({"points": features["points"]})
    with pytest.raises(InputError, match=r"pixels of \(3,\) numbers came; expected 8"):
        encoder.invert({**features, "pixels": features["pixels"][:, :3]})


def test_correlations_and_shares_of_what_is_constant_are_not_a_number():
    one = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    np.testing.assert_allclose(correlations(one, -2 * one), [-1, np.nan])
    assert explained_share(one, one) == 1
    assert np.isnan(explained_share(one[:1], one[1:2]))

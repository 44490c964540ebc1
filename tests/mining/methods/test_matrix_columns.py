"""Columns for one parameter alone, against planted motions that are measured with noise."""

from __future__ import annotations

import numpy as np
import pytest

from mining.methods.gcv_ridge import fit_within
from mining.methods.matrix_columns import single_columns

WIDTH, COUNT, FRAMES = 24, 3, 5


def planted(rng, noise, sequences=400):
    """Three motions; the third is measured with noise, and with traces of the first."""
    truth = np.linalg.qr(rng.normal(size=(WIDTH, COUNT)))[0].T
    groups = np.repeat(np.arange(sequences), FRAMES)
    motion = rng.normal(size=(len(groups), COUNT))
    still = rng.normal(size=(sequences, WIDTH))[groups]
    latents = still - still @ truth.T @ truth + motion @ truth
    mixing = np.array([[1.0, 0, 0], [0, 1, 0], [-0.8, 0, 0.5]])
    measured = motion @ mixing.T + rng.normal(size=motion.shape) * [0.1, 0.1, noise]
    measured += rng.normal(size=(sequences, COUNT))[groups]  # what identity adds
    return truth, latents, measured, groups


def cosines(found, truth):
    return (found * truth).sum(axis=1) / np.linalg.norm(found, axis=1)


def test_a_noisy_parameter_is_not_held_at_the_cost_of_the_others(rng):
    truth, latents, measured, groups = planted(rng, noise=3.0)
    reading = fit_within(latents, measured, groups)
    held = np.linalg.pinv(reading.weights).T
    alone = single_columns(held, reading.weights, latents, measured, groups)
    assert cosines(held, truth)[0] < 0.8  # holding the third parameter drags the third motion
    assert cosines(alone, truth)[:2].min() > 0.98
    own = np.einsum("kd,kd->k", reading.weights, alone)
    np.testing.assert_allclose(own, 1, rtol=1e-12)


def test_without_noise_they_are_the_matrix_itself(rng):
    truth, latents, measured, groups = planted(rng, noise=0.0)
    reading = fit_within(latents, measured, groups)
    held = np.linalg.pinv(reading.weights).T
    alone = single_columns(held, reading.weights, latents, measured, groups)
    assert (cosines(alone, held / np.linalg.norm(held, axis=1)[:, None]) > 0.99).all()


@pytest.mark.parametrize("spoil", ["few", "constant", "unmeasured"])
def test_rows_that_say_nothing_leave_the_matrix(spoil, rng):
    _, latents, measured, groups = planted(rng, noise=1.0, sequences=20)
    reading = fit_within(latents, measured, groups)
    held = np.linalg.pinv(reading.weights).T
    if spoil == "few":
        latents, measured, groups = latents[:6], measured[:6], groups[:6]
    elif spoil == "constant":
        measured = measured * [1, 1, 0]
    else:
        measured = np.full_like(measured, np.nan)
    assert single_columns(held, reading.weights, latents, measured, groups) is held

"""Analytic edits land where they were asked to, by short ways."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mining.editing.analytic import edit_to_attribute, edit_to_codes
from mining.methods.readout import Readout
from mining.methods.regressor import Regressor
from schemas.errors import InputError

WIDTH, CODES = 30, 5


@pytest.fixture
def regressor(rng) -> Regressor:
    """A random network, two hidden layers wide enough to be nearly smooth."""
    sizes = (WIDTH, 400, 400, CODES)
    weights = tuple(
        rng.normal(size=(out, into)) * np.sqrt(2 / into)
        for into, out in zip(sizes, sizes[1:], strict=False)
    )
    biases = tuple(rng.normal(size=size) for size in sizes[1:])
    spread = np.array([1.0, 0.01, 3.0, 0.2, 1.0])
    centre, radius = np.zeros(WIDTH), np.sqrt(WIDTH)
    return Regressor(
        weights, biases, centre, radius, np.ones(CODES), spread, (), (), (), best_epoch=0
    )


@pytest.fixture
def readout(rng) -> Readout:
    return Readout(rng.normal(size=CODES), 2.0, 1.0, 1.0)


def test_codes_land_and_every_step_is_kept(regressor, rng):
    start = rng.normal(size=(4, WIDTH))
    target = regressor.predict(start) + 0.5 * rng.normal(size=(4, CODES)) * regressor.spread
    edit = edit_to_codes(regressor, start, target)
    assert edit.trajectory.shape == (9, 4, WIDTH)
    assert edit.codes.shape == (9, 4, CODES)
    np.testing.assert_array_equal(edit.trajectory[0], start)
    np.testing.assert_array_equal(edit.codes[-1], regressor.predict(edit.latents))
    asked = np.linalg.norm((target - edit.codes[0]) / regressor.spread, axis=1)
    missed = np.linalg.norm(edit.missed / regressor.spread, axis=1)
    assert (missed < 0.03 * asked).all()


def test_the_gap_closes_evenly(regressor, rng):
    start = rng.normal(size=(4, WIDTH))
    target = regressor.predict(start) + 0.3 * regressor.spread
    edit = edit_to_codes(regressor, start, target, steps=5)
    gaps = np.linalg.norm((edit.codes - target) / regressor.spread, axis=2)
    np.testing.assert_allclose(
        gaps / gaps[0], np.outer([1, 0.8, 0.6, 0.4, 0.2, 0], np.ones(4)), atol=0.05
    )


def test_more_steps_land_nearer_than_one(regressor, rng):
    start = rng.normal(size=(20, WIDTH))
    target = regressor.predict(start) + 2 * regressor.spread
    one, many = (edit_to_codes(regressor, start, target, steps) for steps in (1, 16))
    assert (abs(many.missed) / regressor.spread).mean() < (
        abs(one.missed) / regressor.spread
    ).mean() / 3


def test_one_step_is_equation_14(regressor, rng):
    start = rng.normal(size=(2, WIDTH))
    target = regressor.predict(start[:1])[0] + 0.1 * regressor.spread
    edit = edit_to_codes(regressor, start, target, steps=1)
    for row in range(2):
        inverse = np.linalg.pinv(regressor.jacobian(start[row, None])[0])
        step = inverse @ (target - regressor.predict(start[row, None])[0])
        np.testing.assert_allclose(edit.latents[row], start[row] + step, atol=1e-8)


def test_attribute_lands_in_its_own_unit(regressor, readout, rng):
    start = rng.normal(size=(6, WIDTH))
    now = readout(regressor.predict(start))
    target = now + np.linspace(-3, 3, 6)
    edit = edit_to_attribute(regressor, start, readout, target)
    np.testing.assert_allclose(edit.attribute, target, atol=0.05)
    np.testing.assert_allclose(edit.missed, edit.attribute - target)
    assert edit.attributes.shape == (9, 6)
    np.testing.assert_array_equal(edit.attributes[0], now)


def test_attribute_moves_less_than_holding_every_code(regressor, readout, rng):
    start = rng.normal(size=(5, WIDTH))
    free = edit_to_attribute(regressor, start, readout, 4.0)
    held = edit_to_codes(regressor, start, free.codes[-1])
    moved = [np.linalg.norm(edit.latents - start, axis=1) for edit in (free, held)]
    assert (moved[0] <= moved[1] * 1.1).all()


def test_where_nothing_changes_the_attribute_the_latent_stays(regressor, rng):
    start = rng.normal(size=(2, WIDTH))
    edit = edit_to_attribute(regressor, start, Readout(np.zeros(CODES), 0.0, 0.0, 0.0), 1.0)
    np.testing.assert_array_equal(edit.latents, start)
    np.testing.assert_array_equal(edit.missed, -1)


def test_edits_are_frozen(regressor, rng):
    edit = edit_to_codes(regressor, rng.normal(size=(1, WIDTH)), np.ones(CODES))
    with pytest.raises(dataclasses.FrozenInstanceError):
        edit.target = None


def test_errors_name_the_shapes(regressor, readout):
    start = np.zeros((3, WIDTH))
    with pytest.raises(InputError, match=r"\(3, 29\).*\(N, 30\)"):
        edit_to_codes(regressor, start[:, 1:], np.zeros(CODES))
    with pytest.raises(InputError, match=r"\(4,\).*\(3, 5\)"):
        edit_to_codes(regressor, start, np.zeros(4))
    with pytest.raises(InputError, match=r"\(2,\).*\(3,\)"):
        edit_to_attribute(regressor, start, readout, np.zeros(2))
    for steps in (0, 2.5):
        with pytest.raises(InputError, match=f"steps is {steps}"):
            edit_to_attribute(regressor, start, readout, 1.0, steps=steps)
    with pytest.raises(InputError, match="NaN"):
        edit_to_codes(regressor, start, np.full(CODES, np.nan))
    with pytest.raises(InputError, match="NaN"):
        edit_to_codes(regressor, np.full((1, WIDTH), np.inf), np.zeros(CODES))


@pytest.mark.parametrize("flat", [1e-3, 1e-12, 0.0])
def test_an_almost_flat_regressor_leaves_the_rest_in_missed(regressor, readout, rng, flat):
    start = rng.normal(size=(5, WIDTH))
    level = dataclasses.replace(
        regressor, weights=(*regressor.weights[:-1], flat * regressor.weights[-1])
    )
    most = 10 * regressor.radius * (1 + 1e-9)
    now = readout(level.predict(start))
    edit = edit_to_attribute(level, start, readout, now + 50.0)
    assert (np.linalg.norm(edit.latents - start, axis=1) <= most).all()
    assert (edit.missed < -25).all()
    held = edit_to_codes(level, start, level.predict(start) + level.spread)
    assert (np.linalg.norm(held.latents - start, axis=1) <= most).all()


def test_a_row_moves_alike_alone_and_among_others(regressor, readout, rng):
    start = rng.normal(size=(5, WIDTH))
    together = edit_to_attribute(regressor, start, readout, 4.0).latents
    for row in range(5):
        alone = edit_to_attribute(regressor, start[row, None], readout, 4.0).latents
        np.testing.assert_allclose(alone[0], together[row], atol=1e-9)

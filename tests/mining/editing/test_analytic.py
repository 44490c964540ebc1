"""Analytic edits land where they were asked to, by short ways."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mining.editing.analytic import (
    asked_weights,
    edit_to_attribute,
    edit_to_codes,
    leading_directions,
    weighted_step,
)
from mining.methods.embedding import Embedding
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


def test_what_is_asked_for_lands_whatever_is_free_or_held(regressor, rng):
    start = rng.normal(size=(6, WIDTH))
    target = regressor.predict(start)
    target[:, 1] += 1.5 * regressor.spread[1]
    asked = np.arange(CODES) == 1
    missed = {}
    for unasked in (0.0, 0.1, 0.9):
        edit = edit_to_codes(regressor, start, target, weights=asked_weights(asked, unasked))
        off = np.abs(edit.missed / regressor.spread)
        assert off[:, 1].max() < 0.05  # of a spread; 1.5 were asked for
        missed[unasked] = np.sqrt((off[:, ~asked] ** 2).mean())
    assert missed[0.9] < missed[0.1] < missed[0.0]


def test_a_free_code_has_no_say_and_a_free_edit_is_the_shortest(regressor, rng):
    start = rng.normal(size=(4, WIDTH))
    target = regressor.predict(start) + regressor.spread
    weights = np.array([0, 1, 0, 1, 0.0])
    other = target + np.array([7, 0, -3, 0, 1]) * regressor.spread
    edits = [edit_to_codes(regressor, start, t, weights=weights) for t in (target, other)]
    np.testing.assert_array_equal(edits[0].trajectory, edits[1].trajectory)
    held = edit_to_codes(regressor, start, target)
    lengths = [np.linalg.norm(edit.latents - start, axis=1) for edit in (edits[0], held)]
    assert (lengths[0] < lengths[1]).all()


def test_weights_of_1_are_the_plain_edit(regressor, rng):
    start = rng.normal(size=(3, WIDTH))
    target = regressor.predict(start) + 0.5 * regressor.spread
    plain, weighted = (
        edit_to_codes(regressor, start, target, weights=weights)
        for weights in (None, np.ones(CODES))
    )
    np.testing.assert_array_equal(plain.trajectory, weighted.trajectory)


def test_a_weighted_step_minimises_what_it_says(rng):
    jacobian, gap = rng.normal(size=(3, 6, 20)), rng.normal(size=(3, 6))
    weights = np.array([1, 1, 0, 0.2, 0.5, 0.9])
    held = np.array([3, 4, 5])
    price = weights[held] / (1 - weights[held])
    step = weighted_step(jacobian, gap, weights, cutoff=1e-9)
    for row in range(3):
        J, g, d = jacobian[row], gap[row], step[row]
        np.testing.assert_allclose(J[:2] @ d, g[:2], atol=1e-9)
        # Lagrange: the gradient lies in the span of the rows that are met
        slope = d + J[held].T @ (price * (J[held] @ d - g[held]))
        left = slope - J[:2].T @ np.linalg.lstsq(J[:2].T, slope, rcond=None)[0]
        assert np.abs(left).max() < 1e-9


@pytest.fixture
def embedding(rng) -> Embedding:
    """A linear descriptor of 4 numbers."""
    weights = (rng.normal(size=(4, WIDTH)),)
    zero = (np.zeros(4),)
    centre, radius = np.zeros(WIDTH), np.sqrt(WIDTH)
    return Embedding(weights, zero, centre, radius, zero[0], np.ones(4), (), (), 0, 1.0)


def test_a_held_descriptor_stays_while_what_is_asked_for_lands(regressor, embedding, rng):
    start = rng.normal(size=(4, WIDTH))
    target = regressor.predict(start) + 0.5 * regressor.spread
    free = edit_to_codes(regressor, start, target)
    held = edit_to_codes(regressor, start, target, hold=embedding)
    moved = [np.abs(embedding.predict(e.latents) - embedding.predict(start)) for e in (free, held)]
    assert moved[0].max() > 0.5 and moved[1].max() < 1e-9
    gap = 0.5 * np.sqrt(CODES)
    assert (np.linalg.norm(held.missed / regressor.spread, axis=1) < 0.05 * gap).all()


def test_leading_directions_are_orthonormal_and_lead(embedding, rng):
    latents = rng.normal(size=(2, WIDTH))
    found = leading_directions(embedding, latents, 2)
    np.testing.assert_allclose(
        found @ found.transpose(0, 2, 1), np.tile(np.eye(2), (2, 1, 1)), atol=1e-9
    )
    _, sizes, rows = np.linalg.svd(embedding.jacobian(latents))
    cosines = np.linalg.svd(found @ rows[:, :2].transpose(0, 2, 1))[1]
    np.testing.assert_allclose(cosines, 1, atol=1e-9)
    flat = dataclasses.replace(embedding, weights=(np.zeros((4, WIDTH)),))
    np.testing.assert_array_equal(leading_directions(flat, latents, 2), 0)


def test_wrong_weights_are_named(regressor):
    start = np.zeros((1, WIDTH))
    for weights, told in ((np.ones(3), r"\(3,\), expected \(5,\)"), (np.full(5, 1.5), "outside"),
                          (np.full(5, np.nan), "outside")):  # fmt: skip
        with pytest.raises(InputError, match=told):
            edit_to_codes(regressor, start, np.zeros(CODES), weights=weights)

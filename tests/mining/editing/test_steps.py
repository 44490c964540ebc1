"""A wanted change becomes a step by the card's curve, and back."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from mining.editing.apply import apply_card
from mining.editing.steps import change_after, steps_for
from schemas.directions import Calibration
from schemas.errors import InputError
from tests.storage.sample_cards import sample_card

HERE = "ab" * 32
STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)


def card(values=(-3.0, -2.0, 0.0, 4.0, 6.0), steps=STEPS, step=0.4, low=-3.0, high=6.0):
    return sample_card(calibration=Calibration(step, low, high, values, steps))


def test_a_change_is_looked_up_in_the_curve():
    wanted = np.array([-2.5, -1.0, 0.0, 1.0, 5.0])
    np.testing.assert_allclose(steps_for(card(), wanted), [-1.5, -0.5, 0.0, 0.25, 1.5])
    assert steps_for(card(), 4.0) == pytest.approx(1.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_change_after_turns_steps_for_round(sign):
    values = tuple(sign * value for value in (-3.0, -2.0, 0.0, 4.0, 6.0))
    ends = (-3.0, 6.0) if sign > 0 else (-6.0, 3.0)
    curve = card(values, step=sign * 0.4, low=ends[0], high=ends[1])
    wanted = np.linspace(*ends, 23)
    np.testing.assert_allclose(change_after(curve, steps_for(curve, wanted)), wanted, atol=1e-12)
    with pytest.warns(UserWarning, match="seen to hold"):
        far = steps_for(curve, np.array([-11.0, 14.0]))
    np.testing.assert_allclose(change_after(curve, far), [-11.0, 14.0])


def test_beyond_the_curve_it_goes_on_by_the_slope_and_warns():
    with pytest.warns(UserWarning, match="change of 8 mm .* from -3 to 6; beyond"):
        assert steps_for(card(), 8.0) == pytest.approx(2 + 0.4 * 2)
    with pytest.warns(UserWarning, match="-5 to 8 mm"):
        np.testing.assert_allclose(steps_for(card(), np.array([-5.0, 8.0])), [-2.8, 2.8])


def test_where_the_curve_is_flat_the_step_is_the_shortest():
    flat = card((-1.0, -1.0, 0.0, 0.0, 2.0), low=-1.0, high=2.0)
    np.testing.assert_allclose(steps_for(flat, np.array([-1.0, 0.0, 2.0])), [-1.0, 0.0, 2.0])


def test_without_a_curve_the_slope_alone_counts():
    straight = card((), (), step=-0.25)
    np.testing.assert_allclose(steps_for(straight, np.array([-2.0, 4.0])), [0.5, -1.0])
    assert change_after(straight, -1.0) == pytest.approx(4.0)


def test_a_card_is_applied_by_its_curve():
    w_plus = np.zeros((2, 3, 8), np.float32)
    moved = apply_card(w_plus, card(), HERE, np.array([1.0, 5.0]), "attribute")
    np.testing.assert_allclose(moved[:, 0] @ card().vector, [0.25, 1.5], atol=1e-6)


def test_within_the_range_nothing_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps_for(card(), np.array([-3.0, 6.0]))


@pytest.mark.parametrize(
    "broken",
    [
        Calibration(0.0, -1.0, 1.0),
        Calibration(1.0, -1.0, 1.0, (0.0, 1.0), (0.0,)),
        Calibration(1.0, -1.0, 1.0, (0.0, math.nan), (0.0, 1.0)),
        Calibration(math.nan, -1.0, 1.0),
    ],
)
def test_a_calibration_that_another_program_spoilt_is_refused(broken):
    with pytest.raises(InputError, match="another program may have changed it"):
        steps_for(sample_card(calibration=broken), 0.5)


def test_a_card_without_one_is_refused():
    with pytest.raises(InputError, match="calibration was not measured; give the step in unit"):
        steps_for(sample_card(), 0.5)

"""Planted responses come back as curves, with the range in which they hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mining.evaluation.calibration import CalibrationConfig, calibrate, monotone
from mining.evaluation.rescoring import Rescored
from schemas.errors import InputError

STEPS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
PAIR = ("plan", "own")


def rescored(curve, identities=60, spread=0.0, noise=0.0, steps=STEPS, seed=0) -> Rescored:
    """Every identity answers by `curve`, its own factor of it, and what measuring leaves open."""
    rng = np.random.default_rng(seed)
    factors = 1 + spread * rng.normal(size=(identities, 1))
    values = 5 + factors * curve(steps) + noise * rng.normal(size=(identities, len(steps)))
    distances = np.full(values.shape, np.nan)
    return Rescored(steps, 1.0, (PAIR,), ("mm",), values[..., None], distances, {}, ())


def test_a_line_comes_back_as_its_slope():
    found = calibrate(rescored(lambda t: 3 * t, spread=0.1), PAIR)
    assert found.step == pytest.approx(1 / 3, rel=0.05)
    np.testing.assert_allclose(found.values, 3 * STEPS, rtol=0.05)
    assert found.steps == tuple(STEPS)
    # four of five get to 1 - 0.84 * 0.1 of the line's end
    assert found.high == pytest.approx(6 * 0.916, rel=0.03) and found.low == pytest.approx(
        -found.high
    )
    assert found.monotonic == 1.0
    # the mean of |normal| is 0.8 of its spread
    assert found.error == pytest.approx(0.08, abs=0.025)


def test_a_direction_that_lowers_its_attribute_has_a_negative_step():
    found = calibrate(rescored(lambda t: -3 * t), PAIR)
    assert found.step == pytest.approx(-1 / 3) and found.values == tuple(-3 * STEPS)
    assert (found.low, found.high) == (-6.0, 6.0)


def test_a_curve_that_levels_off_is_trusted_as_long_as_it_rises():
    steps = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0])
    found = calibrate(rescored(lambda t: np.tanh(2 * t), steps=steps), PAIR)
    assert found.high == pytest.approx(math.tanh(2)) and found.low == pytest.approx(-math.tanh(2))
    np.testing.assert_allclose(found.values, np.tanh(2 * steps))
    assert found.error == pytest.approx(0, abs=1e-9) and found.monotonic == 1.0


def test_a_curve_that_turns_back_is_held_level_and_trusted_up_to_the_turn():
    found = calibrate(rescored(lambda t: np.where(t > 1, 1.0, 2 * t)), PAIR)
    assert found.values[3] == found.values[4] == 1.5  # the mean of 2 and 1
    assert found.high == 1.5 and found.low == -4 and found.monotonic == 1.0


def test_identities_that_disagree_end_the_range():
    found = rescored(lambda t: t)
    found.values[::3, -1] = 4.0  # a third of them go the other way at the outer step
    known = calibrate(found, PAIR)
    assert known.high == pytest.approx(1.0) and known.low == pytest.approx(-2.0)


def test_a_short_step_that_drowns_does_not_end_the_range():
    steps = np.array([-2.0, -1.0, -0.02, 0.0, 0.02, 1.0, 2.0])
    found = calibrate(rescored(lambda t: t, noise=0.1, steps=steps), PAIR)
    assert found.high > 1.5 and found.low < -1.5


def test_faces_that_are_lost_end_the_range_and_count_nowhere():
    found = rescored(lambda t: t)
    found.values[: 2 * len(found.values) // 3, 0] = np.nan
    found.values[5] = np.nan  # this one was never seen
    known = calibrate(found, PAIR)
    assert known.low == pytest.approx(-1.0) and known.high == pytest.approx(2.0)
    np.testing.assert_allclose(known.values, STEPS)
    found.values[:, 0] = np.nan
    assert calibrate(found, PAIR).values[0] == pytest.approx(-1.0)  # as the step before


@pytest.mark.parametrize(
    "curve", [lambda t: 0 * t, lambda t: np.full(t.shape, np.nan)], ids=["still", "unmeasured"]
)
def test_what_does_not_answer_has_no_calibration(curve):
    assert calibrate(rescored(curve), PAIR) is None


def test_noise_alone_has_no_calibration():
    found = [calibrate(rescored(lambda t: 0 * t, noise=1.0, seed=s), PAIR) for s in range(20)]
    assert sum(each is not None for each in found) <= 1


def test_a_direction_whose_answers_differ_too_much_has_no_calibration():
    def answers(slopes):
        values = 5 + np.resize(slopes, (60, 1)) * STEPS
        distances = np.full(values.shape, np.nan)
        return Rescored(STEPS, 1.0, (PAIR,), ("mm",), values[..., None], distances, {}, ())

    # all the same way, yet of the 1 at a step of 1 they miss 1.3 on average
    assert calibrate(answers([0.1, 0.2, 1.0, 3.0, 4.0]), PAIR) is None
    alike = calibrate(answers([0.8, 0.9, 1.0, 1.1, 1.2]), PAIR)
    assert alike.step == pytest.approx(1.0) and alike.error == pytest.approx(0.12, abs=0.03)


def test_a_short_step_in_noise_says_nothing_of_a_long_one():
    steps = np.array([-2.0, -1.0, -0.2, 0.0, 0.2, 1.0, 2.0])
    found = calibrate(rescored(lambda t: t, noise=0.2, steps=steps), PAIR)
    assert found is not None and found.high > 1.5


def test_one_identity_is_no_population_and_three_hold_none_out():
    assert calibrate(rescored(lambda t: t, identities=1), PAIR) is None
    few = calibrate(rescored(lambda t: t, identities=3), PAIR)
    assert few.step == pytest.approx(1.0)
    assert math.isnan(few.error) or few.error == pytest.approx(0, abs=1e-9)


def test_the_error_is_of_identities_that_were_not_fitted():
    found = rescored(lambda t: t)
    found.values[:30, STEPS != 0] += STEPS[STEPS != 0, None]  # half of them go twice as far
    order = np.random.default_rng(3).permutation(60)
    mixed = calibrate(found, PAIR, CalibrationConfig(seed=3))
    assert 0.2 < mixed.error < 0.8
    found.values[order] = found.values.copy()  # now the halves are the two kinds
    apart = calibrate(found, PAIR, CalibrationConfig(seed=3))
    # each is judged by the other's curve: misses of 1 and of 1/2
    assert apart.error == pytest.approx(0.75, abs=1e-6)


def test_the_share_of_monotone_identities_is_told():
    found = rescored(lambda t: t)
    found.values[:15, 3] = 4.0  # a quarter go back and forth
    assert calibrate(found, PAIR).monotonic == pytest.approx(0.75)


def test_the_same_input_gives_the_same_card():
    found = rescored(lambda t: t, spread=0.3, noise=0.3)
    assert calibrate(found, PAIR) == calibrate(found, PAIR)


def test_the_monotone_fit_is_the_best_one():
    values, weights = np.array([-1.0, -3.0, 0.0, 2.0, 1.0]), np.array([1.0, 3.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(monotone(STEPS, values, weights), [-2.5, -2.5, 0, 1.5, 1.5])
    np.testing.assert_allclose(monotone(STEPS, -values, weights), [0, 0, 0, 0, 0])


def test_mistakes_are_told():
    with pytest.raises(InputError, match="no attribute plan.other. Measured: plan.own"):
        calibrate(rescored(lambda t: t), ("plan", "other"))
    with pytest.raises(InputError, match="agree is 1.5; expected more than 0, at most 1"):
        CalibrationConfig(agree=1.5)

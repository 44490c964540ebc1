"""Edits land where they are asked to, whatever their own response."""

from __future__ import annotations

import numpy as np
import pytest

from mining.editing.landing import LandingConfig, land
from schemas.errors import InputError


def planted(curve):
    """Measures by `curve` (steps, rows), and keeps what was tried."""
    tried = []

    def measure(steps, rows):
        tried.append((steps.copy(), rows.copy()))
        return curve(steps, rows)

    return measure, tried


@pytest.mark.parametrize("way", [1.0, -1.0])
def test_each_identity_lands_by_its_own_slope(way):
    slopes = way * np.array([0.4, 0.6, 1.0, 1.7, 4.0])
    measure, tried = planted(lambda steps, rows: slopes[rows] * steps)
    asked = np.array([10.0, -10.0, 5.0, 5.0, -5.0])
    found = land(way * asked, asked, measure)
    assert (np.abs(found.changes - asked) <= 0.05 * np.abs(asked)).all()
    np.testing.assert_allclose(found.steps * slopes, found.changes)
    assert 2 in tried[0][1] and all(2 not in rows for _, rows in tried[1:])  # it was there at once


def test_a_response_that_levels_off_lands_between_two_steps():
    room = np.array([12.0, 20.0, 40.0])
    measure, _ = planted(lambda steps, rows: room[rows] * np.tanh(steps / 5))
    found = land(np.full(3, 10.0), np.full(3, 10.0), measure, config=LandingConfig(rounds=6))
    assert (np.abs(found.changes - 10) <= 0.5).all()


def test_who_cannot_go_so_far_stays_at_the_best_that_was_seen():
    measure, tried = planted(lambda steps, rows: np.minimum(steps, 2.0 - 0.1 * steps))
    found = land([3.0], [3.0], measure, longest=5.0)
    assert found.changes[0] < 2.0 and found.changes[0] == pytest.approx(2 - 0.1 * found.steps[0])
    assert found.changes[0] == max(2 - 0.1 * float(steps[0]) for steps, _ in tried)
    assert max(float(steps[0]) for steps, _ in tried) <= 9.0  # three times the first


def test_a_face_that_is_lost_is_looked_for_halfway_back():
    measure, _ = planted(lambda steps, rows: np.where(steps > 4, np.nan, 2.0 * steps))
    found = land([10.0], [6.0], measure)
    assert found.changes[0] == pytest.approx(6.0, rel=0.05)


def test_where_nothing_is_measured_the_first_step_is_kept():
    found = land([4.0, 2.0], [4.0, 2.0], lambda steps, rows: np.where(rows == 0, np.nan, steps))
    assert found.steps.tolist() == [4.0, 2.0]
    assert np.isnan(found.changes[0]) and found.changes[1] == 2.0


def test_who_would_only_be_led_astray_is_left_unedited():
    answers = [lambda t: -0.5 * t, lambda t: 9.0 + 0 * t, lambda t: 0.2 + 0 * t]
    measure, _ = planted(lambda steps, rows: np.array([answers[row](t) for t, row in
                                                       zip(steps, rows, strict=True)]))  # fmt: skip
    found = land(np.ones(3), np.ones(3), measure)
    assert found.steps[:2].tolist() == found.changes[:2].tolist() == [0.0, 0.0]
    assert found.changes[2] == 0.2 and found.steps[2] != 0  # better than nothing


def test_no_change_needs_no_measurement():
    found = land([0.0], [0.0], lambda steps, rows: pytest.fail("measured"))
    assert found.steps.tolist() == found.changes.tolist() == [0.0]


def test_noise_is_not_chased_beyond_the_rounds():
    rng = np.random.default_rng(0)
    slopes = np.exp(0.5 * rng.normal(size=200))
    measure, tried = planted(lambda t, rows: slopes[rows] * t + 0.5 * rng.normal(size=len(rows)))
    found = land(np.full(200, 10.0), np.full(200, 10.0), measure, config=LandingConfig(rounds=4))
    assert len(tried) <= 4
    assert np.mean(np.abs(found.changes - 10)) < 0.5


def test_mistakes_are_told():
    for first, asked, says in (
        ([1.0], [1.0, 2.0], "expected \\(N,\\) each"),
        ([np.nan], [1.0], "NaN or infinity"),
    ):
        with pytest.raises(InputError, match=says):
            land(first, asked, lambda steps, rows: steps)
    with pytest.raises(InputError, match="rounds from 1"):
        LandingConfig(rounds=0)

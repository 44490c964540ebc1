"""Whom to trust: the planted best is named, ties are called ties, and agreement is no truth."""

from __future__ import annotations

import numpy as np
import pytest

from mining.evaluation.agreement import FEW, Series
from mining.evaluation.trust import trust_by_agreement, trust_by_truth

NAN = float("nan")
ROWS = 3000


@pytest.fixture
def yaw(rng):
    return rng.uniform(-30, 30, ROWS)


def truth(values) -> Series:
    return Series("truth", values, "degrees")


def seen(rng, name, values, noise, missing=slice(0)) -> Series:
    """A backend that measures with this noise, and not at the missing rows."""
    measured = values + rng.normal(0, noise, len(values))
    measured[missing] = NAN
    return Series(name, measured, "degrees")


def test_the_backend_with_the_least_noise_is_trusted(rng, yaw):
    backends = [seen(rng, "poor", yaw, 9), seen(rng, "good", yaw, 1), seen(rng, "fair", yaw, 4)]
    found = trust_by_truth("yaw", backends, truth(yaw))
    assert found.backends == ("good",) and found.basis == "truth"
    assert [score.source for score in found.scores] == ["good", "fair", "poor"]
    assert "ahead of fair on the 3,000 rows that all measured" in found.reason
    assert found.scores[0].correlation.value == pytest.approx(0.998, abs=0.001)


def test_equals_tie_and_the_one_that_measures_more_is_told(rng, yaw):
    backends = [seen(rng, "a", yaw, 2, slice(0, 600)), seen(rng, "b", yaw, 2)]
    found = trust_by_truth("yaw", backends, truth(yaw))
    assert set(found.backends) == {"a", "b"}
    assert " tie: " in found.reason and "decides nothing" in found.reason
    assert "b measures more rows: 100.0% against 80.0% of a" in found.reason


def test_equals_that_fail_together_point_to_the_one_that_does_not(rng, yaw):
    half = slice(0, ROWS // 2)
    backends = [seen(rng, name, yaw, 2, half) for name in ("a", "b")] + [seen(rng, "c", yaw, 9)]
    found = trust_by_truth("yaw", backends, truth(yaw))
    assert set(found.backends) == {"a", "b"}
    assert found.reason.endswith(
        "They measure 50.0% of the rows, c 100.0%: take that one where these fail."
    )


def test_nobody_gains_by_failing_on_what_is_hard(rng):
    """On its own rows the picky one is worse or better as they are easy; on common rows, worse."""
    yaw = rng.uniform(-60, 60, ROWS)
    hard = np.abs(yaw) > 20
    noise = np.where(hard, 40.0, 0.0)
    brave = Series("brave", yaw + rng.normal(0, 1, ROWS) * (noise + 1.0))
    picky = Series("picky", np.where(hard, NAN, yaw + rng.normal(0, 3, ROWS)))
    found = trust_by_truth("yaw", [brave, picky], truth(yaw))
    scores = {score.source: score for score in found.scores}
    assert scores["picky"].correlation.value > scores["brave"].correlation.value
    assert found.backends == ("brave",)
    assert scores["brave"].common > scores["picky"].common


def test_a_better_one_that_fails_often_points_to_the_one_that_does_not(rng, yaw):
    backends = [seen(rng, "often", yaw, 1, slice(0, 900)), seen(rng, "always", yaw, 6)]
    found = trust_by_truth("yaw", backends, truth(yaw))
    assert found.backends == ("often",)
    assert "It measures 70.0% of the rows, always 100.0%" in found.reason


def test_a_sign_that_is_turned_round_is_told(rng, yaw):
    mirrored = seen(rng, "mirrored", -yaw, 1)
    found = trust_by_truth("yaw", [mirrored], truth(yaw))
    assert found.backends == ("mirrored",)
    assert "r -0.99" in found.reason and "; its sign turned round) " in found.reason
    noise = Series("noise", -yaw + rng.normal(0, 300, ROWS), "degrees")
    reason = trust_by_truth("yaw", [noise], truth(yaw)).reason
    assert reason.startswith("None follows") and reason.endswith("its sign turned round).")


def test_noise_is_not_trusted(rng, yaw):
    backends = [Series(name, rng.standard_normal(ROWS)) for name in ("a", "b")]
    found = trust_by_truth("yaw", backends, truth(yaw))
    assert found.backends == () and found.reason.startswith("None follows the truth")


def test_one_that_measured_next_to_nothing_does_not_decide_for_all(rng, yaw):
    few = Series("few", np.where(np.arange(ROWS) < 4, yaw, NAN))
    backends = [few, seen(rng, "good", yaw, 1), seen(rng, "fair", yaw, 5)]
    found = trust_by_truth("yaw", backends, truth(yaw))
    assert found.backends == ("good",)
    assert "ahead of fair on the 3,000 rows that good and fair measured" in found.reason
    assert "few is left out: it has 4 rows, of which good measured 4, too few" in found.reason
    assert [score.source for score in found.scores] == ["good", "fair", "few"]


@pytest.mark.parametrize("rows", [29, 30, 31, 299])
def test_one_with_few_rows_changes_nothing_for_the_others(rng, yaw, rows):
    """FEW is 30, and 300 are the tenth of 3,000 from which on it counts."""
    best, fair = seen(rng, "best", yaw, 4), seen(rng, "fair", yaw, 8)
    few = seen(rng, "few", yaw, 5, slice(rows, None))
    without = trust_by_truth("yaw", [best, fair], truth(yaw))
    found = trust_by_truth("yaw", [best, fair, few], truth(yaw))
    assert found.backends == without.backends == ("best",)
    kept = without.reason.replace("all measured", "best and fair measured")
    assert found.reason.startswith(kept)
    told = found.reason.removeprefix(kept)
    if rows < FEW:
        has = f"it has {rows} rows, of which best measured {rows}, too few to judge by."
        assert told == f" few is left out: {has}"
    else:
        assert told.startswith(f" few is left out: it has {rows} rows; on the {rows} that best")


def test_one_that_measured_a_tenth_is_judged_with_the_rest(rng, yaw):
    backends = [seen(rng, "best", yaw, 1), seen(rng, "tenth", yaw, 9, slice(300, None))]
    found = trust_by_truth("yaw", backends, truth(yaw))
    assert "ahead of tenth on the 300 rows that all measured" in found.reason


def test_one_alone_beside_one_with_few_rows_is_not_said_to_be_alone(rng, yaw):
    backends = [seen(rng, "a", yaw, 1), seen(rng, "b", yaw, 5, slice(29, None))]
    found = trust_by_truth("yaw", backends, truth(yaw))
    assert found.backends == ("a",) and "Only" not in found.reason
    assert "on 100.0% of the rows. b is left out" in found.reason
    nothing = Series("b", np.full(ROWS, NAN))
    alone = trust_by_truth("yaw", [backends[0], nothing], truth(yaw)).reason
    assert alone.startswith("Only a measures it") and "left out" not in alone


@pytest.mark.parametrize(
    ("noise", "said"),
    [(1, "ahead"), (40, "behind"), (9, "cannot be told from wide")],
)
def test_one_left_out_is_held_against_the_best_on_the_rows_of_both(rng, yaw, noise, said):
    backends = [seen(rng, "wide", yaw, 9), seen(rng, "narrow", yaw, noise, slice(200, None))]
    found = trust_by_truth("yaw", backends, truth(yaw))
    assert found.backends == ("wide",)
    assert "narrow is left out: it has 200 rows; on the 200 that wide measured too" in found.reason
    assert found.reason.endswith((f"{said}.", f") {said}."))


def test_one_that_measures_all_and_follows_nothing_leaves_nobody_out(rng, yaw):
    backends = [Series("noise", rng.standard_normal(ROWS)), seen(rng, "a", yaw, 1, slice(99, None))]
    found = trust_by_truth("yaw", backends, truth(yaw))
    assert found.backends == ("a",) and "99 rows that all measured" in found.reason


def test_a_constant_is_left_out_and_not_called_missing(rng, yaw):
    backends = [seen(rng, "a", yaw, 1), Series("still", np.zeros(ROWS))]
    found = trust_by_truth("yaw", backends, truth(yaw))
    assert found.backends == ("a",)
    assert "still is left out: it has 3,000 rows, on which it or a does not vary" in found.reason


@pytest.mark.parametrize("values", [np.full(ROWS, NAN), np.zeros(ROWS)], ids=["nan", "constant"])
def test_what_says_nothing_cannot_be_held_against_the_truth(values, yaw):
    found = trust_by_truth("yaw", [Series("dead", values)], truth(yaw))
    assert found.backends == () and found.reason.startswith("No backend measured three rows")
    assert np.isnan(found.scores[0].correlation.value)


def test_backends_that_share_no_row_are_judged_each_on_its_own(rng, yaw):
    left, right = np.arange(ROWS) < ROWS // 2, np.arange(ROWS) >= ROWS // 2
    backends = [seen(rng, "a", yaw, 1, left), seen(rng, "b", yaw, 8, right)]
    found = trust_by_truth("yaw", backends, truth(yaw))
    assert found.backends[0] == "a" and set(found.backends) == {"a", "b"}
    assert "each on rows of its own" in found.reason and "nan" not in found.reason


def test_the_one_that_the_others_agree_with_is_trusted(rng, yaw):
    backends = [seen(rng, "odd", yaw, 15), seen(rng, "a", yaw, 1), seen(rng, "b", yaw, 8)]
    found = trust_by_agreement("yaw", backends)
    assert found.backends == ("a",) and found.basis == "agreement"
    assert found.reason.endswith("Agreement, not truth.")


def test_two_alone_cannot_say_which_is_right(rng, yaw):
    found = trust_by_agreement("yaw", [seen(rng, "a", yaw, 1), seen(rng, "b", yaw, 1)])
    assert set(found.backends) == {"a", "b"}
    assert "two alone cannot say which is right" in found.reason


def test_those_that_read_the_same_landmarks_do_not_vouch_for_each_other(rng, yaw):
    """a and b repeat the error of dlib's landmarks; c and d are independent and better."""
    error = rng.normal(0, 15, ROWS)
    backends = [
        seen(rng, "a", yaw + error, 0.1),
        seen(rng, "b", yaw + error, 0.1),
        seen(rng, "c", yaw, 3),
        seen(rng, "d", yaw, 9),
    ]
    kin = {"a": "dlib", "b": "dlib"}
    found = trust_by_agreement("yaw", backends, kin)
    assert found.backends[0] == "c"
    assert {"a", "b"} & set(trust_by_agreement("yaw", backends[:3]).backends) == {"a", "b"}
    together = trust_by_agreement("yaw", backends[:2], kin)
    assert "All read dlib, so they may be wrong together." in together.reason


def test_strangers_agree_with_nobody(rng):
    backends = [Series(name, rng.standard_normal(ROWS)) for name in "abc"]
    found = trust_by_agreement("smile", backends)
    assert found.backends == () and found.reason.startswith("They do not agree")


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_too_few_rows_decide_nothing(rows):
    series = [Series(name, np.arange(rows, dtype=float)) for name in "ab"]
    assert trust_by_agreement("yaw", series).backends == ()
    assert trust_by_truth("yaw", series, truth(np.arange(rows, dtype=float))).backends == ()
    alone = trust_by_agreement("yaw", series[:1])
    assert alone.basis == "nothing" and alone.reason.startswith("Only a measures it")

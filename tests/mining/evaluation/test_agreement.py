"""Comparing two sources: planted correlation, bias and failures come back, edges do not break."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from mining.evaluation.agreement import (
    FEW,
    PLAIN,
    Series,
    compare,
    failures_by_angle,
    lead,
    line,
    outlier_share,
    pearson,
    share,
    spearman,
)
from schemas.errors import InputError

NAN = float("nan")
ROWS = 4000


def correlated(rng, rows, r):
    """Two columns of normal numbers with correlation r."""
    x, noise = rng.standard_normal((2, rows))
    return x, r * x + math.sqrt(1 - r * r) * noise


def test_planted_bias_spread_slope_and_failures_come_back(rng):
    yaw = rng.uniform(-30, 30, ROWS)
    measured = 0.9 * yaw + 2.0 + rng.normal(0, 1.5, ROWS)
    yaw[:10], measured[5:45] = NAN, NAN  # rows 0..4 only measured, 10..44 only true
    found = compare(Series("truth", yaw, "degrees"), Series("dlib", measured, "degrees"))
    assert (found.first, found.second, found.unit) == ("truth", "dlib", "degrees")
    assert (found.rows, found.only_first, found.only_second) == (ROWS - 45, 35, 5)
    difference = math.hypot(0.1 * 60 / math.sqrt(12), 1.5)  # of 0.1 yaw and the noise
    assert found.bias == pytest.approx(2.0, abs=4 * difference / math.sqrt(ROWS))
    assert found.spread == pytest.approx(difference, rel=0.05)
    assert found.slope == pytest.approx(0.9, abs=0.01)
    assert found.intercept == pytest.approx(2.0, abs=0.1)
    assert found.residual == pytest.approx(1.5, rel=0.05)
    assert found.outliers < 0.002
    expected = 0.9 * 60 / math.sqrt(12) / math.hypot(0.9 * 60 / math.sqrt(12), 1.5)
    assert found.pearson.low < expected < found.pearson.high


def test_without_a_common_unit_there_is_a_line_but_no_bias(rng):
    amount = rng.uniform(0, 1, ROWS)
    gap = 25 * amount + rng.normal(0, 2, ROWS)
    for unit in ("mm", PLAIN):  # two plain numbers have no scale in common either
        found = compare(Series("truth", amount, PLAIN), Series("geometry", gap, unit))
        assert found.unit == "" and math.isnan(found.bias) and math.isnan(found.spread)
        assert found.slope == pytest.approx(25, rel=0.02)
        assert found.residual == pytest.approx(2, rel=0.05)


def test_the_numbers_are_those_of_scipy(rng):
    x, y = correlated(rng, 50, 0.6)
    y[::7] = np.round(y[::7])
    found = compare(Series("a", x), Series("b", y))
    assert found.pearson.value == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-12)
    assert found.spearman.value == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)
    fit = stats.linregress(x, y)
    assert (found.slope, found.intercept) == pytest.approx((fit[0], fit[1]), abs=1e-12)


def bounded(rng, rows):
    """Values between bounds, as the head's parameters are: tails lighter than normal ones."""
    x, noise = rng.uniform(-1, 1, (2, rows))
    return x, x + 0.6 * noise


def blundering(rng, rows):
    """One row in fifty is off by far: normal theory would be far too sure of such a column."""
    x = rng.standard_normal(rows)
    return x, x + rng.standard_normal(rows) * np.where(rng.random(rows) < 0.02, 4, 0.3)


@pytest.mark.parametrize(
    ("draw", "estimate", "low", "high"),
    [
        (lambda rng, rows: correlated(rng, rows, 0.7), pearson, 0.93, 0.97),
        (lambda rng, rows: correlated(rng, rows, 0.7), spearman, 0.93, 0.97),
        (bounded, pearson, 0.93, 0.97),
        (bounded, spearman, 0.93, 1.0),  # wider than it need be
        (blundering, pearson, 0.90, 0.97),
    ],
)
def test_intervals_hold_the_true_correlation_in_95_of_100_datasets(rng, draw, estimate, low, high):
    """1,000 datasets of 1,000 rows; 2 % are 2.9 standard errors of such a share."""
    true = estimate(*draw(rng, 1_000_000)).value
    found = [estimate(*draw(rng, 1000)) for _ in range(1000)]
    assert low <= np.mean([one.low <= true <= one.high for one in found]) <= high


def test_small_samples_are_never_surer_than_normal_ones(rng):
    for rows in (4, 5, 10, FEW - 1):
        x, y = correlated(rng, rows, 0.9)
        found = pearson(x, y)
        z = math.atanh(found.value)
        reach = 1.959964 / math.sqrt(rows - 3)
        assert found.low <= math.tanh(z - reach) + 1e-12
        assert found.high >= math.tanh(z + reach) - 1e-12


def test_a_lead_is_told_from_noise_that_both_share(rng):
    truth = rng.standard_normal(1000)
    shared = rng.normal(0, 0.5, 1000)  # on an image that is hard, both err alike
    good = truth + shared + rng.normal(0, 0.05, 1000)
    worse = truth + shared + rng.normal(0, 0.25, 1000)
    found = lead(good, worse, truth)
    assert found.low > 0
    apart = pearson(good, truth), pearson(worse, truth)
    assert apart[0].low < apart[1].high  # which the two intervals alone do not tell
    assert lead(worse, good, truth).value == pytest.approx(-found.value)
    assert lead(-good, worse, truth).value == pytest.approx(found.value)  # signs do not matter


def test_leads_of_equals_hold_zero_in_95_of_100_datasets(rng):
    def dataset():
        truth = rng.standard_normal(300)
        return *(truth + rng.normal(0, 0.5, (2, 300))), truth

    leads = [lead(*dataset()) for _ in range(1000)]
    held = np.mean([found.low <= 0 <= found.high for found in leads])
    assert held == pytest.approx(0.95, abs=0.025)


def test_outliers_are_counted_where_they_were_planted(rng):
    x = rng.uniform(-30, 30, ROWS)
    y = x + rng.normal(0, 1, ROWS)
    y[:200] += 25
    one_unit = compare(Series("a", x, "degrees"), Series("b", y, "degrees"))
    assert one_unit.outliers == pytest.approx(0.05, abs=0.003)
    no_unit = compare(Series("a", x), Series("b", y))
    assert no_unit.outliers == pytest.approx(0.05, abs=0.006)
    exact = x.copy()
    assert compare(Series("a", x, "mm"), Series("b", exact, "mm")).outliers == 0
    exact[:40] += 1
    assert compare(Series("a", x, "mm"), Series("b", exact, "mm")).outliers == 0.01


def test_failures_are_binned_by_how_far_the_face_is_turned(rng):
    yaw = rng.uniform(-70, 70, 20_000)
    yaw[:100] = NAN
    chance = np.clip((np.abs(yaw) - 30) / 40, 0, 1)  # nobody fails before 30 degrees
    measured = {"dlib": ~(rng.random(20_000) < chance), "other": np.ones(20_000, bool)}
    bins = failures_by_angle(yaw, measured)
    assert [found.low for found in bins] == [0, 10, 20, 30, 45, 60]
    assert sum(found.rows for found in bins) == 19_900
    rates = [found.failed["dlib"].value for found in bins]
    assert rates[:3] == [0, 0, 0]
    assert rates[3:] == pytest.approx([7.5 / 40, 22.5 / 40, 35 / 40], abs=0.03)
    assert all(found.failed["other"].value == 0 for found in bins)
    assert math.isinf(bins[-1].high)  # it holds what is above the last edge


def test_bins_without_rows_are_left_out():
    bins = failures_by_angle(np.array([-25.0, 100.0]), {"a": np.array([True, False])})
    assert [(found.low, found.rows, found.failed["a"].value) for found in bins] == [
        (20.0, 1, 0.0),
        (60.0, 1, 1.0),
    ]
    assert failures_by_angle(np.array([NAN]), {"a": np.array([True])}) == ()


def test_shares_have_wilsons_interval():
    found = share(10, 100)  # 5.52 % to 17.44 %, as tables have it
    assert (found.low, found.high) == pytest.approx((0.0552, 0.1744), abs=1e-4)
    assert share(0, 50).low == 0 and 0.05 < share(0, 50).high < 0.1
    assert share(50, 50).high == 1


def test_shapes_that_do_not_pair_up_are_named():
    with pytest.raises(InputError, match=r"dlib \(3,\) and other \(4,\)"):
        compare(Series("dlib", np.zeros(3)), Series("other", np.zeros(4)))


finite = st.floats(-(2.0**100), 2.0**100, width=32)
maybe = st.one_of(finite, st.just(NAN), st.sampled_from([0.0, 1.0]))
columns = st.integers(0, 12).flatmap(
    lambda n: st.tuples(
        arrays.arrays(np.float32, n, elements=maybe), arrays.arrays(np.float32, n, elements=maybe)
    )
)


@given(columns, st.sampled_from([PLAIN, "degrees"]))
def test_whatever_comes_the_numbers_are_sound_or_nan(values, unit):
    x, y = values
    found = compare(Series("a", x, unit), Series("b", y, unit))
    back = compare(Series("b", y, unit), Series("a", x, unit))
    assert found.rows + found.only_first == np.isfinite(x).sum()
    assert found.rows + found.only_second == np.isfinite(y).sum()
    for one, other in ((found.pearson, back.pearson), (found.spearman, back.spearman)):
        assert one.value == pytest.approx(other.value, abs=1e-9, nan_ok=True)
        if found.rows < 3:
            assert math.isnan(one.value)
        if not math.isnan(one.value):
            assert -1 <= one.value <= 1
        if not math.isnan(one.low):
            assert -1 <= one.low <= one.value <= one.high <= 1
    assert math.isnan(found.bias) == (unit == PLAIN or found.rows == 0)
    assert math.isnan(found.outliers) or 0 <= found.outliers <= 1
    assert math.isnan(found.residual) or found.residual >= 0


@given(arrays.arrays(np.float32, st.integers(0, 9), elements=finite), finite)
def test_a_constant_has_no_correlation(values, constant):
    column = np.full(len(values), np.float32(constant))
    found = compare(Series("a", column, "mm"), Series("b", values, "mm"))
    assert math.isnan(found.pearson.value) and math.isnan(found.spearman.value)
    assert math.isnan(found.slope) and math.isnan(found.residual)
    assert line(column.astype(float), values.astype(float)) == pytest.approx(
        (NAN, NAN), nan_ok=True
    )


@given(st.integers(3, 20), st.floats(0.1, 100), st.floats(-100, 100))
def test_a_line_without_noise_is_certain(rows, slope, intercept):
    x = np.arange(rows, dtype=float)
    found = compare(Series("a", x), Series("b", -slope * x + intercept))
    assert found.pearson.value == pytest.approx(-1)
    assert found.slope == pytest.approx(-slope)
    assert found.intercept == pytest.approx(intercept, abs=1e-9 * (1 + slope * rows))
    assert found.outliers == 0


def test_nothing_at_all_is_no_error():
    empty, blank = np.empty(0), np.full(5, NAN)
    for values in (empty, blank):
        found = compare(Series("a", values, "mm"), Series("b", values, "mm"))
        assert found.rows == 0 and math.isnan(found.bias) and math.isnan(found.outliers)
        assert math.isnan(lead(values, values, values).value)
    assert math.isnan(outlier_share(empty, 0.0))
    assert math.isnan(share(0, 0).value)

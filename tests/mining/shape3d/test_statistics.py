"""Ranges of parameters over samples whose quantiles are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mining.shape3d.statistics import from_json, gathered, summarise
from schemas.errors import InputError


def test_ranges_of_a_known_sample(rng):
    """0 to 1000 in any order: percentile 0.5 is 5, percentile 99.5 is 995."""
    values = np.column_stack([rng.permutation(1001), 10 - 2 * rng.permutation(1001)])
    found = summarise(("a", "b"), values)
    np.testing.assert_allclose(found.low, [5, 10 - 1990])
    np.testing.assert_allclose(found.high, [995, 0])
    np.testing.assert_allclose(found.least, [0, -1990])
    np.testing.assert_allclose(found.most, [1000, 10])
    np.testing.assert_allclose(found.mean, [500, -990])
    np.testing.assert_allclose(found.deviation, np.sqrt((1001**2 - 1) / 12) * np.array([1, 2]))
    assert found.count == 1001


def test_normal_samples_have_the_quantiles_of_the_normal_distribution(rng):
    found = summarise(("yaw",), rng.normal(3, 10, (20_000, 1)))
    assert found.low[0] == pytest.approx(3 - 25.76, abs=1.2)  # 2.576 deviations
    assert found.high[0] == pytest.approx(3 + 25.76, abs=1.2)
    assert found.least[0] < found.low[0] < found.high[0] < found.most[0]


def test_rows_without_a_measurement_are_left_out():
    values = np.array([[0, 1], [np.nan, 5], [2, 3], [7, np.inf]])
    found = summarise(("a", "b"), values, tail=0)
    assert found.count == 2
    np.testing.assert_array_equal(found.most, [2, 3])
    np.testing.assert_array_equal(found.low, found.least)


def test_scaling_brings_the_range_to_both_ends(rng):
    found = summarise(("a", "b"), rng.gamma(2, 3, (5000, 2)))
    np.testing.assert_allclose(found.scaled(found.low), [-6, -6])
    np.testing.assert_allclose(found.scaled(found.high, reach=1), [1, 1])
    np.testing.assert_allclose(found.scaled(found.least, extremes=True), [-6, -6])
    np.testing.assert_allclose(found.scaled(found.most, extremes=True), [6, 6])
    assert (found.scaled(found.most) > 6).all()  # what lies beyond is not cut off


rows = arrays.arrays(np.float64, (3, 2), elements=st.floats(-1e6, 1e6))


@given(rows, st.floats(0.1, 100), st.booleans())
def test_unscaling_undoes_scaling(values, reach, extremes):
    found = summarise(("a", "b"), np.random.default_rng(1).normal(5, 3, (100, 2)))
    back = found.unscaled(found.scaled(values, reach, extremes), reach, extremes)
    np.testing.assert_allclose(back, values, rtol=1e-9, atol=1e-6)


def test_json_tells_everything(rng):
    found = summarise(("yaw", "smile"), rng.standard_normal((50, 2)))
    told = json.loads(json.dumps(found.to_json()))
    assert set(told["parameters"]) == {"yaw", "smile"}
    again = from_json(told)
    assert again.to_json() == found.to_json() and again.names == found.names
    np.testing.assert_array_equal(again.scaled(found.mean), found.scaled(found.mean))


def test_json_that_is_something_else_is_refused():
    for told in ({}, {"count": 3, "tail": 0.5, "parameters": {"yaw": {"mean": 1}}}, {"count": []}):
        with pytest.raises(InputError, match="expected count, tail and parameters"):
            from_json(told)


def test_parameters_are_angles_then_expressions(rng):
    columns = {name: rng.standard_normal(4) for name in ("yaw", "pitch", "roll", "scale")}
    columns["expression"] = rng.standard_normal((4, 2))
    names, values = gathered(columns)
    assert names == ("yaw", "pitch", "roll", "expression_0", "expression_1")
    np.testing.assert_array_equal(values[:, 1], columns["pitch"])
    np.testing.assert_array_equal(values[:, 3:], columns["expression"])
    assert gathered(columns, ("smile", "frown"))[0][3:] == ("smile", "frown")


def test_what_does_not_pair_up_is_refused(rng):
    with pytest.raises(InputError, match=r"values \(4, 3\) and 2 names do not pair up"):
        summarise(("a", "b"), np.zeros((4, 3)))
    with pytest.raises(InputError, match="1 of 2 rows are finite"):
        summarise(("a",), np.array([[1.0], [np.nan]]))
    with pytest.raises(InputError, match="tail 50 came"):
        summarise(("a",), np.zeros((3, 1)), tail=50)
    with pytest.raises(InputError, match="no column roll, expression; came: yaw, pitch"):
        gathered({"yaw": np.zeros(3), "pitch": np.zeros(3)})
    angles = dict.fromkeys(("yaw", "pitch", "roll"), np.zeros(3))
    with pytest.raises(InputError, match="do not pair up"):
        gathered({**angles, "expression": np.zeros((4, 2))})
    with pytest.raises(InputError, match="1 names came for 2 expressions"):
        gathered({**angles, "expression": np.zeros((3, 2))}, ("smile",))
    with pytest.raises(InputError, match="b has one value in all images"):
        summarise(("a", "b"), np.array([[1.0, 2], [3, 2]])).scaled(np.zeros(2))

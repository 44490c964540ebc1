"""Scores cut into classes: thresholds, ties, weights, splits."""

from __future__ import annotations

import numpy as np
import pytest

from mining.methods.two_classes import balanced, balanced_accuracy, cut, split
from schemas.errors import InputError


@pytest.mark.parametrize(
    ("scores", "threshold", "classes"),
    [
        ([1, 2, 3, 4, 5], None, [-1, -1, 0, 1, 1]),  # the median itself is on neither side
        ([0, 0, 0, 1, 1], None, [-1, -1, -1, 1, 1]),  # two values: midway
        ([3, 0, 0, 0, 0, 5, 7], None, [1, -1, -1, -1, -1, 1, 1]),  # ties join the empty side
        ([1, 2, 3, 4, 5], 3.5, [-1, -1, -1, 1, 1]),
    ],
)
def test_classes_and_those_of_negated_scores(scores, threshold, classes):
    scores = np.array(scores, float)
    np.testing.assert_array_equal(cut("x", scores, threshold), classes)
    negated = cut("x", -scores, None if threshold is None else -threshold)
    np.testing.assert_array_equal(negated, -np.array(classes))


@pytest.mark.parametrize("scores", [[0, 0, 0, 0, 1.0], [0, 1.0], [2.0, 2.0, 3.0]])
def test_a_side_of_one_row_is_refused(scores):
    with pytest.raises(InputError, match="x: .* scores lie under"):
        cut("x", np.array(scores))


def test_weights_give_both_classes_the_same_sum():
    classes = np.array([-1, -1, -1, 1])
    weights = balanced(classes)
    assert weights[classes < 0].sum() == pytest.approx(weights[classes > 0].sum())
    assert weights.mean() == pytest.approx(1)
    assert balanced_accuracy(np.ones(4), classes) == 0.5  # always "high"
    assert balanced_accuracy(classes - 0.5, classes) == 1


def test_a_split_leaves_a_row_on_both_sides():
    for share in (0.01, 0.99):
        train, test = split(np.array([7, 9]), share, seed=0)
        assert len(train) == len(test) == 1 and {*train, *test} == {7, 9}

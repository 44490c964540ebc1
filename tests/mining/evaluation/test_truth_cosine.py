"""The cosine to the truth, in W and in W+."""

from __future__ import annotations

import numpy as np
import pytest

from mining.evaluation.truth import true_vector, truth_cosine
from mining.generators.base import Truth
from schemas.errors import InputError


@pytest.fixture
def truth() -> Truth:
    return Truth(("yaw", "smile"), ("degrees", "1"), (0, 2), np.eye(6, dtype=np.float32)[:2])


def test_in_w_it_is_the_angle_to_the_parameter(truth):
    slanted = np.array([3.0, 4.0, 0, 0, 0, 0])  # any norm
    assert truth_cosine(truth, "yaw", slanted, "w") == pytest.approx(0.6)
    assert truth_cosine(truth, "smile", -slanted, "w") == pytest.approx(-0.8)


def test_in_w_plus_only_the_row_that_is_read_counts(truth):
    vector = np.zeros((3, 6))
    vector[2, 1] = 2.0
    assert truth_cosine(truth, "smile", vector, "w+") == pytest.approx(1.0)
    assert truth_cosine(truth, "yaw", vector, "w+") == 0.0
    everywhere = np.tile(np.eye(6)[1], (3, 1))
    assert truth_cosine(truth, "smile", everywhere, "w+") == pytest.approx(1 / np.sqrt(3))
    assert np.array_equal(true_vector(truth, "smile", "w+", 3), vector / 2.0)


def test_what_the_truth_does_not_know_has_no_cosine(truth):
    assert truth_cosine(truth, "age", np.ones(6), "w") is None
    assert truth_cosine(truth, "yaw", np.ones(6), "z") is None


@pytest.mark.parametrize(
    ("vector", "space", "said"),
    [
        (np.ones(5), "w", r"\(5,\).*expected \(6,\)"),
        (np.ones((3, 6)), "w", r"\(3, 6\)"),
        (np.ones((2, 6)), "w\\+", r"\(2, 6\).*num_ws"),
        (np.zeros(6), "w", "norm 0.0"),
        (np.full(6, np.nan), "w", "norm nan"),
    ],
)
def test_what_does_not_fit_is_refused(truth, vector, space, said):
    with pytest.raises(InputError, match=said):
        truth_cosine(truth, "yaw", vector, space.replace("\\", ""))


def test_true_vectors_are_refused_where_there_is_none(truth):
    with pytest.raises(InputError, match="'age' is none of yaw, smile"):
        true_vector(truth, "age", "w", 3)
    with pytest.raises(InputError, match="not in 'z'"):
        true_vector(truth, "yaw", "z", 3)

"""Applying a direction moves the rows it names, by the step, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from mining.editing.apply import apply_direction
from schemas.errors import InputError


@pytest.fixture
def w_plus(rng) -> np.ndarray:
    return rng.standard_normal((4, 3, 8)).astype(np.float32)


def test_a_vector_of_w_moves_every_row(w_plus, rng):
    vector = rng.standard_normal(8)
    moved = apply_direction(w_plus, vector, 1.5)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved - w_plus, np.broadcast_to(1.5 * vector, moved.shape), 1e-5)


def test_a_vector_of_w_plus_moves_each_row_by_its_own(w_plus, rng):
    vector = rng.standard_normal((3, 8))
    moved = apply_direction(w_plus, vector, -2.0)
    np.testing.assert_allclose(moved, w_plus - 2.0 * vector, atol=1e-5)


@pytest.mark.parametrize("shape", [(8,), (3, 8)])
def test_only_the_named_layers_move(w_plus, rng, shape):
    vector = rng.standard_normal(shape)
    moved = apply_direction(w_plus, vector, 1.0, layers=(1,))
    np.testing.assert_array_equal(moved[:, [0, 2]], w_plus[:, [0, 2]])
    expected = w_plus[:, 1] + (vector if shape == (8,) else vector[1])
    np.testing.assert_allclose(moved[:, 1], expected, atol=1e-5)


def test_a_step_of_zero_changes_no_bit_and_the_input_is_left_alone(w_plus):
    before = w_plus.copy()
    assert np.array_equal(apply_direction(w_plus, np.ones(8), 0.0), before)
    apply_direction(w_plus, np.ones(8), 3.0)
    assert np.array_equal(w_plus, before)


def test_every_latent_can_have_its_own_step(w_plus):
    moved = apply_direction(w_plus, np.ones(8), np.arange(4))
    np.testing.assert_allclose((moved - w_plus).mean(axis=(1, 2)), np.arange(4), atol=1e-5)
    one = apply_direction(w_plus[2:3], np.ones(8), 2.0)
    np.testing.assert_array_equal(one[0], moved[2])


@pytest.mark.parametrize(
    ("vector", "step", "layers", "said"),
    [
        (np.ones(7), 1.0, (), r"\(4, 3, 8\) and a vector \(7,\)"),
        (np.ones((2, 8)), 1.0, (), r"\(2, 8\)"),
        (np.ones(8), 1.0, (3,), r"layers \[3\] are outside 0..2"),
        (np.ones(8), 1.0, (-1,), r"layers \[-1\] are outside 0..2"),
        (np.ones(8), 1.0, (1.5,), r"layers \[1.5\] .* whole numbers"),
        (np.ones(8), np.ones(3), (), r"steps \(3,\)"),
        (np.ones(8), np.nan, (), r"steps hold NaN"),
        (np.ones(8), np.array([0, 1, np.inf, 2]), (), r"steps hold NaN"),
        (np.full(8, np.nan), 1.0, (), r"vector hold NaN"),
    ],
)
def test_what_does_not_fit_is_refused(w_plus, vector, step, layers, said):
    with pytest.raises(InputError, match=said):
        apply_direction(w_plus, vector, step, layers)


def test_latents_of_w_are_not_taken_for_rows_of_w_plus(w_plus):
    with pytest.raises(InputError, match=r"\(4, 8\).*expected \(N, num_ws, D\)"):
        apply_direction(w_plus[:, 0], np.ones(8), 1.0)
    with pytest.raises(InputError, match="latents hold NaN"):
        apply_direction(np.full_like(w_plus, np.nan), np.ones(8), 1.0)

"""Rows block by block: what NumPy makes of all at once."""

from __future__ import annotations

import numpy as np
import pytest

from mining.methods.scaled_rows import BLOCK, ScaledRows


@pytest.mark.parametrize("count", [3, BLOCK + 5])
def test_blocks_are_centred_scaled_and_end_in_ones(rng, count):
    data = 100 + 3 * rng.normal(size=(count, 4)).astype(np.float32)
    rows = ScaledRows.of(data)
    made = np.concatenate([block for _, block in rows.blocks()])
    wide = data.astype(float) - data.astype(float).mean(axis=0)
    np.testing.assert_allclose(
        made, np.column_stack([wide / wide.std(), np.ones(count)]), atol=1e-6
    )
    np.testing.assert_allclose(rows.times(np.arange(5.0)), made @ np.arange(5.0))
    (part, block), *_ = rows.blocks(np.array([2, 0]))
    np.testing.assert_array_equal(part, [2, 0])
    np.testing.assert_array_equal(block, made[[2, 0]])


def test_the_row_space_keeps_products_and_brings_weights_back(rng):
    rows = ScaledRows.of(rng.normal(size=(6, 20)))
    small, axes = rows.in_row_space()
    assert axes.shape == (20, 6) and small.width == 7
    weights = rng.normal(size=6)
    np.testing.assert_allclose(
        small.times(np.r_[weights, 0.5]), rows.times(np.r_[axes @ weights, 0.5]), atol=1e-12
    )


def test_equal_rows_are_not_divided_by_nothing():
    rows = ScaledRows.of(np.ones((5, 3)))
    assert rows.scale == 1.0

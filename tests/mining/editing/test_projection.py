"""Directions off identity: what is taken away, what is left, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from mining.editing.projection import off_identity
from schemas.errors import InputError
from tests.mining.editing.planted import linear_embedding

WIDTH = 20


@pytest.fixture
def embedding(rng):
    left = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    right = np.linalg.qr(rng.normal(size=(WIDTH, 8)))[0]
    return linear_embedding(left * 2.0 ** -np.arange(8) @ right.T)


def test_what_is_left_moves_the_descriptor_by_the_later_singular_values(embedding, rng):
    latents, directions = rng.normal(size=(3, WIDTH)), rng.normal(size=(3, WIDTH))
    clean = off_identity(embedding, latents, directions, rank=3)
    matrix = embedding.weights[0]
    right = np.linalg.svd(matrix)[2]
    np.testing.assert_allclose(clean @ right[:3].T, 0, atol=1e-12)
    np.testing.assert_allclose(clean @ right[3:].T, directions @ right[3:].T, atol=1e-12)
    moved = np.linalg.norm(clean @ matrix.T, axis=1)
    assert (moved <= 2.0**-3 * np.linalg.norm(clean, axis=1)).all()


def test_the_whole_rank_leaves_the_descriptor_alone_and_none_the_direction(embedding, rng):
    latents, directions = rng.normal(size=(2, WIDTH)), rng.normal(size=(2, 4, WIDTH))
    clean = off_identity(embedding, latents, directions, rank=8)
    assert clean.shape == (2, 4, WIDTH)
    np.testing.assert_allclose(clean @ embedding.weights[0].T, 0, atol=1e-9)
    np.testing.assert_array_equal(off_identity(embedding, latents, directions, 0), directions)


def test_refusals(embedding, rng):
    latents = rng.normal(size=(2, WIDTH))
    with pytest.raises(InputError, match="rank is 9, expected 0..8"):
        off_identity(embedding, latents, latents, 9)
    with pytest.raises(InputError, match="do not pair up"):
        off_identity(embedding, latents, latents[:1], 2)
    with pytest.raises(InputError, match="do not pair up"):
        off_identity(embedding, latents, latents[:, 1:], 2)

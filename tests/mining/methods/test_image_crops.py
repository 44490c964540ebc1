"""Where networks look: crops as the extractors make them, landmarks expected of a latent."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mining.editing.image_terms import face_crop
from mining.extractors.deca import cropped, square
from mining.methods.image_crops import (
    ExpectedLandmarks,
    around,
    encoder_crop,
    ffhq_landmarks,
    identity_crop,
    seen,
)
from mining.methods.training import one_torch_thread
from schemas.errors import InputError
from tests.mining.methods.scripted import (
    EDGE,
    W_DIM,
    LinearGenerator,
    rows_of,
)


@pytest.fixture(autouse=True)
def one_thread():
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def linear() -> LinearGenerator:
    return LinearGenerator()


def test_the_crop_around_landmarks_is_decas(rng):
    """Against the extractor's own crop of the same points, on a smooth image."""
    edge = 256
    y, x = np.mgrid[:edge, :edge] / edge
    image = np.stack([127 + 100 * np.sin(5 * x + 3 * y), 200 * x, 250 * y * y], axis=-1)
    bytes_ = image.astype(np.uint8)
    points = 0.25 + 0.45 * rng.random((68, 2))
    pixels = points * edge - 0.5
    corners = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
    expected = cropped(bytes_, *square(corners, "landmarks", 1.25)).astype(float)
    there = torch.from_numpy(bytes_ / 127.5 - 1).permute(2, 0, 1)[None].float()
    found = (seen(there, around(points, edge)[None], 224)[0].permute(1, 2, 0) + 1) * 127.5
    inside = expected.sum(axis=2) > 0
    assert np.abs(found.numpy() - expected)[inside].max() < 2.5  # OpenCV rounds its weights
    assert around(np.full((68, 2), 0.5), edge).tolist() == [[0.5, 0, 0.5], [0, 0.5, 0.5]]


def test_beyond_the_image_is_black():
    shown = seen(torch.ones(1, 1, 8, 8), np.array([[[1.0, 0, 0.5], [0, 1.0, 0.5]]]), 8)
    assert shown.shape == (1, 3, 8, 8)
    assert float(shown[0, :, :2].max()) == -1 and float(shown[0, :, 3:5, 3:5].min()) == 1


def test_ffhqs_average_face_stands_where_its_faces_do():
    points = ffhq_landmarks()
    left, right = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    assert left[1] == pytest.approx(right[1]) and left[0] + right[0] == pytest.approx(1)
    assert 0.44 < left[1] < 0.49 and 0.36 < left[0] < 0.40  # eyes above the middle
    assert (points > 0.1).all() and (points < 0.95).all()


def test_landmarks_are_expected_of_latents(linear):
    """A planted linear map from w to landmarks is found, and both crops follow it."""
    rng = np.random.default_rng(8)
    move = 0.01 * rng.normal(size=(68, 2, W_DIM))
    rows = rows_of(linear, landmarks=None)
    points = ffhq_landmarks() + np.einsum("nd,lxd->nlx", rows.latents, move)
    points[5] = np.nan  # no face there
    rows = dataclasses.replace(rows, landmarks=points.astype(np.float32))
    expected = ExpectedLandmarks(rows)
    w_plus = linear.broadcast(rows.latents).astype(float)
    found = expected.landmarks(w_plus)
    np.testing.assert_allclose(np.delete(found, 5, 0), np.delete(points, 5, 0), atol=1e-4)
    for crop in ("auto", "landmarks"):
        matrices = encoder_crop(crop, rows, EDGE * 64)(w_plus)
        np.testing.assert_allclose(matrices[7], around(found[7], EDGE * 64))
        np.testing.assert_allclose(identity_crop(crop, rows)(w_plus), face_crop(expected)(w_plus))
    one_for_all = encoder_crop("ffhq", rows, 512)(w_plus)
    assert (one_for_all == one_for_all[:1]).all()
    assert encoder_crop("whole", rows, 512) is None
    few = rows_of(linear, 40, landmarks=points[:40].astype(np.float32))
    assert (encoder_crop("auto", few, 512)(w_plus) == one_for_all).all()
    with pytest.raises(InputError, match="crop landmarks came, and 39 rows"):
        encoder_crop("landmarks", few, 512)

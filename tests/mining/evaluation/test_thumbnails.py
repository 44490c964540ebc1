"""Thumbnails keep the picture, its colours and its shape."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mining.evaluation.thumbnails import jpeg
from schemas.errors import InputError


def decode(data: bytes) -> np.ndarray:
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return bgr[..., ::-1]


def test_colours_keep_their_order_and_large_images_shrink():
    image = np.zeros((200, 400, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, 40
    small = decode(jpeg(image, size=100))
    assert small.shape == (50, 100, 3)
    assert np.abs(small.astype(int) - [200, 0, 40]).max() <= 4  # JPEG's rounding


def test_small_images_are_not_enlarged():
    assert decode(jpeg(np.full((16, 16, 3), 90, np.uint8))).shape == (16, 16, 3)


def test_the_same_image_gives_the_same_bytes(rng):
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert jpeg(image) == jpeg(image)


def test_what_is_no_image_is_refused():
    with pytest.raises(InputError, match=r"\(4, 4\) uint8 came"):
        jpeg(np.zeros((4, 4), np.uint8))

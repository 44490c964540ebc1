"""Where the codes of a transfer come from: a latent of the generator, or somebody's photo."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jobs.editing_images import images_of_latents
from jobs.editing_latents import Given
from jobs.editing_run import Studio
from mining.extending import jpeg_size
from mining.generators.base import Images
from mining.methods.control import ControlModel
from schemas.errors import InputError

Array = NDArray[np.float64]

MOST_BYTES = 64 * 2**20  # of an image file
MOST_PIXELS = 40_000_000  # of an image, by its header
EDGE = 1024  # pixels that a photo is looked at, at most
PAPER = 255


@dataclass(frozen=True)
class Source:
    """What is copied, and how it looks."""

    label: str
    codes_from: Literal["regressor", "landmarks"]
    codes: Array  # (1, Q)
    picture: Images  # (1, size, size, 3)


def source_of_latent(
    studio: Studio, control: ControlModel, given: Given, size: int, measured: bool
) -> Source:
    """The codes of one latent.

    Args:
        size: pixels of its picture.
        measured: the codes are fitted to the landmarks that the run's extractors find in its
            image, equation (11), in place of being read off the latent.

    Raises:
        InputError: the latent is of no such space, or no face is found in its image.
    """
    latents = given.of_space(studio.generator, control.space).astype(np.float64)
    picture = images_of_latents(studio, control.space, latents, given, size)
    if not measured:
        codes = control.regressor.predict(latents)
        return Source(given.labels[0], "regressor", codes, picture)
    seen = images_of_latents(studio, control.space, latents, given, studio.seen_size)
    return Source(given.labels[0], "landmarks", _fitted(studio, control, seen), picture)


def source_of_photo(studio: Studio, control: ControlModel, path: str, size: int) -> Source:
    """The codes of the face in an image file, by equation (11) from its landmarks.

    Pose and shape are the face's own however the photo is cut; place and camera are of the photo,
    which counts as a square, padded on both sides where it is not.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, equation (11).

    Raises:
        InputError: it is no image, too large, or no face is found in it.
    """
    photo = read_photo(path)
    return Source(
        Path(path).name,
        "landmarks",
        _fitted(studio, control, resized(photo, min(EDGE, len(photo)))[None]),
        resized(photo, size)[None],
    )


def read_photo(path: str) -> Images:
    """An image file as a square (E, E, 3) RGB, padded with white.

    Raises:
        InputError: there is no such file, it is no image, or it is too large.
    """
    import cv2

    file = Path(path)
    if not file.is_file():
        raise InputError(f"edit: {path} is no file; expected an image, a .jpg or .png.")
    if file.stat().st_size > MOST_BYTES:
        raise InputError(f"edit: {path} is larger than {MOST_BYTES:,} bytes.")
    data = file.read_bytes()
    size = _size(data)
    if size is not None and size[0] * size[1] > MOST_PIXELS:
        raise InputError(
            f"edit: {path} has {size[1]} x {size[0]} pixels, more than {MOST_PIXELS:,}; make it "
            "smaller."
        )
    image = None
    if size is not None and min(size) > 0:
        with suppress(cv2.error):  # turned as its camera was held
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"edit: {path} is no image that can be read; expected a .jpg or .png.")
    high, wide = image.shape[:2]
    edge = max(high, wide)
    square = np.full((edge, edge, 3), PAPER, np.uint8)
    top, left = (edge - high) // 2, (edge - wide) // 2
    square[top : top + high, left : left + wide] = image[..., ::-1]
    return square


def resized(photo: Images, size: int) -> Images:
    """(E, E, 3) -> (size, size, 3), averaged where it gets smaller."""
    import cv2

    smaller = size < len(photo)
    way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, (size, size), interpolation=way), np.uint8)


def _size(data: bytes) -> tuple[int, int] | None:
    """Height and width by the header of a JPEG or PNG; None for anything else.

    Source: of PNG: ISO/IEC 15948:2004, 11.2.2.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and len(data) > 24:
        return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    return jpeg_size(data)


def _fitted(studio: Studio, control: ControlModel, images: Images) -> Array:
    """Equation (11) for the landmarks that the run's extractors find."""
    return control.shape.fit(studio.landmarks(images, control.shape.mean_shape.shape[1]))

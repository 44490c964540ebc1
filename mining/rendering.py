"""From latents to images of the size that the extractors read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from mining.generators.base import (
    Batch,
    Floats,
    Generator,
    Images,
    KnownTruth,
    Resizing,
    Streaming,
    TrueFaces,
)
from schemas.errors import InputError, RunError


def check_size(generator: Generator, size: int | None) -> None:
    """InputError where images would have to be enlarged."""
    if size is not None and size > generator.resolution:
        raise InputError(
            f"dataset.image_size {size} came; {generator.name} makes images of "
            f"{generator.resolution} px and they are never enlarged: expected as much at most, "
            "or null."
        )


def images_of(generator: Generator, batches: Iterable[Batch], size: int) -> Iterator[Images]:
    """The images of each batch, (N, size, size, 3), in order.

    A `Streaming` generator is given all batches at once and begins one before the last is
    copied; what it cannot do is done here, one batch after the other.

    Args:
        batches: one is taken when it is begun.
        size: pixels, at most the generator's resolution.

    Raises:
        RunError: the generator returns something else.
    """
    counts: deque[int] = deque()

    def counted() -> Iterator[Batch]:
        for w_plus, condition in batches:
            counts.append(len(w_plus))
            yield w_plus, condition

    given = counted()
    if isinstance(generator, Streaming):
        made = generator.stream(given, size)
    else:
        made = (_synthesize(generator, w_plus, c, size) for w_plus, c in given)
    for images in made:
        if not counts:
            raise RunError(f"generator {generator.name!r} streamed more batches than it was given.")
        _check(generator, images, (counts.popleft(), size, size, 3))
        yield images
    if counts or next(given, None) is not None:
        raise RunError(f"generator {generator.name!r} streamed fewer batches than it was given.")


def true_images_of(
    generator: KnownTruth, batches: Iterable[Batch], size: int
) -> Iterator[tuple[Images, TrueFaces]]:
    """As `images_of`, with the truth about each image; its landmarks are fractions of any size."""
    for w_plus, _ in batches:
        images, truth = generator.synthesize_with_truth(w_plus)
        yield downscale(images, size), truth


def downscale(images: Images, size: int) -> Images:
    """(N, H, H, 3) averaged over areas to (N, size, size, 3), on the host."""
    if images.shape[1] == size:
        return images
    import cv2

    small = np.empty((len(images), size, size, 3), np.uint8)
    for image, out in zip(images, small, strict=True):
        cv2.resize(image, (size, size), dst=out, interpolation=cv2.INTER_AREA)
    return small


def pack_images(images: Images) -> pa.Array:
    """(N, H, W, 3) to fixed-size binary, one row per image."""
    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    kind = pa.binary(flat.shape[1])
    return pa.Array.from_buffers(kind, len(flat), [None, pa.py_buffer(flat)])


def unpack_images(column: pa.ChunkedArray, size: int) -> Images:
    """Fixed-size binary to (N, size, size, 3), without copying where it can."""
    packed = column.combine_chunks()
    if isinstance(packed, pa.ChunkedArray):
        packed = packed.chunk(0)
    width = packed.type.byte_width
    buffer = packed.buffers()[1]
    pixels = np.frombuffer(buffer, np.uint8, len(packed) * width, packed.offset * width)
    return pixels.reshape(len(packed), size, size, 3)


def _synthesize(
    generator: Generator, w_plus: Floats, condition: Floats | None, size: int
) -> Images:
    if size == generator.resolution:
        return generator.synthesize(w_plus, condition)
    if isinstance(generator, Resizing):
        return generator.synthesize_at(w_plus, condition, size)
    return downscale(generator.synthesize(w_plus, condition), size)


def _check(generator: Generator, images: Images, expected: tuple[int, ...]) -> None:
    if images.dtype != np.uint8 or images.shape != expected:
        raise RunError(
            f"generator {generator.name!r} made images {images.shape} {images.dtype}; expected "
            f"{expected} uint8."
        )

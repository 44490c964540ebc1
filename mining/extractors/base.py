"""The protocol that every extractor fits: images in, one row of measurements out per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

OK = "ok"
NO_FACE = "no_face"
SEVERAL_FACES = "several_faces"  # the largest was measured, `faces` says how many there were
NOT_MEASURED = "not_measured"  # an extractor that this one needs has nothing for this image
NO_POSE = "no_pose"  # no pose of a head explains the landmarks
MEASURED = frozenset({OK, SEVERAL_FACES})  # the statuses of rows that carry values


@dataclass(frozen=True)
class Column:
    """One column that an extractor fills."""

    shape: tuple[int, ...]  # () for one number a row
    unit: str  # "degrees", "fraction of the image", "1"
    text: str  # one sentence for the dataset card
    dtype: str = "float32"


@dataclass(frozen=True)
class Measurement:
    """N rows. Values of rows whose status is not in MEASURED are NaN (0 for whole numbers)."""

    status: tuple[str, ...]  # N
    values: Mapping[str, NDArray]  # name -> (N, *shape)

    def __len__(self) -> int:
        return len(self.status)

    def measured(self) -> NDArray[np.bool_]:
        """(N,) true where the row carries values."""
        return np.array([status in MEASURED for status in self.status], dtype=bool)


@runtime_checkable
class Extractor(Protocol):
    """Measures images. Weights load in __init__; calls change nothing."""

    name: str  # the registry's name; the dataset's columns are "<name>_<column>"
    columns: Mapping[str, Column]
    needs: tuple[str, ...]  # extractors whose results it reads; they run first
    licence: str  # of the models behind it

    def fingerprint(self) -> str:
        """64 hex digits: SHA-256 over code version, settings and model files."""
        ...

    def __call__(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> Measurement:
        """images: (N, H, W, 3) RGB, 0..255. One row out per image in.

        earlier: what the extractors in `needs` said about the same images.
        """
        ...


def check_images(who: str, images: NDArray) -> None:
    """Raise InputError unless images are uint8 (N, H, W, 3)."""
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise InputError(
            f"{who}: images {images.shape} {images.dtype} came; "
            "expected (N, H, W, 3) uint8 RGB, 0..255."
        )


def measure(extractors: Sequence[Extractor], images: NDArray[np.uint8]) -> dict[str, Measurement]:
    """Run the extractors in order over one batch; each sees the results of those before it."""
    check_images("measure", images)
    done: dict[str, Measurement] = {}
    for extractor in extractors:
        done[extractor.name] = extractor(images, done)
    return done

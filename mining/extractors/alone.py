"""Measuring a batch image by image, where one of its images ends or hangs the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import (
    Extractor,
    Measurement,
    concatenate,
    measure_one,
    unmeasured,
)

Spared = Mapping[tuple[int, str], tuple[str, str]]  # (row, extractor) -> status and reason


def measure_alone(
    extractors: Sequence[Extractor],
    images: NDArray[np.uint8],
    spared: Spared,
    announce: Callable[[int, str], None],
    earlier: Mapping[str, Measurement] | None = None,
) -> dict[str, Measurement]:
    """As `measure`, but each image goes through each extractor by itself.

    Args:
        images: (N, H, W, 3) RGB, 0..255.
        spared: what is not tried again, with the status and the reason that its row gets.
        announce: told (row, extractor) before each call, so that whoever watches this process
            knows what ended it.
        earlier: what others have said of the same images before.
    """
    rows: list[dict[str, Measurement]] = []
    for row in range(len(images)):
        done = {name: found.row(row) for name, found in (earlier or {}).items()}
        for extractor in extractors:
            key = (row, extractor.name)
            if key in spared:
                done[extractor.name] = unmeasured(extractor, *spared[key])
            else:
                announce(*key)
                done[extractor.name] = measure_one(extractor, images[row : row + 1], done, 0)
        rows.append(done)
    return {
        extractor.name: concatenate(extractor, [row[extractor.name] for row in rows])
        for extractor in extractors
    }

"""The numbers that re-scoring reads off measured images, by (extractor, column)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import Extractor, Measurement
from mining.generators.base import Floats, Generator, Posed

Pair = tuple[str, str]  # (extractor, column)
CAMERA = "camera"  # stands for the extractor where the number is an angle of the camera
LABEL = "label"  # and where it is a label
UNSEEN = (CAMERA, LABEL)  # numbers that tell nothing of whether there is a face
ANGLES = ("yaw", "pitch", "roll")  # in the order of `Posed.pose`


def scalar_pairs(extractors: Sequence[Extractor]) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """Every scalar float column of the extractors as (extractor, column), and their units."""
    found = [
        ((extractor.name, name), column.unit)
        for extractor in extractors
        for name, column in extractor.columns.items()
        if column.shape == () and np.issubdtype(np.dtype(column.dtype), np.floating)
    ]
    return tuple(pair for pair, _ in found), tuple(unit for _, unit in found)


def measured_pairs(
    generator: Generator, extractors: Sequence[Extractor]
) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """As `scalar_pairs`, then the camera's angles where the condition is a camera."""
    pairs, units = scalar_pairs(extractors)
    if not (generator.c_dim and isinstance(generator, Posed)):
        return pairs, units
    camera = tuple((CAMERA, angle) for angle in ANGLES)
    return (*pairs, *camera), (*units, *("degrees" for _ in camera))


def camera_angles(generator: Generator, condition: Floats | None) -> Mapping[Pair, NDArray]:
    """The angles of N cameras, each (N,) in degrees; none where the condition is no camera."""
    if condition is None or not isinstance(generator, Posed):
        return {}
    angles = np.asarray(generator.pose(condition), np.float64)
    return {(CAMERA, name): angles[:, k] for k, name in enumerate(ANGLES)}


def scalars_of(
    done: Mapping[str, Measurement],
    pairs: tuple[Pair, ...],
    count: int,
    camera: Mapping[Pair, NDArray],
) -> NDArray[np.float64]:
    """(count, A) values, NaN in rows whose status carries none."""
    result = np.full((count, len(pairs)), np.nan)
    for k, pair in enumerate(pairs):
        if pair in camera:
            result[:, k] = camera[pair]
            continue
        measurement, column = done[pair[0]], pair[1]
        result[:, k] = np.where(measurement.measured(), measurement.values[column], np.nan)
    return result


def descriptors_of(done: Mapping[str, Measurement], pair: Pair, count: int) -> NDArray[np.float64]:
    """(count, E) descriptors, NaN in rows without one; (count, 0) where no extractor gives any."""
    extractor, column = pair
    if extractor not in done or column not in done[extractor].values:
        return np.empty((count, 0))
    measurement = done[extractor]
    values = np.asarray(measurement.values[column], np.float64).reshape(count, -1)
    return np.where(measurement.measured()[:, None], values, np.nan)

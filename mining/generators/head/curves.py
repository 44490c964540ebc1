"""Smooth scalar functions that geometry and appearance are drawn with."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float64 while geometry is built, float32 per pixel


def smoothstep(start: float, end: float, x: Array) -> Array:
    """0 at `start`, 1 at `end`, 3 t^2 - 2 t^3 between; `start` may lie above `end`."""
    t = np.clip((x - start) * (1.0 / (end - start)), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def fade(start: float, end: float, x: float) -> float:
    """`smoothstep` of one plain number, which leaves float32 arrays float32."""
    t = min(max((x - start) / (end - start), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def mix(a: Any, b: Any, t: Any) -> Any:
    """a at t = 0, b at t = 1, linear between."""
    return a + (b - a) * t


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written so that no x overflows."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def bell(x: Array, centre: float | Array, width: float | Array, power: float = 2.0) -> Array:
    """exp(-|(x - centre) / width|^power / 2): 1 at the centre, flat-topped for power > 2."""
    t = np.abs((x - centre) / width)
    return np.exp(-0.5 * (t * t if power == 2.0 else t**power))


def hill(
    x: Array, y: Array, at: tuple[float, float], size: tuple[float, float], power: float = 2.0
) -> Array:
    """A bell over the plane, centred at `at` with half widths `size`."""
    return bell(x, at[0], size[0], power) * bell(y, at[1], size[1], power)


def fractal_noise(
    shape: tuple[int, int],
    rng: np.random.Generator,
    octaves: int,
    cells: int,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> NDArray[np.float32]:
    """(rows, columns) noise of unit variance: octaves of bicubic value noise, each at 0.55.

    Args:
        cells: lattice cells across the image in the first octave.
        stretch: multiplies the cells per axis (rows, columns); (1, 14) gives vertical strands.
    """
    rows, columns = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        count = cells * 2**octave
        lattice = (max(2, int(count * stretch[0])), max(2, int(count * stretch[1])))
        values = rng.standard_normal(lattice).astype(np.float32)
        total += np.float32(0.55**octave) * cv2.resize(
            values, (columns, rows), interpolation=cv2.INTER_CUBIC
        )
    return total / total.std()

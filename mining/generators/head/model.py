"""The linear head: vertices = base + sum of parameter * shape, and landmarks on its surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator

from mining.generators.head.curves import Array, fractal_noise, mix, smoothstep
from mining.generators.head.expression import closed_lips, expression_shapes
from mining.generators.head.identity import Shapes, displacement, identity_shapes
from mining.generators.head.relief import neutral_depth
from mining.generators.head.template import (
    THROAT_ROWS,
    Sheet,
    build_sheet,
    landmark_positions,
)


@dataclass(frozen=True)
class HeadModel:
    """Static geometry, shared by every image."""

    sheet: Sheet
    base: NDArray[np.float32]  # (3, rows, columns)
    shapes: NDArray[np.float32]  # (K, 3 * rows * columns)
    shape_names: tuple[str, ...]  # K parameter names
    landmarks_open: Array  # (2, 68) column and row on the grid, lids open
    landmarks_closed: Array  # the same, lids shut
    scalp: NDArray[np.float32]  # (rows, columns) 1 where hair grows

    def vertices(self, values: Mapping[str, float]) -> NDArray[np.float32]:
        """(3, rows, columns) of a head; the shapes are added in a fixed order, without BLAS."""
        total = self.base.reshape(-1).copy()
        for name, shape in zip(self.shape_names, self.shapes, strict=True):
            total += np.float32(values[name]) * shape
        return total.reshape(self.base.shape)

    def landmark_grid(self, closed: float) -> Array:
        """(2, 68) columns and rows at which the landmarks lie for an eye closure."""
        return mix(self.landmarks_open, self.landmarks_closed, closed)

    def landmarks(self, vertices: Array, closed: float) -> Array:
        """(3, 68) points on the surface, bilinear between its vertices."""
        column, row = self.landmark_grid(closed)
        i = np.clip(column.astype(int), 0, vertices.shape[2] - 2)
        j = np.clip(row.astype(int), 0, vertices.shape[1] - 2)
        s, t = column - i, row - j
        near = mix(vertices[:, j, i], vertices[:, j, i + 1], s)
        far = mix(vertices[:, j + 1, i], vertices[:, j + 1, i + 1], s)
        return mix(near, far, t)


def hairline(abs_x: Array) -> Array:
    """Height of the neutral hairline over |x|: rounded in front, falling at the temples."""
    front = 102.0 - 7.0 * (abs_x / 30.0) ** 2 * smoothstep(60, 20, abs_x)
    return (
        front + 3.0 * np.exp(-0.5 * ((abs_x - 36.0) / 12.0) ** 2) - 30.0 * smoothstep(48, 69, abs_x)
    )


def _scalp(sheet: Sheet) -> Array:
    top = smoothstep(-2, 16, sheet.y - hairline(sheet.abs_x))
    side = smoothstep(1.25, 1.5, np.abs(sheet.azimuth)) * smoothstep(-2, 26, sheet.y)
    return np.maximum(top, side)


def _hair_shapes(sheet: Sheet, scalp: Array) -> tuple[Array, Shapes]:
    """The hair's own thickness, and the shapes that add volume and curls to it."""
    outward = np.stack([sheet.x / 74.0, (sheet.y - 35.0) / 105.0, (sheet.z + 75.0) / 95.0])
    outward /= np.sqrt((outward**2).sum(0))
    side = smoothstep(1.25, 1.5, np.abs(sheet.azimuth))
    bumps = np.abs(fractal_noise(sheet.x.shape, np.random.default_rng(5), 2, 16))
    return outward * 5.0 * scalp, {
        "hair_volume": outward * 9.0 * scalp * (1 - 0.5 * side),
        "hair_curl": outward * 4.5 * scalp * bumps,
    }


def _age_shapes(sheet: Sheet) -> Shapes:
    """Sagging cheeks and jowls, hollow temples and thinner lips."""
    x, y, side = sheet.abs_x, sheet.y, sheet.side
    jowl = np.exp(-0.5 * (((x - 44.0) / 13.0) ** 2 + ((y + 46.0) / 14.0) ** 2))
    hollow = np.exp(-0.5 * (((x - 50.0) / 14.0) ** 2 + ((y + 8.0) / 16.0) ** 2))
    return {
        "age": displacement(sheet, side * 1.5 * jowl, -2.0 * jowl, 3.0 * jowl - 2.5 * hollow),
    }


def _grid_positions(sheet: Sheet, points: Array) -> Array:
    """(2, N) columns and rows of the sheet at template points (N, 2).

    A point just outside the sheet's outline moves inwards until it lies on it.
    """
    rows, columns = sheet.x.shape
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    seen = (np.abs(sheet.azimuth) < 1.53) & (row >= THROAT_ROWS)
    find = LinearNDInterpolator(
        np.stack([sheet.x[seen], sheet.y[seen]], axis=1),
        np.stack([column[seen], row[seen]], axis=1),
    )
    points = points.copy()
    found = np.asarray(find(points))
    while (outside := ~np.isfinite(found[:, 0])).any():
        points[outside, 0] *= 0.997
        found[outside] = find(points[outside])
    return found.T


@lru_cache(maxsize=1)
def head_model() -> HeadModel:
    """Build the model; about half a second, once per process."""
    sheet = build_sheet()
    scalp = _scalp(sheet)
    hair, hair_shapes = _hair_shapes(sheet, scalp)
    base = np.stack([sheet.x, sheet.y, sheet.z + neutral_depth(sheet) * sheet.front])
    base = base + closed_lips(sheet) + hair
    shapes = {
        **identity_shapes(sheet),
        **expression_shapes(sheet),
        **hair_shapes,
        **_age_shapes(sheet),
    }
    return HeadModel(
        sheet=sheet,
        base=base.astype(np.float32),
        shapes=np.stack([s.reshape(-1) for s in shapes.values()]).astype(np.float32),
        shape_names=tuple(shapes),
        landmarks_open=_grid_positions(sheet, landmark_positions(0.0)),
        landmarks_closed=_grid_positions(sheet, landmark_positions(1.0)),
        scalp=scalp.astype(np.float32),
    )


JAW = (*range(0, 8), *range(9, 17))  # the chin, 8, never hides


def visible_jaw(
    landmarks: Array, screen: Array, facing: Array, height: Array, grid: Array, roll: float
) -> Array:
    """(2, 68) landmarks whose hidden jaw points have slid to the visible contour.

    The iBUG annotation, and dlib trained on it, puts jaw points on the visible outline. A point
    slides along its row of the sheet, then up the contour to the height that it has on the head.

    Args:
        landmarks: (2, 68) pixels.
        screen: (3, rows, columns) of the projected head.
        facing: (rows, columns) z of its normals, negative where it faces away.
        height: (rows, columns) y in the head's own frame.
        grid: (2, 68) columns and rows of the landmarks.
        roll: degrees, clockwise; the outline is the extreme across the head's own axis.
    """
    sine, cosine = np.sin(np.deg2rad(roll)), np.cos(np.deg2rad(roll))
    result = landmarks.copy()
    for index in JAW:
        column, row = (int(round(v)) for v in grid[:, index])
        if facing[row, column] >= 0:
            continue
        side, middle = (1 if index > 8 else -1), screen.shape[2] // 2
        half = slice(middle, column + 1) if side > 0 else slice(column, middle + 1)
        x, y = screen[:2, row:, half]
        outermost = np.argmax(side * (x * cosine + y * sine), axis=1)
        rows = np.arange(len(outermost))
        contour = np.stack([x[rows, outermost], y[rows, outermost]])
        level = height[row, column]
        result[:, index] = _first_crossing(contour, height[row:, half][rows, outermost], level)
    return result


def _first_crossing(line: Array, height: Array, level: float) -> Array:
    """(2,) where the line (2, N) first rises through the level; its start if it is above."""
    above = int(np.argmax(height >= level))
    if above == 0:
        return line[:, 0]
    share = (level - height[above - 1]) / (height[above] - height[above - 1])
    return mix(line[:, above - 1], line[:, above], share)

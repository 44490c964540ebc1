"""A scanline rasteriser in numpy: triangles to rows, rows to exact spans, the nearest wins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mining.generators.head.curves import Array

_EDGE = np.float32(1e-4)  # a pixel centre on an edge belongs to the triangle


@dataclass(frozen=True)
class Fragments:
    """The pixels that a mesh covers, each once, with where on the mesh they look."""

    pixel: NDArray[np.int64]  # (F,) row * size + column
    corners: NDArray[np.int32]  # (3, F) vertices of the triangle seen there
    weights: NDArray[np.float32]  # (3, F) barycentric weights of those vertices

    def interpolate(self, values: Array) -> Array:
        """(F,) values at the pixels, from values at the vertices."""
        flat = values.reshape(-1)
        parts = [flat[c] * w for c, w in zip(self.corners, self.weights, strict=True)]
        return parts[0] + parts[1] + parts[2]

    def select(self, keep: Array) -> Fragments:
        """Only the fragments that the mask or index array keeps."""
        return Fragments(self.pixel[keep], self.corners[:, keep], self.weights[:, keep])


@lru_cache(maxsize=32)
def grid_triangles(rows: int, columns: int, flipped: bool) -> NDArray[np.int32]:
    """(3, T) vertex numbers of a grid's triangles, counter-clockwise seen from outside."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    c, d = index[1:, 1:].ravel(), index[1:, :-1].ravel()
    triangles = np.concatenate([np.stack([a, b, c]), np.stack([a, c, d])], axis=1)
    return np.ascontiguousarray(triangles[[0, 2, 1]] if flipped else triangles)


def grid_normals(points: Array, flipped: bool) -> Array:
    """(3, rows, columns) unit normals of a posed grid, by central differences."""
    along, up = _difference(points, 2), _difference(points, 1)
    (ax, ay, az), (bx, by, bz) = (along, up) if not flipped else (up, along)
    normal = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
    return normal / (np.sqrt((normal * normal).sum(0)) + np.float32(1e-9))


def _difference(points: Array, axis: int) -> Array:
    result = np.empty_like(points)
    at = [slice(None)] * 3

    def part(start: int | None, stop: int | None) -> tuple[slice, ...]:
        at[axis] = slice(start, stop)
        return tuple(at)

    result[part(1, -1)] = points[part(2, None)] - points[part(None, -2)]
    result[part(0, 1)] = points[part(1, 2)] - points[part(0, 1)]
    result[part(-1, None)] = points[part(-1, None)] - points[part(-2, -1)]
    return result


def _expand(counts: Array) -> tuple[Array, Array]:
    """For counts (2, 3): owners (0, 0, 1, 1, 1) and positions (0, 1, 0, 1, 2)."""
    owner = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    first = (np.cumsum(counts) - counts).astype(np.int32)
    return owner, np.arange(len(owner), dtype=np.int32) - first[owner]


def _span(slopes: tuple[Array, ...], offsets: tuple[Array, ...]) -> tuple[Array, Array]:
    """The interval of dx on which every slope * dx + offset is not below zero."""
    left = np.full(len(slopes[0]), -1e9, np.float32)
    right = np.full(len(slopes[0]), 1e9, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        for slope, offset in zip(slopes, offsets, strict=True):
            root = -(offset + _EDGE) / slope
            np.copyto(left, np.maximum(left, root), where=slope > 0)
            np.copyto(right, np.minimum(right, root), where=slope < 0)
    return left, right


def rasterise(screen: Array, triangles: NDArray[np.int32], size: int) -> Fragments:
    """Draw the triangles that face the viewer into a square image.

    Triangles are drawn from back to front by the depth of their corners, so the nearest is left.

    Args:
        screen: (3, V) float32 pixel x, pixel y, depth (larger is nearer).
        triangles: (3, T) vertex numbers, counter-clockwise as seen by the viewer.
    """
    x, y, depth = (np.take(np.ascontiguousarray(v), triangles) for v in screen)
    e1x, e1y, e2x, e2y = x[1] - x[0], y[1] - y[0], x[2] - x[0], y[2] - y[0]
    area = e1x * e2y - e1y * e2x
    top = np.maximum(np.ceil(y.min(0)), 0)
    bottom = np.minimum(np.floor(y.max(0)), size - 1)
    drawn = np.flatnonzero((area < -1e-6) & (bottom >= top))
    drawn = drawn[np.argsort(depth[:, drawn].sum(0), kind="stable")]
    inverse = 1.0 / area[drawn]
    grad1 = (e2y[drawn] * inverse, -e2x[drawn] * inverse)  # of corner 1's weight over x and y
    grad2 = (-e1y[drawn] * inverse, e1x[drawn] * inverse)
    x0, y0, top = x[0, drawn], y[0, drawn], top[drawn]

    owner, row = _expand((bottom[drawn] - top + 1).astype(np.int32))
    line = row.astype(np.float32) + top[owner]
    dy = line - y0[owner]
    slope1, slope2 = grad1[0][owner], grad2[0][owner]
    offset1, offset2 = grad1[1][owner] * dy, grad2[1][owner] * dy
    left, right = _span(
        (slope1, slope2, -slope1 - slope2), (offset1, offset2, 1 - offset1 - offset2)
    )
    start_x = x0[owner]
    first = np.maximum(np.ceil(left + start_x), 0)
    width = (np.minimum(np.floor(right + start_x), size - 1) - first + 1).astype(np.int32)
    filled = np.flatnonzero(width > 0).astype(np.int32)
    span, step = _expand(width[filled])
    span = filled[span]
    column = step + first[span].astype(np.int32)

    nearest = np.full(size * size, -1, np.int32)
    nearest[line.astype(np.int32)[span] * size + column] = np.arange(len(span), dtype=np.int32)
    pixel = np.flatnonzero(nearest >= 0)
    kept = nearest[pixel]
    span = span[kept]
    dx = column[kept].astype(np.float32) - start_x[span]
    weight1 = slope1[span] * dx + offset1[span]
    weight2 = slope2[span] * dx + offset2[span]
    weights = np.stack([1 - weight1 - weight2, weight1, weight2])
    return Fragments(pixel, triangles[:, drawn[owner[span]]], weights)


def nearest_parts(layers: list[tuple[Fragments, Array]], size: int) -> list[Fragments]:
    """Of each part keep the fragments that no other part hides.

    Args:
        layers: per part its fragments and their (F,) depths.
    """
    depth = np.full(size * size, -1e9, np.float32)
    owner = np.full(size * size, -1, np.int8)
    for number, (fragments, z) in enumerate(layers):
        closer = z > depth[fragments.pixel]
        depth[fragments.pixel[closer]] = z[closer]
        owner[fragments.pixel[closer]] = number
    return [f.select(owner[f.pixel] == n) for n, (f, _) in enumerate(layers)]

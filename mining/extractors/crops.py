"""Cuts faces out of images: by a box, or aligned to a template of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]


def similarity(points: Array, template: Array) -> Array:
    """The rotation, scale and shift that bring points onto a template with least squares.

    Source: Umeyama (1991), doi:10.1109/34.88573, equations (40)-(43).

    Args:
        points: (N, K, 2), K >= 2, such as pixels of the image.
        template: (K, 2), such as pixels of the crop.

    Returns:
        (N, 2, 3): template = matrix @ (x, y, 1).

    Raises:
        InputError: shapes disagree, or the points of a row all lie in one place.
    """
    points, template = np.asarray(points, np.float64), np.asarray(template, np.float64)
    if points.ndim != 3 or points.shape[1:] != template.shape or template.shape[-1] != 2:
        raise InputError(
            f"similarity: points {points.shape} and template {template.shape} came; expected "
            "(N, K, 2) and (K, 2)."
        )
    middle, goal = points.mean(axis=1, keepdims=True), template.mean(axis=0)
    centred, wanted = points - middle, template - goal
    spread = (centred**2).sum(axis=(1, 2))
    if not (spread > 0).all():
        raise InputError("similarity: the points of a row lie in one place, or are not finite.")
    left, stretch, right = np.linalg.svd(np.einsum("ki,nkj->nij", wanted, centred))
    flip = np.linalg.det(left) * np.linalg.det(right) < 0
    stretch[:, 1] *= np.where(flip, -1.0, 1.0)
    left[:, :, 1] *= np.where(flip, -1.0, 1.0)[:, None]
    linear = (stretch.sum(axis=1) / spread)[:, None, None] * (left @ right)
    shift = goal[:, None] - linear @ middle.transpose(0, 2, 1)
    return np.concatenate([linear, shift], axis=2)


def warped(image: NDArray[np.uint8], matrix: Array, size: tuple[int, int]) -> NDArray[np.uint8]:
    """One image (H, W, 3) seen through a (2, 3) matrix, bilinear; black outside.

    Args:
        matrix: pixels of the image -> pixels of the result, whole numbers at their middles.
        size: width and height of the result.
    """
    import cv2

    # a rotation and shrinking in one step would skip pixels: a smaller copy first
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if 0 < scale < 0.5:
        edges = [max(1, round(edge * scale * 1.5)) for edge in image.shape[1::-1]]
        small = cv2.resize(image, edges, interpolation=cv2.INTER_AREA)
        ratio = np.array(image.shape[1::-1]) / small.shape[1::-1]
        shift = matrix[:, :2] @ (ratio / 2 - 0.5) + matrix[:, 2]
        image, matrix = np.asarray(small), np.column_stack([matrix[:, :2] * ratio, shift])
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)


def box_crop(
    image: NDArray[np.uint8], box: Array, size: tuple[int, int], margin: float = 0.0
) -> NDArray[np.uint8]:
    """A square around a box, in fractions of the image, as (height, width, 3).

    Args:
        box: left, top, right, bottom in fractions of the image.
        size: width and height of the result.
        margin: added on each side, in lengths of the box's longer edge.
    """
    height, width = image.shape[:2]
    corners = np.asarray(box, np.float64) * [width, height, width, height]
    middle = (corners[:2] + corners[2:]) / 2
    edge = float((corners[2:] - corners[:2]).max()) * (1 + 2 * margin)
    if not edge > 0:
        raise InputError(f"box_crop: the box {np.round(box, 4).tolist()} has no area.")
    scale = np.array(size) / edge
    # edges of pixels, not middles: (0, 0) is half a pixel before the first middle
    shift = np.array(size) / 2 - scale * (middle - 0.5) - 0.5
    return warped(image, np.column_stack([np.diag(scale), shift]), size)

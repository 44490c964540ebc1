"""Cuts faces out of images: by a box, aligned to a template of points, or from the middle."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]
Way = Literal["bilinear", "bicubic", "plain", "area", "nearest"]  # see `resized`
MOST_TIMES = 8  # of the image's longer edge, that a crop may have


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

    # a rotation and shrinking in one step would skip pixels: means of whole blocks first
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if 0 < scale < 0.5:
        block = 2 ** int(min(np.log2(1 / scale), np.log2(max(image.shape[:2]))))
        image = _block_means(image, block)
        shift = matrix[:, :2] @ np.full(2, (block - 1) / 2) + matrix[:, 2]
        matrix = np.column_stack([matrix[:, :2] * block, shift])
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)


def _block_means(image: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    """Means over blocks of pixels; black fills up those that reach over the image's edge."""
    import cv2

    height, width = image.shape[:2]
    down, across = -height % block, -width % block
    if down or across:
        image = np.asarray(
            cv2.copyMakeBorder(image, 0, down, 0, across, cv2.BORDER_CONSTANT), np.uint8
        )
    size = (image.shape[1] // block, image.shape[0] // block)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def box_crop(
    image: NDArray[np.uint8],
    box: Array,
    size: tuple[int, int],
    margin: float = 0.0,
    way: Way = "bilinear",
) -> NDArray[np.uint8]:
    """A box and what lies around it, as (height, width, 3); black outside the image.

    What is cut has the proportions of the result and holds the whole box; its corners are rounded
    to whole pixels, as in the cropping behind most networks.

    Args:
        image: (H, W, 3).
        box: left, top, right, bottom in fractions of the image.
        size: width and height of the result.
        margin: added on each side, in lengths of the edge that fills the result.

    Raises:
        InputError: the box has no area, is not finite, or is far larger than the image.
    """
    height, width = image.shape[:2]
    corners = np.asarray(box, np.float64) * [width, height, width, height]
    edges = corners[2:] - corners[:2]
    if not ((edges > 0).all() and np.isfinite(corners).all()):
        raise InputError(f"box_crop: the box {np.round(box, 4).tolist()} has no area.")
    goal = np.array(size, np.float64)
    cut = goal * (edges / goal).max() * (1 + 2 * margin)
    if cut.max() > MOST_TIMES * max(width, height):
        raise InputError(
            f"box_crop: the box {np.round(box, 4).tolist()} with its margin is "
            f"{cut.max() / max(width, height):.1f} times the image; at most {MOST_TIMES} are cut."
        )
    middle = (corners[:2] + corners[2:]) / 2
    left, top = np.rint(middle - cut / 2).astype(int)
    right, bottom = np.maximum(np.rint(middle + cut / 2).astype(int), [left + 1, top + 1])
    return resized(window(image, left, top, right, bottom)[None], size, way)[0]


def window(
    image: NDArray[np.uint8], left: int, top: int, right: int, bottom: int
) -> NDArray[np.uint8]:
    """The pixels from (left, top) up to but without (right, bottom); black outside the image."""
    height, width = image.shape[:2]
    rows = slice(min(max(top, 0), height), min(max(bottom, 0), height))
    columns = slice(min(max(left, 0), width), min(max(right, 0), width))
    seen = image[rows, columns]
    if seen.shape[:2] == (bottom - top, right - left):
        return seen
    whole = np.zeros((bottom - top, right - left, *image.shape[2:]), image.dtype)
    whole[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = seen
    return whole


def middle_crop(
    images: NDArray[np.uint8],
    size: tuple[int, int],
    share: float = 1.0,
    way: Way = "bilinear",
) -> NDArray[np.uint8]:
    """The largest part of the images' middle with the proportions of the result.

    Args:
        images: (N, H, W, 3).
        size: width and height of the result.
        share: of that part's edges; 0.875 is to scale to 256 and keep the inner 224.
    """
    height, width = images.shape[1:3]
    goal = np.array(size, np.float64)
    edges = np.maximum(np.rint(goal * min(width / goal[0], height / goal[1]) * share), 1)
    across, down = edges.astype(int)
    left, top = (width - across) // 2, (height - down) // 2
    return resized(images[:, top : top + down, left : left + across], size, way)


def resized(images: NDArray[np.uint8], size: tuple[int, int], way: Way) -> NDArray[np.uint8]:
    """(N, H, W, 3) -> (N, height, width, 3).

    "bilinear" and "bicubic" widen their filters where they shrink, as Pillow and torchvision do;
    "plain" reads the four nearest pixels at any size, as OpenCV does by default; "area" means over
    the pixels under each new one; "nearest" reads one. Whole numbers throughout: neither batch nor
    threads change a byte.

    Args:
        size: width and height of the result.
    """
    if images.shape[1:3] == (size[1], size[0]) or not len(images):
        return images.reshape(len(images), size[1], size[0], images.shape[-1])
    if way in ("bilinear", "bicubic"):
        import torch
        from torch.nn import functional

        # channel by channel in memory, as torch makes it and most networks read it
        made = np.empty((len(images), images.shape[-1], size[1], size[0]), np.uint8)
        for image, place in zip(images, made, strict=True):  # one by one stays in the cache
            whole = np.require(image, requirements=["C", "W"])  # as torch wants it
            pixels = torch.from_numpy(whole).permute(2, 0, 1)[None]
            shrunk = functional.interpolate(pixels, (size[1], size[0]), mode=way, antialias=True)
            place[:] = shrunk[0].numpy()
        return made.transpose(0, 2, 3, 1)
    import cv2

    flags = {"plain": cv2.INTER_LINEAR, "area": cv2.INTER_AREA, "nearest": cv2.INTER_NEAREST_EXACT}
    made = [cv2.resize(image, size, interpolation=flags[way]) for image in images]
    return np.asarray(made, np.uint8)

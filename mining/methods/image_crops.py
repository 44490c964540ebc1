"""Where networks look in an image: at a crop of the face that follows from the latent alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.editing.image_terms import box_crop, face_crop
from mining.extractors.deca import SIZE, square
from mining.extractors.face_template import TEMPLATE
from mining.methods.gcv_ridge import fit_ridge
from mining.methods.image_options import WHO, Crop
from mining.methods.learned import LearnedRows
from schemas.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Matrices = Callable[[Array], Array]  # W+ (N, num_ws, w_dim) -> (N, 2, 3), see `ImageTerm`
COARSE = 8  # first rows of W+, of which landmarks are read
LEAST = 50  # rows with landmarks that a reading of them takes
SCALE = 1.25  # edge of DECA's crop over the face's
FARTHEST = 0.5  # images beyond the image where a landmark may be expected
WHOLE = np.array([[0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])  # the crop that shows all


class ExpectedLandmarks:
    """68 landmarks as ridge regression expects them of the mean of W+'s first rows."""

    def __init__(self, rows: LearnedRows):
        assert rows.landmarks is not None
        latents = rows.latents
        if rows.space == "w+":
            coarse = latents.reshape(len(latents), *rows.shape)[:, :COARSE]
            latents = coarse.mean(axis=1, dtype=np.float64)
        self._reading = fit_ridge(latents, rows.landmarks.reshape(len(latents), -1))

    def landmarks(self, w_plus: Array) -> Array:
        """(N, num_ws, w_dim) -> (N, 68, 2) fractions of the image."""
        found = self._reading.read(w_plus[:, :COARSE].mean(axis=1))
        return found.clip(-FARTHEST, 1 + FARTHEST).reshape(-1, 68, 2)


class FfhqLandmarks:
    """The average face's landmarks, where FFHQ's alignment puts them in every image."""

    def __init__(self) -> None:
        self._points = ffhq_landmarks()

    def landmarks(self, w_plus: Array) -> Array:
        """(N, num_ws, w_dim) -> (N, 68, 2) fractions of the image."""
        return np.broadcast_to(self._points, (len(w_plus), 68, 2))


def ffhq_landmarks() -> Array:
    """(68, 2) the template's landmarks in an image cut out as FFHQ's are.

    With e the vector between the eyes and m that from their middle to the mouth's: the square's
    middle lies m / 10 below the eyes, half its edge is max(2 |e|, 1.8 |m|) for an upright face.
    Source: Karras, Laine & Aila (2019), arXiv:1812.04948, appendix A, and its `download_ffhq.py`.
    """
    points = TEMPLATE[:, :2] * [1.0, -1.0]  # y down
    left, right = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    eyes = (left + right) / 2
    down = (points[48] + points[54]) / 2 - eyes
    half = max(2.0 * np.linalg.norm(right - left), 1.8 * np.linalg.norm(down))
    return (points - eyes - 0.1 * down) / (2 * half) + 0.5


def encoder_crop(crop: Crop, rows: LearnedRows, resolution: int) -> Matrices | None:
    """Where a shape encoder looks; None for the whole image.

    Args:
        crop: "landmarks": DECA's square around the landmarks that rows lead to expect of a latent;
            "ffhq": around those of `ffhq_landmarks`; "auto": the first where rows have landmarks.

    Raises:
        InputError: "landmarks", and fewer than 50 rows have any.
    """
    if isinstance(crop, tuple):
        return box_crop(crop)
    if crop == "whole":
        return None
    expected = _expected(crop, rows)
    return lambda w_plus: np.stack(
        [around(points, resolution) for points in expected.landmarks(w_plus)]
    )


def identity_crop(crop: Crop | None, rows: LearnedRows) -> Matrices | None:
    """Where a face embedding looks: ArcFace's aligned crop, by landmarks as in `encoder_crop`."""
    if isinstance(crop, tuple):
        return box_crop(crop)
    if crop == "whole":
        return None
    expected: Any = _expected(crop or "auto", rows)  # landmarks of latents, as face_crop reads them
    return face_crop(expected)


def _expected(crop: str, rows: LearnedRows) -> ExpectedLandmarks | FfhqLandmarks:
    measured = 0
    if rows.landmarks is not None and rows.landmarks.shape[1:] == (68, 2):
        measured = int(np.isfinite(rows.landmarks).all(axis=(1, 2)).sum())
    if crop == "ffhq" or (crop == "auto" and measured < LEAST):
        return FfhqLandmarks()
    if measured < LEAST:
        raise InputError(
            f"{WHO}: crop landmarks came, and {measured} rows have 68 landmarks; expected at least "
            f"{LEAST}. Label the dataset with dlib, or take crop: ffhq, whole, or a box."
        )
    return ExpectedLandmarks(rows)


def around(points: Array, resolution: int) -> Array:
    """(2, 3) DECA's square around (68, 2) landmarks; all of the image where they are no face."""
    pixels = points * resolution - 0.5  # whole numbers at the middles of pixels
    corners = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
    found = square(corners, "landmarks", SCALE)
    if found is None:
        return WHOLE
    middle, edge = (found[0] + 0.5) / resolution, found[1] / resolution
    half = edge / 2 * SIZE / (SIZE - 1)  # its corners lie on the middles of the outer pixels
    return np.array([[half, 0.0, middle[0]], [0.0, half, middle[1]]])


def seen(images: Tensor, matrices: Array | None, size: int) -> Tensor:
    """What a network of `size` pixels sees of images: black beyond their edges.

    Images of more than twice its pixels are first averaged down by a power of 2.

    Args:
        images: (N, 1 or 3, H, H) in -1..1.
        matrices: (N, 2, 3), the crop in -1..1 -> fractions of the image; None shows all.
    """
    import torch
    import torch.nn.functional as F

    from mining.generators.devices import averaged_down

    images = images.expand(-1, 3, -1, -1)
    if matrices is None:
        if images.shape[-1] >= size:
            return averaged_down(images, size)
        return F.interpolate(images, (size, size), mode="bilinear")
    shrink = 2 ** int(np.log2(max(1, images.shape[-1] // (2 * size))))
    images = F.avg_pool2d(images, shrink) if shrink > 1 else images
    there = torch.from_numpy(matrices)
    places = F.affine_grid(there, [len(there), 3, size, size], align_corners=False)
    grid = (2 * places - 1).to(images)
    return F.grid_sample(images + 1, grid, align_corners=False) - 1  # black is 0 there

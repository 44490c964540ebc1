"""The distance between the edited and the first image, as a term of a gradient edit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.editing.image_networks import ImageNetwork
from mining.editing.terms import IDENTITY_WEIGHT
from mining.extractors.arcface import EDGE, alignment, five_points
from mining.generators.base import Generator
from mining.methods.base import check_positive
from mining.methods.control import ControlModel
from schemas.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Crop = Callable[[Array], Array]  # w0 (N, D) -> (N, 2, 3), crop in -1..1 -> fractions of the image


class ImageTerm:
    """weight * D(G(w), G(w0)) of equation (15), D an identity or a perceptual distance.

    Gradients pass through the network, the crop and the generator. Images of more than twice the
    network's pixels are first averaged down by a whole factor. The crop is fixed by the start
    alone, so that the edit cannot win by moving the face in its crop.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, equation (15).

    Args:
        generator: one with `differentiable`: networks in torch. The embedded head generator is
            rasterised, and has no gradients.
        space: of the latents.
        network: see `image_networks`.
        crop: what the network sees: None for the whole image, (left, top, right, bottom) as
            fractions of it, or a function of w0 such as `face_crop`.
        condition: (c_dim,) of all images, for generators that take one.

    Raises:
        InputError: the generator is not differentiable or has no such space, or a value is off.
    """

    makes_images = True  # so that torch may use all its threads

    def __init__(
        self,
        generator: Generator,
        space: str,
        network: ImageNetwork,
        weight: float = IDENTITY_WEIGHT,
        crop: Sequence[float] | Crop | None = None,
        condition: NDArray | None = None,
    ):
        check_positive("image term", zero=True, weight=weight)
        torch_generator: Any = generator
        if not hasattr(generator, "differentiable"):
            raise InputError(
                f"image term: generator {generator.name!r} is not differentiable: no gradient "
                "passes from its images to its latents. Train an embedding regressor "
                "(train_embedding) and hold identity by EmbeddingTerm."
            )
        self.weight = weight
        self._images = torch_generator.differentiable(space)
        self._network = network
        self._crop = crop if crop is None or callable(crop) else box_crop(crop)
        self._shrink = max(1, generator.resolution // (2 * network.size))
        self._condition = None if condition is None else np.asarray(condition, np.float32)
        self._first: tuple[Tensor, Tensor, Tensor | None] | None = None

    def __call__(self, latents: Tensor, start: Tensor) -> Tensor:
        """(N, D), (N, D) -> (N,)."""
        wanted, grid = self._start(start)
        found = self._features(latents, grid)
        return self.weight * self._network.compare(found, wanted).to(latents)

    def _start(self, start: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features and crops of the first images, kept from one step to the next."""
        import torch

        if self._first is None or not torch.equal(self._first[0], start):
            grid = None
            if self._crop is not None:
                matrices = np.asarray(self._crop(start.detach().cpu().numpy()), np.float64)
                if matrices.shape != (len(start), 2, 3) or not np.isfinite(matrices).all():
                    raise InputError(
                        f"image term: the crop gave {matrices.shape} for {len(start)} latents; "
                        f"expected finite numbers ({len(start)}, 2, 3)."
                    )
                grid = self._grid(torch.from_numpy(matrices))
            with torch.no_grad():
                self._first = (start.clone(), self._features(start, grid), grid)
        return self._first[1], self._first[2]

    def _grid(self, matrices: Tensor) -> Tensor:
        """(N, 2, 3) -> (N, size, size, 2), the places that the crop's pixels show, in -1..1."""
        import torch.nn.functional as F

        edge = self._network.size
        places = F.affine_grid(matrices, [len(matrices), 3, edge, edge], align_corners=False)
        return (2 * places - 1).float()

    def _features(self, latents: Tensor, grid: Tensor | None) -> Tensor:
        import torch
        import torch.nn.functional as F

        from mining.generators.devices import averaged_down

        given = None
        if self._condition is not None:
            given = torch.from_numpy(np.tile(self._condition, (len(latents), 1)))
        images = self._images(latents.float(), given)
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        size = self._network.size
        if grid is not None:
            images = F.avg_pool2d(images, self._shrink) if self._shrink > 1 else images
            images = F.grid_sample(images, grid.to(images.device), align_corners=False)
        elif images.shape[-1] > size:
            images = averaged_down(images, size)
        elif images.shape[-1] < size:
            images = F.interpolate(images, (size, size), mode="bilinear")
        return self._network(images)


def box_crop(box: Sequence[float]) -> Crop:
    """The same box of every image: left, top, right, bottom as fractions of it.

    Raises:
        InputError: it is no box.
    """
    numbers = np.asarray(box, np.float64)
    if (
        numbers.shape != (4,)
        or not np.isfinite(numbers).all()
        or (numbers[:2] >= numbers[2:]).any()
    ):
        raise InputError(
            f"image term: the crop {tuple(box)} came; expected left < right and top < bottom as "
            "fractions of the image: (left, top, right, bottom)."
        )
    left, top, right, bottom = numbers
    matrix = np.array(
        [[(right - left) / 2, 0, (left + right) / 2], [0, (bottom - top) / 2, (top + bottom) / 2]]
    )
    return lambda start: np.tile(matrix, (len(start), 1, 1))


def face_crop(control: ControlModel) -> Crop:
    """ArcFace's aligned crop, by the five points of the landmarks that a control model expects.

    The landmarks are R(phi(w0)): no face is looked for. They must be one of the sets that
    `five_points` knows: 68 of iBUG, or MediaPipe's 468 or 478.
    """

    def crop(start: Array) -> Array:
        points = five_points("face_crop", control.landmarks(start))
        # fractions of the image -> pixels of the crop, whole numbers at their middles, and back
        there = alignment(points)
        linear: Array = np.linalg.inv(there[:, :, :2]).astype(np.float64)
        shift = -linear @ (there[:, :, 2:] - (EDGE - 1) / 2)
        return np.concatenate([linear * (EDGE / 2), shift], axis=2)

    return crop

"""The losses of the direction matrix, equations (1) and (3) to (7), differentiable in torch.

Bounareli, Argyriou & Tzimiropoulos (2022), arXiv:2202.00046.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mining.shape3d.model import Sparse
from schemas.errors import InputError

# of iBUG's 68 points, counted from 0: the corners of an eye, then its lids; the mouth's corners
# and lips, outer and inner. As the authors' code has them; the paper names lids alone.
EYE_PAIRS = ((36, 39), (37, 41), (38, 40), (42, 45), (43, 47), (44, 46))
MOUTH_PAIRS = (
    *((48, 54), (49, 59), (50, 58), (51, 57), (52, 56), (53, 55)),
    *((60, 64), (61, 67), (62, 66), (63, 65)),
)
UNIT = 125.0  # millimetres: a camera of scale 8 per metre, as the authors' losses have it
FINEST = 4  # pixels: the edge of the coarsest band of `contrast_features`
SATURATION = 0.1  # of a range of -1..1: contrast beside which a pixel is normalised
Jaw = Callable[[Tensor, Tensor, Tensor], Tensor]


class ShapePoints:
    """Equation (1) at the landmarks, posed: where codes put the 68 points of a shape model.

    Args:
        model: mean and components at the landmarks, millimetres.
        unit: millimetres that are 1 in what comes out.
        jaw: (N,) degrees, identity (N, I), expression (N, E) -> (N, 68, 3) millimetres that the
            unposed points move. With it the fourth code is the jaw's turn.
    """

    def __init__(
        self,
        model: Sparse,
        unit: float = UNIT,
        jaw: Jaw | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ):
        self._mean, self._identity, self._expression = (
            torch.as_tensor(np.asarray(array), dtype=dtype, device=device) / unit
            for array in (model.mean, model.identity, model.expression)
        )
        self._unit, self._jaw = unit, jaw
        self._first = 3 if jaw is None else 4  # the first expression

    def __call__(self, codes: Tensor, identity: Tensor) -> Tensor:
        """Points as a viewer sees them: x to the image's right, y up, z towards the viewer.

        Args:
            codes: (N, K) yaw, pitch, roll in degrees, the jaw where there is one, then the first
                expressions of the model.
            identity: (N, I) of its first identities.

        Returns:
            (N, 68, 3) in units.
        """
        expression = codes[:, self._first :]
        e, i = expression.shape[1], identity.shape[1]
        if e > len(self._expression) or i > len(self._identity) or codes.shape[1] < self._first:
            raise InputError(
                f"shape points: codes {tuple(codes.shape)} and identity {tuple(identity.shape)} "
                f"came; expected {self._first} to {self._first + len(self._expression)} codes and "
                f"up to {len(self._identity)} of identity."
            )
        shape = self._mean + torch.einsum("nk,klx->nlx", identity, self._identity[:i])
        shape = shape + torch.einsum("nk,klx->nlx", expression, self._expression[:e])
        if self._jaw is not None:
            shape = shape + self._jaw(codes[:, 3], identity, expression) / self._unit
        return shape @ rotations(codes[:, :3]).transpose(1, 2)


def rotations(angles: Tensor) -> Tensor:
    """(N, 3) yaw, pitch, roll in degrees -> (N, 3, 3), whose `camera.euler_angles` they are.

    R = R_z(-roll) R_x(-pitch) R_y(yaw), each a right-handed turn of columns (x, y, z).
    """
    yaw, pitch, roll = torch.deg2rad(angles).unbind(1)
    turn = _about(2, -roll) @ _about(0, -pitch)
    return turn @ _about(1, yaw)


def _about(axis: int, angle: Tensor) -> Tensor:
    """(N,) radians -> (N, 3, 3) right-handed turns about x, y or z."""
    one, zero, cos, sin = torch.ones_like(angle), torch.zeros_like(angle), angle.cos(), angle.sin()
    rows = {
        0: (one, zero, zero, zero, cos, -sin, zero, sin, cos),
        1: (cos, zero, sin, zero, one, zero, -sin, zero, cos),
        2: (cos, -sin, zero, sin, cos, zero, zero, zero, one),
    }
    return torch.stack(rows[axis], dim=1).reshape(-1, 3, 3)


def shape_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """L_sh of equation (4): |S_r - S_gt|_1, summed over x, y, z, mean over points and samples.

    The paper sums over points; the mean differs by the factor 68 and is of a point whatever the
    number of points. Both (N, 68, 3).
    """
    return (found - wanted).abs().sum(dim=2).mean()


def inner_distance_loss(found: Tensor, wanted: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Equation (5): |d(S_r(i), S_r(j)) - d(S_gt(i), S_gt(j))|, d the 1-norm of the difference.

    On 3-D points, as the paper; the mean over pairs, as the authors' code; the paper sums. Both
    (N, 68, 3).
    """
    first, second = (list(numbers) for numbers in zip(*pairs, strict=True))

    def inner(points: Tensor) -> Tensor:
        return (points[:, first] - points[:, second]).abs().sum(dim=2)

    return (inner(found) - inner(wanted)).abs().mean()


def identity_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Equation (6): 1 - cosine of the embeddings, mean over samples. Both (N, E)."""
    return 1 - torch.nn.functional.cosine_similarity(found, wanted, dim=1).mean()


def pixel_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """The L1 term of equation (7): mean |I_r - I_t|, both (N, ...) in -1..1."""
    return (found - wanted).abs().mean()


def perceptual_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance of features, (N, F), summed over features, mean over samples.

    Features are scaled by whoever makes them: see `contrast_features`; LPIPS brings its own.
    """
    return (found - wanted).square().sum(dim=1).mean()


def contrast_features(images: Tensor) -> Tensor:
    """Contrasts of small images at several scales: what stands in for LPIPS where none is given.

    Each level of a Laplacian pyramid is divided by 0.1 plus the mean contrast around each pixel, so
    that an edge counts as an edge in light and in shade; the last level is the small image that is
    left. Scaled so that the squared distance of two images' features is the mean over levels of
    the mean squared difference.
    Source: Laparra, Balle, Berardino & Simoncelli (2016), the normalised Laplacian pyramid,
    doi:10.2352/ISSN.2470-1173.2016.16.HVEI-103; the filters here are 2 x 2 means.

    Args:
        images: (N, 3, H, W) in -1..1; H and W are halved while both are even and above 4.

    Returns:
        (N, F)
    """
    levels, rest = [], images
    while min(rest.shape[2:]) > FINEST and not (rest.shape[2] % 2 or rest.shape[3] % 2):
        small = torch.nn.functional.avg_pool2d(rest, 2)
        large = torch.nn.functional.interpolate(small, scale_factor=2, mode="nearest")
        band = rest - large
        around = torch.nn.functional.avg_pool2d(band.abs(), 3, 1, 1, count_include_pad=False)
        levels.append(band / (SATURATION + around))
        rest = small
    levels.append(rest)
    flat = [level.flatten(1) / (level[0].numel() * len(levels)) ** 0.5 for level in levels]
    return torch.cat(flat, dim=1)

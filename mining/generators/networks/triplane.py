"""Tri-planes: features of a point in space, read from three images that span it.

Source: Chan et al. (2022), "Efficient Geometry-aware 3D Generative Adversarial Networks",
arXiv:2112.07945, section 3.2 and figure 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mining.generators.networks.layers import Dense
from schemas.errors import InputError

PlaneAxes = Literal["released", "corrected"]
AxisPair = tuple[int, int]  # the axes of space along a plane's columns and along its rows
MergedPlane = tuple[AxisPair, Tensor]  # ascending axes, (N, C, H, W)

# The released models were trained with (x, y), (x, z) and (z, x): the last two planes span the
# same points, so that nothing but the first sees y together with another axis. Models retrained
# after https://github.com/NVlabs/eg3d/issues/67 have (z, y) in the third place.
PLANE_AXES: dict[PlaneAxes, tuple[AxisPair, AxisPair, AxisPair]] = {
    "released": ((0, 1), (0, 2), (2, 0)),
    "corrected": ((0, 1), (0, 2), (2, 1)),
}
MARGIN = 0.001  # colours reach this far beyond 0 and 1


def plane_axes_of(kind: str) -> tuple[AxisPair, AxisPair, AxisPair]:
    """The axes of the three planes by name, or InputError."""
    if kind not in PLANE_AXES:
        raise InputError(f"eg3d: plane axes {kind!r}; expected one of {', '.join(PLANE_AXES)}.")
    return PLANE_AXES[kind]


def merge_planes(planes: Tensor, axes: Sequence[AxisPair]) -> list[MergedPlane]:
    """Sum the planes that span the same axes, turned so that their axes agree.

    Sampling is linear, so the sum of samples is the sample of the sum: the released models cost
    two look-ups a point instead of three.

    Args:
        planes: (N, P, C, H, W), H = W.
        axes: P pairs.

    """
    merged: dict[AxisPair, Tensor] = {}
    for n, (column, row) in enumerate(axes):
        plane, pair = planes[:, n], (column, row)
        if column > row:
            plane, pair = plane.transpose(2, 3), (row, column)
        merged[pair] = merged[pair] + plane if pair in merged else plane
    return [(pair, plane.contiguous()) for pair, plane in merged.items()]


def sample_planes(
    merged: Sequence[MergedPlane], points: Tensor, box: float, count: int = 3
) -> Tensor:
    """The mean feature of each point over its projections onto the planes.

    Bilinear; the outermost pixels' outer edges lie on the box, and beyond it features fade to 0.

    Args:
        merged: of `merge_planes`.
        points: (N, 3, ...) coordinates in the volume's unit.
        box: the side of the cube that the planes span.
        count: planes before merging.

    Returns:
        (N, C, ...).
    """
    shape = points.shape[2:]
    scaled = points.flatten(2) * (2 / box)
    total: Tensor | None = None
    for (column, row), plane in merged:
        grid = torch.stack([scaled[:, column], scaled[:, row]], dim=-1)[:, None]
        found = F.grid_sample(plane, grid, align_corners=False)[:, :, 0]
        total = found if total is None else total + found
    assert total is not None
    return (total / count).unflatten(2, shape)


class Decoder(nn.Module):
    """The small network that turns the feature of a point into its density and colour.

    Source: Chan et al. (2022), arXiv:2112.07945, supplement ("decoder"); the range of the colours
    is that of mip-NeRF, Barron et al. (2021), arXiv:2103.13415.
    """

    def __init__(self, features: int, colours: int, lr_multiplier: float = 1.0, hidden: int = 64):
        super().__init__()
        self.net = nn.ModuleDict(
            {
                "0": Dense(features, hidden, lr_multiplier=lr_multiplier),
                "2": Dense(hidden, 1 + colours, lr_multiplier=lr_multiplier),
            }
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, features, M) -> density (N, M) before its activation, colours (N, colours, M)."""
        hidden = F.softplus(self._dense("0", features))
        out = self._dense("2", hidden)
        return out[:, 0], torch.sigmoid(out[:, 1:]) * (1 + 2 * MARGIN) - MARGIN

    def density(self, features: Tensor) -> Tensor:
        """(N, features, M) -> (N, M), as `forward` without the colours."""
        return self._dense("2", F.softplus(self._dense("0", features)), outputs=1)[:, 0]

    def _dense(self, name: str, x: Tensor, outputs: int | None = None) -> Tensor:
        layer = self.net[name]
        assert isinstance(layer, Dense)
        bias = layer.bias[:outputs, None] * layer.bias_gain
        return torch.baddbmm(bias, layer.scaled_weight()[:outputs].expand(len(x), -1, -1), x)

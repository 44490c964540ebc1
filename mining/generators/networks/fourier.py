"""The Fourier features that StyleGAN3 starts from, and the transform that moves its image."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from mining.generators.networks.layers import Dense


def image_transform(degrees: float = 0.0, right: float = 0.0, down: float = 0.0) -> Tensor:
    """(3, 3) what `FourierInput` takes to turn the image, then move it.

    It is the inverse of the motion: it maps a place of the moved image to the place in the
    image at rest whose content it shows, both from the centre, x to the right and y down.

    Args:
        degrees: about the centre, counter-clockwise as seen.
        right, down: in image widths.
    """
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    motion = torch.tensor([[cos, sin, right], [-sin, cos, down], [0, 0, 1]], dtype=torch.float64)
    return torch.linalg.inv(motion).float()


class FourierInput(nn.Module):
    """Waves of fixed frequencies, turned and moved by the style, mixed by a learned matrix.

    Source: Karras et al. (2021), arXiv:2106.12423, sections 3.1 ("Fourier features") and 3.2
    ("Transformed Fourier features").

    Args:
        size: pixels of each axis, margins included.
        sampling_rate: pixels per image width.
        bandwidth: the highest frequency that is drawn, in cycles per image width.
    """

    transform: Tensor
    freqs: Tensor
    phases: Tensor
    grid: Tensor

    def __init__(
        self, w_dim: int, channels: int, size: int, sampling_rate: float, bandwidth: float
    ):
        super().__init__()
        self.bandwidth, self.nyquist = bandwidth, sampling_rate / 2
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.weight_gain = 1 / math.sqrt(channels)
        self.affine = Dense(w_dim, 4, weight_init=0.0)
        with torch.no_grad():
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))  # neither turned nor moved
        angles = 2 * math.pi * torch.rand(channels)
        radii = bandwidth * torch.rand(channels).sqrt()  # uniform over the disc
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer(
            "freqs", torch.stack([angles.cos(), angles.sin()], dim=1) * radii[:, None]
        )
        self.register_buffer("phases", torch.rand(channels) - 0.5)
        # not made by torch: it keeps its numbers where torch lays weights out without memory
        places = (np.arange(size) + 0.5 - size / 2) / sampling_rate
        self.register_buffer("grid", torch.from_numpy(places).float(), persistent=False)

    def forward(self, style: Tensor, transform: Tensor | None = None) -> Tensor:
        """(N, 4) -> (N, channels, size, size), float32, channels last in memory.

        Args:
            style: cosine and sine of the rotation, translation x and y; all are divided by the
                length of the first two.
            transform: (3, 3) or (N, 3, 3) from `image_transform`; None for the stored one.
        """
        transform = self.transform if transform is None else transform
        inverse = _inverse_motion(style) @ transform
        turn, shift = inverse[:, :2, :2], inverse[:, :2, 2]
        freqs = self.freqs @ turn  # (N, channels, 2)
        phases = self.phases + shift @ self.freqs.t()
        beyond = (freqs.norm(dim=2) - self.bandwidth) / (self.nyquist - self.bandwidth)
        amplitudes = (1 - beyond).clamp(0, 1)  # a transform that shrinks must not alias

        x = self.grid[:, None] * freqs[:, None, :, 0]  # (N, W, channels)
        y = self.grid[:, None] * freqs[:, None, :, 1] + phases[:, None]  # (N, H, channels)
        waves = torch.sin((x[:, None] + y[:, :, None]) * (2 * math.pi))
        mixed = (waves * amplitudes[:, None, None]) @ (self.weight * self.weight_gain).t()
        return mixed.permute(0, 3, 1, 2)


def _inverse_motion(style: Tensor) -> Tensor:
    """(N, 4) -> (N, 3, 3) rotation times translation, both already inverse to the image's."""
    cos, sin, x, y = (style / style[:, :2].norm(dim=1, keepdim=True)).unbind(dim=1)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rotation = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1)
    translation = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one], dim=1)
    return rotation.view(-1, 3, 3) @ translation.view(-1, 3, 3)

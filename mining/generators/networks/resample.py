"""Up-sampling and blurring of feature maps with short FIR filters, on depthwise convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

DEFAULT_TAPS = (1.0, 3.0, 3.0, 1.0)


def fir(taps: Sequence[float] | None) -> Tensor:
    """(T,) the taps of a separable low-pass filter, with sum 1."""
    row = torch.tensor(list(taps or [1.0]), dtype=torch.float32, device="cpu")  # never "meta"
    return row / row.sum()


def blur(x: Tensor, taps: Tensor, before: int, after: int, gain: float = 1.0) -> Tensor:
    """Pad (or, where negative, crop) both axes with zeros, then convolve with taps x taps.

    Args:
        x: (N, C, H, W).
        taps: (T,), convolved, not correlated.
        before, after: pixels added at the low and at the high end of each axis.
        gain: of the whole, both axes together.
    """
    channels, size = x.shape[1], len(taps)
    row = (taps.flip(0) * gain**0.5).to(x.dtype)
    pad = max(min(before, after), 0)  # what the convolution itself can pad
    if before != pad or after != pad:
        x = F.pad(x, (before - pad, after - pad, before - pad, after - pad))
    x = F.conv2d(
        x, row.view(1, 1, 1, size).expand(channels, -1, -1, -1), padding=(0, pad), groups=channels
    )
    return F.conv2d(
        x, row.view(1, 1, size, 1).expand(channels, -1, -1, -1), padding=(pad, 0), groups=channels
    )


def upsample2(x: Tensor, taps: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W): zeros between the pixels, then the filter, gain 4.

    Source: Karras et al. (2020), arXiv:1912.04958, section 2 (skip connections between RGB).
    """
    n, c, h, w = x.shape
    size = len(taps)
    before, after = (size + 1) // 2, (size - 2) // 2
    zeros = x.new_zeros(n, c, h, 2, w, 2)
    zeros[:, :, :, 0, :, 0] = x
    return blur(zeros.view(n, c, 2 * h, 2 * w), taps, before, after, gain=4.0)


def conv_up2(x: Tensor, weight: Tensor, taps: Tensor) -> Tensor:
    """Up-sample by 2 and convolve, in the order that costs least: transposed convolution, then FIR.

    Args:
        x: (N, I, H, W).
        weight: (O, I, k, k), convolved, so turned by 180 degrees against torch's `conv2d`.

    Returns:
        (N, O, 2H, 2W).
    """
    edge, size = weight.shape[-1], len(taps)
    if edge == 1:
        return upsample2(F.conv2d(x, weight), taps)
    pad = edge // 2
    before, after = pad + (size + 1) // 2 - (edge - 1), pad + (size - 2) // 2 - (edge - 2)
    wide = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return blur(wide, taps, before, after, gain=4.0)

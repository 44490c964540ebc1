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
    pad = max(min(before, after), 0)  # what the convolution itself can pad
    if before != pad or after != pad:
        x = F.pad(x, (before - pad, after - pad, before - pad, after - pad))
    return F.conv2d(x, plane(taps.flip(0), x, gain), padding=pad, groups=x.shape[1])


def plane(taps: Tensor, x: Tensor, gain: float) -> Tensor:
    """(C, 1, T, T) gain * taps x taps for each of x's channels, in its type.

    For the four taps of the releases one pass over the plane is faster than one along each axis.
    """
    return (taps.outer(taps) * gain).to(x.dtype).expand(x.shape[1], 1, -1, -1)


def upsample2(x: Tensor, taps: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W): zeros between the pixels, then the filter, gain 4.

    Source: Karras et al. (2020), arXiv:1912.04958, section 2 (skip connections between RGB).
    """
    if len(taps) == 1:
        taps = F.pad(taps, (1, 0))  # the same filter with a whole number of pixels to crop
    height, width = 2 * x.shape[2], 2 * x.shape[3]
    kernel, crop = plane(taps, x, gain=4.0), (len(taps) - 2) // 2
    # the transposed convolution never multiplies with the zeros
    y = F.conv_transpose2d(x, kernel, stride=2, padding=crop, groups=x.shape[1])
    return y[:, :, :height, :width]


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

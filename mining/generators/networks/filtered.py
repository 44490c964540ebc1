"""The alias-free activation: up-sample, leaky ReLU, low-pass filter, down-sample.

Features stay in torch's channels-last layout, in which depthwise convolutions are several times
faster on a CPU than in the plain one. The up-sampled image is four times as large as what goes in
or comes out, so a CPU makes it in stripes: they need little memory, which is then used again.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LAYOUT = torch.channels_last
STRIPE = 2**22  # numbers of the up-sampled image that are in memory at a time, on a CPU


def filtered_lrelu(
    x: Tensor,
    up_taps: Tensor | None,
    down_taps: Tensor | None,
    up: int,
    down: int,
    before: int,
    size: int,
    gain: float = 2**0.5,
    slope: float = 0.2,
    clamp: float | None = None,
) -> Tensor:
    """Apply a leaky ReLU at a rate that holds the frequencies which it makes.

    y = down(clamp(gain lrelu(up(x)))), each of `up` and `down` with its low-pass filter.
    Source: Karras et al. (2021), arXiv:2106.12423, section 3.2 and figure 4b.

    Args:
        x: (N, C, H, W), its bias added.
        up_taps: (T,), symmetric, with sum 1; None for no filter.
        down_taps: (T,), or (T, T) where the filter is radial, symmetric; None for no filter.
        up, down: whole factors of the sampling rate.
        before: zeros put at the low end of each axis of the up-sampled image, fewer than up_taps;
            negative crops. As many, or one fewer, are put at the high end.
        size: of the result.

    Returns:
        (N, C, size, size).
    """
    rise = (x.new_ones(1) if up_taps is None else up_taps) * gain**0.5
    fall = x.new_ones(1) if down_taps is None else down_taps
    start = len(rise) - 1 - before

    def stripe(x: Tensor, first: int, last: int) -> Tensor:
        """Rows `first` to `last` of the result."""
        tall, wide = ((n - 1) * down + len(fall) for n in (last - first, size))
        top = start + first * down
        low = max(0, (top - len(rise)) // up + 1)  # the rows of x that the filter reaches
        high = (top + tall - 1) // up + 1
        y = upsample(x[:, :, low:high], rise, up, 3, start, wide)
        y = upsample(y, rise, up, 2, top - low * up, tall)
        if clamp is not None:  # clamp(lrelu(y)), in the order in which autograd too may overwrite y
            y = y.clamp_(-clamp / slope, clamp)
        y = F.leaky_relu_(y, slope)  # lrelu(g y) = g lrelu(y): the gain is in the taps
        return downsample(y, fall, down)[:, :, : last - first, :size]

    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return stripe(x, 0, size)
    n, channels = x.shape[:2]
    rows = max(1, (STRIPE // (channels * (size * down + len(fall))) - len(fall)) // down)
    result = torch.empty((n, channels, size, size), dtype=x.dtype, memory_format=LAYOUT)
    for image in range(n):
        for first in range(0, size, rows):
            last = min(first + rows, size)
            result[image, :, first:last] = stripe(x[image : image + 1], first, last)[0]
    return result


def upsample(x: Tensor, taps: Tensor, up: int, axis: int, start: int, count: int) -> Tensor:
    """Put up - 1 zeros after each pixel of an axis, convolve with up * taps, cut a part out.

    The transposed convolution never multiplies with those zeros.

    Args:
        x: (N, C, H, W).
        taps: (T,).
        axis: 2 or 3.
        start, count: of the (L - 1) up + T pixels that the L pixels spread to, those to return;
            what it makes too much at the high end stays.
    """
    channels, size = x.shape[1], len(taps)
    spare = (x.shape[axis] - 1) * up + size - start - count
    crop = min(start, spare)  # it crops as much at both ends
    stride, padding, shape = (1, up), (0, crop), (1, size)
    if axis == 2:
        stride, padding, shape = stride[::-1], padding[::-1], shape[::-1]
    kernel = (taps * up).to(x.dtype).view(1, 1, *shape).expand(channels, -1, -1, -1)
    y = F.conv_transpose2d(x, kernel, stride=stride, padding=padding, groups=channels)
    return y.narrow(axis, start - crop, y.shape[axis] - (start - crop))


def downsample(x: Tensor, taps: Tensor, down: int) -> Tensor:
    """Convolve where the filter lies inside the image, and keep every `down`-th pixel.

    Args:
        x: (N, C, H, W).
        taps: (T,) for both axes, or (T, T), symmetric.
    """
    channels, size = x.shape[1], len(taps)
    if taps.ndim == 2:
        plane = taps.to(x.dtype).expand(channels, 1, size, size)
        return F.conv2d(x, plane, stride=down, groups=channels)
    row = taps.to(x.dtype).expand(channels, 1, 1, size)
    low = F.conv2d(x, row.transpose(2, 3), stride=(down, 1), groups=channels)
    return F.conv2d(low, row, stride=(1, down), groups=channels)

"""The modulated convolution, its layer with noise, and the layer that makes colours."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mining.generators.networks.layers import GAINS, SLOPE, Dense, activate, check_activation
from mining.generators.networks.resample import DEFAULT_TAPS, conv_up2, fir

HALF = (torch.float16, torch.bfloat16)


def modulated(x: Tensor, weight: Tensor, style: Tensor, taps: Tensor | None = None) -> Tensor:
    """Convolve with weights that the style scales per input channel, and normalise the outputs.

    y_o = d_o sum_i w_oi * (s_i x_i) with d_o = (sum_i s_i^2 |w_oi|^2 + 1e-8)^-1/2.
    The style scales the activations, so that all images of a batch share one convolution.
    Source: Karras et al. (2020), arXiv:1912.04958, equations 1 and 3.

    Args:
        x: (N, I, H, W).
        weight: (O, I, k, k), float32.
        style: (N, I), float32.
        taps: the filter of an up-sampling by 2; None leaves the size.

    Returns:
        (N, O, H, W) or (N, O, 2H, 2W), of x's type, which the caller may overwrite.
    """
    if x.dtype in HALF:  # d undoes any scale; this one keeps half floats in range
        fan_in = weight[0].numel()
        weight = weight / (weight.abs().amax(dim=(1, 2, 3), keepdim=True) * math.sqrt(fan_in))
        style = style / style.abs().amax(dim=1, keepdim=True).clamp_min(1e-8)  # 0 where all are
    y = x * style.to(x.dtype)[:, :, None, None]
    kernel = weight.to(x.dtype)
    if taps is None:
        y = F.conv2d(y, kernel, padding=weight.shape[-1] // 2)
    else:
        y = conv_up2(y, kernel, taps)
    energy = style.square() @ weight.square().sum(dim=(2, 3)).t()
    return y.mul_((energy + 1e-8).rsqrt().to(y.dtype)[:, :, None, None])


class ModulatedLayer(nn.Module):
    """A 3x3 (or k x k) modulated convolution, its noise, bias and activation."""

    noise_const: Tensor
    taps: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        resolution: int,
        up: int = 1,
        kernel_size: int = 3,
        use_noise: bool = True,
        activation: str = "lrelu",
        resample_filter: Sequence[float] = DEFAULT_TAPS,
        conv_clamp: float | None = None,
    ):
        super().__init__()
        self.resolution, self.up, self.use_noise = resolution, up, use_noise
        self.activation, self.clamp = check_activation(activation), conv_clamp
        self.affine = Dense(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("taps", fir(resample_filter), persistent=False)
        if use_noise:
            self.register_buffer("noise_const", torch.randn(resolution, resolution))
            self.noise_strength = nn.Parameter(torch.zeros([]))

    def forward(
        self, x: Tensor, style: Tensor, noise: Tensor | None = None, gain: float = 1.0
    ) -> Tensor:
        """(N, I, H, W), (N, I) -> (N, O, H', W').

        Args:
            noise: (H', W') or (N, 1, H', W') of unit variance; None for none.
        """
        y = modulated(x, self.weight, style, self.taps if self.up == 2 else None)
        if noise is not None and self.use_noise:
            y = y.add_((noise * self.noise_strength).to(y.dtype))
        y = y.add_(self.bias.to(y.dtype)[:, None, None])
        return overwritten(y, self.activation, gain, self.clamp)


def overwritten(y: Tensor, kind: str, gain: float, clamp: float | None) -> Tensor:
    """As `activate`, in the memory of y where that is the leaky rectifier of every release.

    New memory for large features costs a CPU far more than the arithmetic. The rectifier comes
    last, so that autograd finds what it keeps: clamp(g lrelu(y)) = lrelu(clamp'(g y)) for g > 0.
    """
    if kind != "lrelu":
        return activate(y, kind, gain, clamp)
    y = y.mul_(GAINS[kind] * gain)
    if clamp is not None:
        y = y.clamp_(-clamp * gain / SLOPE, clamp * gain)
    return F.leaky_relu_(y, SLOPE)


class ToRgb(nn.Module):
    """A 1x1 modulated convolution without normalisation: features to colours."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, conv_clamp: float | None = None):
        super().__init__()
        self.clamp = conv_clamp
        self.affine = Dense(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight_gain = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(N, I, H, W), (N, I) -> (N, O, H, W), float32."""
        kernel = self.weight.flatten(1) * (style * self.weight_gain)[:, None]
        # one matrix per image; with channels last, where a CPU is quickest in this order
        rows = x.flatten(2).transpose(1, 2) @ kernel.to(x.dtype).transpose(1, 2)
        y = rows.transpose(1, 2).unflatten(2, x.shape[2:])
        y = y + self.bias.to(y.dtype)[:, None, None]
        return activate(y, "linear", clamp=self.clamp).float()

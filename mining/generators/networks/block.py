"""One resolution of StyleGAN2's synthesis: its convolutions, its colours, its skip."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from mining.generators.networks.layers import Dense
from mining.generators.networks.modulated import ModulatedLayer, ToRgb
from mining.generators.networks.resample import DEFAULT_TAPS, conv_up2, fir, upsample2
from schemas.errors import InputError

ARCHITECTURES = ("orig", "skip", "resnet")
Affine = tuple[str, Dense, bool]  # name within the block, its affine map, whether it makes colours


class Block(nn.Module):
    """The layers of one resolution.

    Source: Karras et al. (2020), arXiv:1912.04958, figure 7: without skips ("orig"), with skip
    connections of the colours ("skip"), with residual connections of the features ("resnet").

    Args:
        inputs: channels; 0 for the first block, which starts from a learned constant.
        up: 2 doubles the size on the way in, 1 leaves it (as EG3D's first super-resolution block).
        use_fp16: whether the release computes this block with half floats.
        layer_options: for `ModulatedLayer`.
    """

    taps: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        is_last: bool,
        architecture: str = "skip",
        up: int = 2,
        use_fp16: bool = False,
        resample_filter: Sequence[float] = DEFAULT_TAPS,
        conv_clamp: float | None = None,
        **layer_options,
    ):
        super().__init__()
        if architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise InputError(f"stylegan2: architecture {architecture!r}; expected one of {known}.")
        self.inputs, self.outputs, self.resolution, self.up = inputs, outputs, resolution, up
        self.architecture, self.use_fp16 = architecture, use_fp16
        self.register_buffer("taps", fir(resample_filter), persistent=False)
        common = {"conv_clamp": conv_clamp, "resample_filter": resample_filter, **layer_options}
        if inputs:
            self.conv0 = ModulatedLayer(inputs, outputs, w_dim, resolution, up, **common)
        else:
            self.const = nn.Parameter(torch.randn(outputs, resolution, resolution))
        self.conv1 = ModulatedLayer(outputs, outputs, w_dim, resolution, **common)
        self.has_rgb = is_last or architecture == "skip"
        if self.has_rgb:
            self.torgb = ToRgb(outputs, img_channels, w_dim, conv_clamp)
        if inputs and architecture == "resnet":
            self.skip = Skip(inputs, outputs)

    def affines(self) -> Iterator[Affine]:
        """The style layers in the order in which they read W+ and S."""
        if self.inputs:
            yield "conv0", self.conv0.affine, False
        yield "conv1", self.conv1.affine, False
        if self.has_rgb:
            yield "torgb", self.torgb.affine, True

    def forward(
        self,
        x: Tensor | None,
        image: Tensor | None,
        styles: Sequence[Tensor],
        noises: Sequence[Tensor | None],
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Tensor, Tensor | None]:
        """Features and colours of the resolution below to those of this one.

        Args:
            x: (N, inputs, H / up, W / up); None for the first block.
            image: (N, img_channels, H / up, W / up), or None before the first colours.
            styles: one (N, channels) for each of `affines`.
            noises: one (H, W) or (N, 1, H, W) for each convolution, or None.
            dtype: of the features; colours are summed in float32.
        """
        layers, fields = iter(styles), iter(noises)
        root = math.sqrt(0.5)
        if x is None:
            y = laid_out(self.const.to(dtype).expand(len(styles[0]), -1, -1, -1))
            y = self.conv1(y, next(layers), next(fields))
        elif self.architecture == "resnet":
            x = laid_out(x.to(dtype))
            y = self.conv0(x, next(layers), next(fields))
            y = self.conv1(y, next(layers), next(fields), gain=root)
            y = y + self.skip(x, self.taps) * root
        else:
            y = self.conv0(laid_out(x.to(dtype)), next(layers), next(fields))
            y = self.conv1(y, next(layers), next(fields))
        if image is not None and self.up == 2:
            image = upsample2(image, self.taps)
        if self.has_rgb:
            colours = self.torgb(y, next(layers))
            image = colours if image is None else image + colours
        return y, image


def laid_out(x: Tensor) -> Tensor:
    """Channels last on a CPU, whose convolutions are faster so and keep that layout."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


class Skip(nn.Module):
    """The residual connection: up-sampling by 2 and a 1x1 convolution without bias."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.weight_gain = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, taps: Tensor) -> Tensor:
        """(N, I, H, W) -> (N, O, 2H, 2W)."""
        return conv_up2(x, (self.weight * self.weight_gain).to(x.dtype), taps)

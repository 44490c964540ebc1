"""StyleGAN2 and StyleGAN2-ADA, config-f and its variants, from 4 to 1024 pixels.

Sources: Karras et al. (2020), "Analyzing and Improving the Image Quality of StyleGAN",
arXiv:1912.04958; Karras et al. (2020), "Training Generative Adversarial Networks with Limited
Data", arXiv:2006.06676 (conditions, mixed precision). Tensors and arguments are named as in
NVIDIA's releases.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Options
from typing import Any

import torch
from torch import Tensor, nn

from mining.generators.networks.base import Noise, Precision, StyleLayer
from mining.generators.networks.block import Affine, Block
from mining.generators.networks.layers import Dense, Mapping
from mining.generators.networks.noise import noise_fields
from schemas.errors import InputError

FIRST_HALF = 8  # pixels: smaller blocks are never computed with half floats


class Synthesis(nn.Module):
    """W+ -> styles -> image.

    Args:
        channel_base, channel_max: a block of r pixels has min(channel_base / r, channel_max).
        num_fp16_res: so many of the largest blocks the release computes with half floats.
        block_options: for `Block`.
    """

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int = 3,
        channel_base: int = 32768,
        channel_max: int = 512,
        num_fp16_res: int = 0,
        **block_options: Any,
    ):
        super().__init__()
        if img_resolution < 4 or img_resolution & (img_resolution - 1):
            raise InputError(
                f"stylegan2: img_resolution {img_resolution}; expected a power of two from 4 on."
            )
        self.w_dim = w_dim
        self.precision: Precision = "float32"
        self.resolutions = [2**k for k in range(2, img_resolution.bit_length())]
        half_from = max(img_resolution * 2 >> num_fp16_res, FIRST_HALF)
        channels = {r: min(channel_base // r, channel_max) for r in self.resolutions}
        row = 0
        layers: list[StyleLayer] = []
        for r in self.resolutions:
            inputs = channels[r // 2] if r > 4 else 0
            block = Block(
                inputs,
                channels[r],
                w_dim,
                r,
                img_channels,
                is_last=r == img_resolution,
                use_fp16=r >= half_from,
                **block_options,
            )
            self.add_module(f"b{r}", block)
            for n, (name, affine, to_rgb) in enumerate(block.affines()):
                width = affine.weight.shape[0]
                layers.append(StyleLayer(f"b{r}.{name}", row + n, width, r, to_rgb))
            row += 2 if inputs else 1
        self.style_layers = tuple(layers)
        self.num_ws = row + 1

    def blocks(self) -> Iterator[Block]:
        """From the smallest to the largest."""
        for r in self.resolutions:
            block = self.get_submodule(f"b{r}")
            assert isinstance(block, Block)
            yield block

    def affines(self) -> Iterator[Affine]:
        """Name, affine map and kind of every style layer, in their order."""
        for block in self.blocks():
            for name, affine, to_rgb in block.affines():
                yield f"b{block.resolution}.{name}", affine, to_rgb

    def styles(self, ws: Tensor) -> Tensor:
        """(N, num_ws, w_dim) -> (N, S)."""
        pairs = zip(self.affines(), self.style_layers, strict=True)
        return torch.cat([affine(ws[:, layer.row]) for (_, affine, _), layer in pairs], dim=1)

    def forward(self, styles: Tensor, noise: Noise = "fixed") -> Tensor:
        """(N, S) -> (N, img_channels, H, W), float32."""
        parts = iter(styles.split([layer.channels for layer in self.style_layers], dim=1))
        fields = iter(self._noises(styles, noise))
        x = image = None
        for block in self.blocks():
            mine = [next(parts) for _ in block.affines()]
            noises = [next(fields) for _ in range(2 if block.inputs else 1)]
            x, image = block(x, image, mine, noises, self._dtype(block, styles.device))
        assert image is not None
        return image

    def _noises(self, styles: Tensor, noise: Noise) -> list[Tensor | None]:
        convolutions = [
            layer
            for block in self.blocks()
            for layer in ([block.conv0, block.conv1] if block.inputs else [block.conv1])
        ]
        if noise == "zero" or not convolutions[0].use_noise:
            return [None] * len(convolutions)
        if noise == "random":
            return list(noise_fields(styles, [layer.resolution for layer in convolutions]))
        return [layer.noise_const for layer in convolutions]

    def _dtype(self, block: Block, device: torch.device) -> torch.dtype:
        if block.resolution < FIRST_HALF or self.precision in ("float32", "tf32"):
            return torch.float32
        if self.precision == "released":  # the releases too use float32 away from CUDA
            return torch.float16 if block.use_fp16 and device.type == "cuda" else torch.float32
        return getattr(torch, self.precision)


class StyleGan2(nn.Module):
    """z, condition -> w -> W+ -> styles -> image; see `Network`."""

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        img_resolution: int,
        img_channels: int = 3,
        mapping_kwargs: Options[str, Any] | None = None,
        synthesis_kwargs: Options[str, Any] | None = None,
    ):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.resolution = img_resolution
        self.mapping = Mapping(z_dim, c_dim, w_dim, **(mapping_kwargs or {}))
        self.synthesis = Synthesis(w_dim, img_resolution, img_channels, **(synthesis_kwargs or {}))
        self.num_ws = self.synthesis.num_ws
        self.style_layers = self.synthesis.style_layers
        self.layer_names = row_names(self.style_layers)

    @property
    def w_avg(self) -> Tensor:
        """(w_dim,) the tracked mean of w."""
        return self.mapping.w_avg

    @property
    def precision(self) -> Precision:
        """How the features are computed; colours and styles are float32 always."""
        return self.synthesis.precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        self.synthesis.precision = precision

    def map(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, z_dim), (N, c_dim) -> (N, w_dim), not truncated."""
        return self.mapping(z, condition)

    def styles(self, ws: Tensor) -> Tensor:
        """(N, num_ws, w_dim) -> (N, S)."""
        return self.synthesis.styles(ws)

    def render(
        self, styles: Tensor, condition: Tensor | None = None, noise: Noise = "fixed"
    ) -> Tensor:
        """(N, S) -> (N, img_channels, H, W); the condition acts through w alone."""
        return self.synthesis(styles, noise)

    def style_weight(self, layer: StyleLayer) -> Tensor:
        """(channels, w_dim) the affine map of a layer, with its gain and without its bias."""
        affine = self.synthesis.get_submodule(layer.name).affine
        assert isinstance(affine, Dense)
        return affine.scaled_weight()


def row_names(layers: tuple[StyleLayer, ...]) -> tuple[str, ...]:
    """The layer that each row of W+ is named after: its convolution, or the last colours."""
    names: dict[int, str] = {}
    for layer in layers:
        if not layer.to_rgb or layer.row not in names:
            names[layer.row] = layer.name
    return tuple(names[row] for row in sorted(names))

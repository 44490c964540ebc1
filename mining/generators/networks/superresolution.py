"""EG3D's super-resolution: two blocks of StyleGAN2's synthesis on top of the rendered features.

Source: Chan et al. (2022), arXiv:2112.07945, section 3.4 and supplement. The released variants
differ in sizes, widths and in how the rendered image is brought to the first block's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mining.generators.networks.base import Noise, Precision, StyleLayer
from mining.generators.networks.block import Affine, Block
from mining.generators.networks.noise import noise_fields
from schemas.errors import InputError

CLAMP = 256.0  # of convolutions, where the release computes with half floats
OF_TRAINING = ("channel_base", "channel_max", "num_fp16_res", "conv_clamp")  # read by no variant
OF_TRAINING += ("fused_modconv_default", "fp16_channels_last")  # how, not what, is computed


@dataclass(frozen=True)
class Variant:
    """One of the released super-resolutions."""

    resolution: int  # pixels that come out
    entry: int  # pixels that the first block reads
    widths: tuple[int, int]  # channels of the two blocks
    shrinks: bool = True  # whether larger rendered images are brought to `entry` too
    antialias: bool = True  # whether the release's `sr_antialias` counts

    @property
    def ups(self) -> tuple[int, int]:
        """By how much each block enlarges."""
        return self.resolution // self.entry // 2, 2


VARIANTS = {
    "SuperresolutionHybrid2X": Variant(128, 64, (128, 64)),
    "SuperresolutionHybrid4X": Variant(256, 128, (128, 64), shrinks=False),
    "SuperresolutionHybrid8X": Variant(512, 128, (128, 64)),
    "SuperresolutionHybrid8XDC": Variant(512, 128, (256, 128)),
    "SuperresolutionHybridDeepfp32": Variant(256, 128, (128, 64), shrinks=False, antialias=False),
}


def variant_of(module: str, resolution: int) -> Variant:
    """The variant that a release names by its class, such as
    "training.superresolution.SuperresolutionHybrid8XDC".

    Raises:
        InputError: no release has it, or it makes images of another size.
    """
    variant = VARIANTS.get(str(module).rpartition(".")[2])
    if variant is None:
        known = ", ".join(VARIANTS)
        raise InputError(f"eg3d: superresolution_module {module!r}; expected one of {known}.")
    if variant.resolution != resolution:
        raise InputError(
            f"eg3d: img_resolution {resolution} came; expected {variant.resolution}, which is "
            f"what {module.rpartition('.')[2]} makes."
        )
    return variant


class SuperResolution(nn.Module):
    """Rendered features and colours -> image. Every layer reads the last row of W+.

    Args:
        features: channels of the rendered image; its first three are its colours.
        half: whether the release computes the blocks with half floats.
        antialias: when a larger rendered image is made smaller.
        block_options: for `Block`.
    """

    def __init__(
        self,
        variant: Variant,
        features: int,
        w_dim: int,
        half: bool,
        antialias: bool,
        block_options: Mapping[str, Any],
    ):
        super().__init__()
        self.variant, self.use_fp16 = variant, half
        self.antialias = antialias and variant.antialias
        self.precision: Precision = "float32"
        options = {k: v for k, v in block_options.items() if k not in OF_TRAINING}
        size, inputs = variant.entry, features
        for n, (width, up) in enumerate(zip(variant.widths, variant.ups, strict=True)):
            size *= up
            block = Block(
                inputs,
                width,
                w_dim,
                size,
                img_channels=3,
                is_last=n == 1,
                up=up,
                use_fp16=half,
                conv_clamp=CLAMP if half else None,
                **options,
            )
            self.add_module(f"block{n}", block)
            inputs = width

    def blocks(self) -> Iterator[tuple[str, Block]]:
        """Name and block, in the order of computation."""
        for name in ("block0", "block1"):
            block = self.get_submodule(name)
            assert isinstance(block, Block)
            yield name, block

    def affines(self) -> Iterator[Affine]:
        """Name, affine map and kind of every style layer, in their order."""
        for name, block in self.blocks():
            for layer, affine, to_rgb in block.affines():
                yield f"{name}.{layer}", affine, to_rgb

    def style_layers(self, row: int) -> tuple[StyleLayer, ...]:
        """The style layers, where `row` is the last of W+."""
        sizes = {name: block.resolution for name, block in self.blocks()}
        return tuple(
            StyleLayer(name, row, affine.weight.shape[0], sizes[name.split(".")[0]], to_rgb)
            for name, affine, to_rgb in self.affines()
        )

    def styles(self, w: Tensor) -> Tensor:
        """(N, w_dim), the last row of W+ -> (N, S)."""
        return torch.cat([affine(w) for _, affine, _ in self.affines()], dim=1)

    def forward(self, features: Tensor, styles: Tensor, noise: Noise = "zero") -> Tensor:
        """(N, features, r, r), (N, S) -> (N, 3, resolution, resolution), float32."""
        x = self._resized(features)
        image: Tensor | None = x[:, :3]
        widths = [affine.weight.shape[0] for _, affine, _ in self.affines()]
        parts = iter(styles.split(widths, dim=1))
        fields = iter(self._noises(styles, noise))
        for _, block in self.blocks():
            mine = [next(parts) for _ in block.affines()]
            x, image = block(x, image, mine, [next(fields), next(fields)], self._dtype(x.device))
        assert image is not None
        return image

    def _resized(self, x: Tensor) -> Tensor:
        size = self.variant.entry
        if x.shape[-1] == size:
            return x
        if x.shape[-1] > size and not self.variant.shrinks:
            raise InputError(
                f"eg3d: a rendered image of {x.shape[-1]} px came; expected at most {size}. "
                "Set neural_rendering_resolution to that."
            )
        return F.interpolate(x, (size, size), mode="bilinear", antialias=self.antialias)

    def _noises(self, styles: Tensor, noise: Noise) -> list[Tensor | None]:
        layers = [layer for _, block in self.blocks() for layer in (block.conv0, block.conv1)]
        if noise == "zero" or not layers[0].use_noise:
            return [None] * len(layers)
        if noise == "random":
            return list(noise_fields(styles, [layer.resolution for layer in layers]))
        return [layer.noise_const for layer in layers]

    def _dtype(self, device: torch.device) -> torch.dtype:
        if self.precision in ("float32", "tf32"):
            return torch.float32
        if self.precision == "released":  # the releases too use float32 away from CUDA
            return torch.float16 if self.use_fp16 and device.type == "cuda" else torch.float32
        return getattr(torch, self.precision)

"""EG3D: a StyleGAN2 that makes tri-planes, a volume renderer that looks at them from a camera, and
a super-resolution on top.

Source: Chan et al. (2022), "Efficient Geometry-aware 3D Generative Adversarial Networks",
arXiv:2112.07945. Tensors and arguments are named as in NVIDIA's release.
"""

from __future__ import annotations

from collections.abc import Mapping as Options
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mining.generators.camera import FFHQ, Orbit
from mining.generators.networks.base import Noise, Precision, StyleLayer
from mining.generators.networks.layers import Dense, need_condition
from mining.generators.networks.stylegan2 import StyleGan2
from mining.generators.networks.superresolution import SuperResolution, variant_of
from mining.generators.networks.triplane import (
    Decoder,
    MergedPlane,
    PlaneAxes,
    merge_planes,
    plane_axes_of,
    sample_planes,
)
from mining.generators.networks.volume import (
    Draws,
    camera_rays,
    midpoint_draws,
    random_draws,
    render_volume,
    volume_settings,
)
from schemas.errors import InputError

CAMERA = 25  # numbers of a camera's label
PLANES, FEATURES, PLANE_PIXELS = 3, 32, 256  # of every release
BACKBONE = {"num_fp16_res": 4, "conv_clamp": 256.0}  # where the release's arguments are silent
HOW = ("fused_modconv_default", "fp16_channels_last")  # arguments that decide no image
REQUIRED = ("superresolution_module", "c_gen_conditioning_zero")
SR_NOISE = ("none", "const", "random")


@dataclass(frozen=True)
class View:
    """What a camera sees of each of N heads; r is the neural rendering resolution."""

    image: Tensor  # (N, 3, H, W), -1..1 for black to white, not clamped
    raw: Tensor  # (N, 3, r, r), the same before the super-resolution
    depth: Tensor  # (N, 1, r, r) mean distance from the camera along the pixel's ray
    opacity: Tensor  # (N, 1, r, r), 0..1


class Eg3d(nn.Module):
    """z, camera -> w -> W+ -> styles, camera -> image; see `Network`.

    The condition of `map` and of `render` is a camera's label (see `mining.generators.camera`).
    To `map` it says from where such a face tends to be seen, to `render` from where it is seen.

    Args:
        sr_num_fp16_res: above 0 the release computes the super-resolution with half floats.
        rendering_kwargs: the release's; `volume_settings` reads them too.
        sr_kwargs, synthesis_kwargs: for the blocks of the super-resolution and of the backbone.
        neural_rendering_resolution: pixels of the rendered image; the release stores it beside its
            arguments.
        plane_axes: "corrected" for models retrained with the third plane put right; see `triplane`.

    Attributes:
        orbit: where the release's own viewer puts its cameras. Its focal length is not stored; this
            is that of FFHQ and AFHQ, where the release shows ShapeNet Cars with 1.7074.
        rays_per_chunk: see `render_volume`.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        img_resolution: int,
        img_channels: int = 3,
        sr_num_fp16_res: int = 0,
        mapping_kwargs: Options[str, Any] | None = None,
        rendering_kwargs: Options[str, Any] | None = None,
        sr_kwargs: Options[str, Any] | None = None,
        synthesis_kwargs: Options[str, Any] | None = None,
        neural_rendering_resolution: int = 64,
        plane_axes: PlaneAxes = "released",
    ):
        super().__init__()
        options = dict(rendering_kwargs or {})
        _check(c_dim, img_channels, neural_rendering_resolution, options)
        self.z_dim, self.c_dim, self.w_dim, self.resolution = z_dim, c_dim, w_dim, img_resolution
        self.neural_resolution = neural_rendering_resolution
        self.settings, self.axes = volume_settings(options), plane_axes_of(plane_axes)
        self.condition_scale = float(options.get("c_scale", 0))
        if options["c_gen_conditioning_zero"]:
            self.condition_scale = 0.0
        self.sr_noise = options.get("superresolution_noise_mode", "none")
        self.orbit = Orbit(
            float(options.get("avg_camera_radius", FFHQ.radius)),
            tuple(options.get("avg_camera_pivot", FFHQ.pivot)),
        )
        self.rays_per_chunk: int | None = None
        blocks = {k: v for k, v in (synthesis_kwargs or {}).items() if k not in HOW}
        self.backbone = StyleGan2(
            z_dim,
            c_dim,
            w_dim,
            PLANE_PIXELS,
            PLANES * FEATURES,
            mapping_kwargs,
            {**BACKBONE, **blocks},
        )
        self.superresolution = SuperResolution(
            variant_of(options["superresolution_module"], img_resolution),
            FEATURES,
            w_dim,
            half=sr_num_fp16_res > 0,
            antialias=bool(options.get("sr_antialias", True)),
            block_options=sr_kwargs or {},
        )
        self.decoder = Decoder(FEATURES, FEATURES, float(options.get("decoder_lr_mul", 1)))
        self.num_ws, self.layer_names = self.backbone.num_ws, self.backbone.layer_names
        added = self.superresolution.style_layers(self.num_ws - 1)
        self.style_layers = (*self.backbone.style_layers, *added)
        self.style_split = [sum(la.channels for la in self.backbone.style_layers)]
        self.style_split.append(sum(la.channels for la in added))

    @property
    def w_avg(self) -> Tensor:
        """(w_dim,) the tracked mean of w."""
        return self.backbone.w_avg

    @property
    def precision(self) -> Precision:
        """Of the features in backbone and super-resolution; the volume is float32 always."""
        return self.backbone.precision

    @precision.setter
    def precision(self, precision: Precision) -> None:
        self.backbone.precision = self.superresolution.precision = precision

    def map(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(N, z_dim), (N, 25) -> (N, w_dim), not truncated.

        Some releases do not look at the camera here; those need none.
        """
        if self.condition_scale == 0:
            return self.backbone.map(z, z.new_zeros(len(z), self.c_dim))
        return self.backbone.map(z, need_condition(condition, self.c_dim) * self.condition_scale)

    def styles(self, ws: Tensor) -> Tensor:
        """(N, num_ws, w_dim) -> (N, S)."""
        return torch.cat([self.backbone.styles(ws), self.superresolution.styles(ws[:, -1])], dim=1)

    def render(
        self, styles: Tensor, condition: Tensor | None = None, noise: Noise = "fixed"
    ) -> Tensor:
        """(N, S), (N, 25) -> (N, 3, H, W), float32, -1..1 for black to white, not clamped."""
        return self.render_all(styles, condition, noise).image

    def render_all(
        self,
        styles: Tensor,
        condition: Tensor | None = None,
        noise: Noise = "fixed",
        draws: Draws | None = None,
    ) -> View:
        """The image with what lies behind it: the rendered image, its depth and its opacity.

        Args:
            noise: of the convolutions; the super-resolution has none where the release has none.
                "random" also draws the places of the samples along rays, as the release does;
                elsewhere they lie in the middle of their intervals.
            draws: the samples' places, in place of those.
        """
        labels = need_condition(condition, self.c_dim)
        side = self.neural_resolution
        if draws is None and noise == "random":
            draws = random_draws(styles, side**2, self.settings)
        elif draws is None:
            draws = midpoint_draws(self.settings, styles.device)
        planes = self.planes(styles, noise)

        def field(points: Tensor) -> tuple[Tensor, Tensor]:
            return self.decoder(sample_planes(planes, points, self.settings.box))

        rays = camera_rays(labels, side)
        seen = render_volume(field, rays, self.settings, draws, self.rays_per_chunk)
        features = seen.colours.unflatten(2, (side, side))
        own = styles.split(self.style_split, dim=1)[1]
        image = self.superresolution(features, own, self._sr_noise(noise))
        depth, opacity = (t.view(-1, 1, side, side) for t in (seen.depth, seen.opacity))
        return View(image, features[:, :3], depth, opacity)

    def planes(self, styles: Tensor, noise: Noise = "fixed") -> list[MergedPlane]:
        """(N, S) -> the features of space, for `density`."""
        images = self.backbone.render(styles.split(self.style_split, dim=1)[0], noise=noise)
        return merge_planes(images.unflatten(1, (PLANES, FEATURES)), self.axes)

    def density(self, planes: list[MergedPlane], points: Tensor) -> Tensor:
        """(N, 3, P) points, in the volume's unit -> (N, P) raw densities.

        They are those from before the renderer's softplus(. - 1); the release cuts surfaces at 10.
        """
        return self.decoder.density(sample_planes(planes, points, self.settings.box))

    def style_weight(self, layer: StyleLayer) -> Tensor:
        """(channels, w_dim) the affine map of a layer, with its gain and without its bias."""
        if layer in self.backbone.style_layers:
            return self.backbone.style_weight(layer)
        affine = self.superresolution.get_submodule(layer.name).affine
        assert isinstance(affine, Dense)
        return affine.scaled_weight()

    def _sr_noise(self, noise: Noise) -> Noise:
        """The release sets the noise of its super-resolution apart from the backbone's."""
        if self.sr_noise == "none":
            return "zero"
        return "fixed" if self.sr_noise == "const" and noise == "random" else noise


def _check(c_dim: int, img_channels: int, resolution: int, options: Options[str, Any]) -> None:
    if c_dim != CAMERA:
        raise InputError(f"eg3d: c_dim {c_dim}; expected {CAMERA}, the numbers of a camera.")
    if img_channels != 3:
        raise InputError(f"eg3d: img_channels {img_channels}; expected 3.")
    if not isinstance(resolution, int) or resolution < 1:
        raise InputError(f"eg3d: neural_rendering_resolution {resolution!r}; expected 64 or so.")
    missing = [name for name in REQUIRED if name not in options]
    if missing:
        raise InputError(f"eg3d: rendering_kwargs lack {', '.join(missing)}.")
    mode = options.get("superresolution_noise_mode", "none")
    if mode not in SR_NOISE:
        known = ", ".join(SR_NOISE)
        raise InputError(f"eg3d: superresolution_noise_mode {mode!r}; expected one of {known}.")
    if options.get("density_noise", 0):
        raise InputError("eg3d: density_noise is for training; expected 0.")

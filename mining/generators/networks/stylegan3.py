"""StyleGAN3, the alias-free generator: -T (translation) and -R (translation and rotation).

Source: Karras et al. (2021), "Alias-Free Generative Adversarial Networks", arXiv:2106.12423.
Tensors and arguments are named as in NVIDIA's releases. No noise enters this architecture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Options
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mining.generators.networks.base import Noise, Precision, StyleLayer
from mining.generators.networks.filtered import filtered_lrelu
from mining.generators.networks.filters import Signal, lowpass, radial_lowpass, signals
from mining.generators.networks.fourier import FourierInput
from mining.generators.networks.layers import MOST_LAYERS, Dense, Mapping, second_moment_one
from schemas.errors import InputError

Design = Callable[[int, float, float, float], NDArray[np.float64]]
MOST_TAPS, MOST_MARGIN = 512, 1024  # of a filter and in pixels; the releases have 24 and 10


class AliasFreeLayer(nn.Module):
    """A modulated convolution, and the filtered leaky ReLU that takes it to the next rate.

    Source: arXiv:2106.12423, section 3.2 and figure 4b; filters and padding: appendix C.

    Args:
        critical: critically sampled: its filter is separable, also in -R.
        use_fp16: whether the release computes this layer with half floats.
        magnitude_ema_beta: of training; the mean power of the input is stored in either case.
    """

    up_filter: Tensor | None
    down_filter: Tensor | None
    magnitude_ema: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        before: Signal,
        after: Signal,
        critical: bool,
        use_fp16: bool,
        conv_kernel: int = 3,
        filter_size: int = 6,
        lrelu_upsampling: int = 2,
        use_radial_filters: bool = False,
        conv_clamp: float | None = 256,
        magnitude_ema_beta: float = 0.999,
    ):
        super().__init__()
        self.size, self.use_fp16, self.clamp = after.size, use_fp16, conv_clamp
        self.kernel = conv_kernel
        self.affine = Dense(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, conv_kernel, conv_kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("magnitude_ema", torch.ones([]))

        rate = max(before.rate, after.rate) * lrelu_upsampling
        self.up, self.down = rate // before.rate, rate // after.rate
        up_taps = filter_size * self.up if self.up > 1 else 1
        down_taps = filter_size * self.down if self.down > 1 else 1
        design = radial_lowpass if use_radial_filters and not critical else lowpass
        self.register_buffer("up_filter", _stored(lowpass, up_taps, before, rate))
        self.register_buffer("down_filter", _stored(design, down_taps, after, rate))

        wide = (before.size + conv_kernel - 1) * self.up  # the convolution pads kernel - 1
        needed = (after.size - 1) * self.down + 1 + up_taps + down_taps - 2
        self.before = (needed - wide + self.up) // 2  # keeps the places of samples symmetric

    def forward(self, x: Tensor, style: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """(N, I, H, W), (N, I) -> (N, O, size, size), of type `dtype`.

        Each image's style is brought to unit size by itself (the authors: over the batch). The
        demodulation undoes any scale; this one keeps half floats in range.
        """
        weight = self.weight * self.weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
        style = second_moment_one(style)
        y = _scaled(x.to(dtype), style * self.magnitude_ema.rsqrt())
        y = F.conv2d(y, weight.to(dtype), padding=self.kernel - 1)
        energy = style.square() @ weight.square().sum(dim=(2, 3)).t()
        y = _scaled(y, (energy + 1e-8).rsqrt()) + self.bias.to(dtype)[:, None, None]
        return filtered_lrelu(
            y,
            self.up_filter,
            self.down_filter,
            self.up,
            self.down,
            before=self.before,
            size=self.size,
            clamp=self.clamp,
        )


class ToRgb(nn.Module):
    """The last layer: a 1x1 modulated convolution without normalisation, filter or rectifier.

    Its arguments are those of `AliasFreeLayer`, of which it leaves out what it does not need.
    """

    magnitude_ema: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        use_fp16: bool,
        conv_clamp: float | None = 256,
        **_filter_options: Any,
    ):
        super().__init__()
        self.use_fp16, self.clamp = use_fp16, conv_clamp
        self.affine = Dense(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.weight_gain = 1 / math.sqrt(inputs)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("magnitude_ema", torch.ones([]))

    def forward(self, x: Tensor, style: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """(N, I, H, W), (N, I) -> (N, O, H, W), of type `dtype`."""
        gain = self.weight_gain * self.magnitude_ema.rsqrt()
        y = F.conv2d(_scaled(x.to(dtype), style * gain), self.weight.to(dtype))
        y = y + self.bias.to(dtype)[:, None, None]
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class Synthesis(nn.Module):
    """W+ -> styles -> image.

    Args:
        channel_base, channel_max: a layer has min(channel_base / (2 f_c), channel_max) channels.
        num_layers: between the Fourier features and the colours; the other arguments of the
            frequencies are explained at `signals`.
        output_scale: the image is the last layer's output times this.
        num_fp16_res: for so many of the highest rates the release uses half floats.
        layer_options: for `AliasFreeLayer`.
    """

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int = 3,
        channel_base: int = 32768,
        channel_max: int = 512,
        num_layers: int = 14,
        num_critical: int = 2,
        first_cutoff: float = 2,
        first_stopband: float = 2**2.1,
        last_stopband_rel: float = 2**0.3,
        margin_size: int = 10,
        output_scale: float = 0.25,
        num_fp16_res: int = 4,
        **layer_options: Any,
    ):
        super().__init__()
        if img_resolution < 16 or img_resolution & (img_resolution - 1):
            raise InputError(
                f"stylegan3: img_resolution {img_resolution}; expected a power of two from 16 on."
            )
        if not 1 <= num_critical < num_layers <= MOST_LAYERS:
            raise InputError(
                f"stylegan3: num_critical {num_critical} of num_layers {num_layers}; expected at "
                f"least 1, fewer than there are layers, and at most {MOST_LAYERS} of those."
            )
        if not 0 <= margin_size <= MOST_MARGIN:
            raise InputError(f"stylegan3: margin_size {margin_size}; expected 0..{MOST_MARGIN}.")
        self.precision: Precision = "float32"
        self.output_scale = output_scale
        self.num_ws = num_layers + 2
        stages = signals(
            img_resolution,
            num_layers,
            num_critical,
            first_cutoff,
            first_stopband,
            last_stopband_rel,
            margin_size,
        )
        widths = [round(min(channel_base / (2 * s.cutoff), channel_max)) for s in stages[:-1]]
        widths = [widths[0], *widths, img_channels]  # of what goes into each layer, then the image
        first = stages[0]
        self.input = FourierInput(w_dim, widths[0], first.size, first.rate, first.cutoff)
        layers = [StyleLayer("input", 0, 4, first.size)]
        for n, after in enumerate(stages):
            inputs, outputs, before = widths[n], widths[n + 1], stages[max(n - 1, 0)]
            half = after.rate > img_resolution >> num_fp16_res
            if n < num_layers:
                critical = n >= num_layers - num_critical
                layer = AliasFreeLayer(
                    inputs, outputs, w_dim, before, after, critical, half, **layer_options
                )
            else:
                layer = ToRgb(inputs, outputs, w_dim, half, **layer_options)
            name = f"L{n}_{after.size}_{outputs}"
            self.add_module(name, layer)
            layers.append(StyleLayer(name, n + 1, inputs, after.size, n == num_layers))
        self.style_layers = tuple(layers)

    def modules_in_order(self) -> Iterator[AliasFreeLayer | ToRgb]:
        """The layers behind the Fourier features."""
        for layer in self.style_layers[1:]:
            module = self.get_submodule(layer.name)
            assert isinstance(module, AliasFreeLayer | ToRgb)
            yield module

    def styles(self, ws: Tensor) -> Tensor:
        """(N, num_ws, w_dim) -> (N, S)."""
        modules = [self.input, *self.modules_in_order()]
        return torch.cat([m.affine(ws[:, row]) for row, m in enumerate(modules)], dim=1)

    def forward(self, styles: Tensor, transform: Tensor | None = None) -> Tensor:
        """(N, S) -> (N, img_channels, H, W), float32."""
        first, *rest = styles.split([layer.channels for layer in self.style_layers], dim=1)
        x = self.input(first, transform)
        for module, style in zip(self.modules_in_order(), rest, strict=True):
            x = module(x, style, self._dtype(module, styles.device))
        return x.float().contiguous() * self.output_scale

    def _dtype(self, layer: AliasFreeLayer | ToRgb, device: torch.device) -> torch.dtype:
        if self.precision in ("float32", "tf32"):
            return torch.float32
        if self.precision == "released":  # the releases too use float32 away from CUDA
            return torch.float16 if layer.use_fp16 and device.type == "cuda" else torch.float32
        return getattr(torch, self.precision)


class StyleGan3(nn.Module):
    """z, condition -> w -> W+ -> styles -> image; see `Network`.

    Args:
        synthesis_kwargs, options: for `Synthesis`; the releases give them without nesting.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        img_resolution: int,
        img_channels: int = 3,
        mapping_kwargs: Options[str, Any] | None = None,
        synthesis_kwargs: Options[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.resolution = img_resolution
        self.mapping = Mapping(z_dim, c_dim, w_dim, **{"num_layers": 2, **(mapping_kwargs or {})})
        options = {**(synthesis_kwargs or {}), **options}
        self.synthesis = Synthesis(w_dim, img_resolution, img_channels, **options)
        self.num_ws = self.synthesis.num_ws
        self.style_layers = self.synthesis.style_layers
        self.layer_names = tuple(layer.name for layer in self.style_layers)

    @property
    def w_avg(self) -> Tensor:
        """(w_dim,) the tracked mean of w."""
        return self.mapping.w_avg

    @property
    def precision(self) -> Precision:
        """How the features are computed; Fourier features and styles are float32 always."""
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
        self,
        styles: Tensor,
        condition: Tensor | None = None,
        noise: Noise = "fixed",
        transform: Tensor | None = None,
    ) -> Tensor:
        """(N, S) -> (N, img_channels, H, W); condition and noise have no part in it.

        Args:
            transform: from `fourier.image_transform`, to turn and move the image; None for the
                one stored in the file, which in the releases changes nothing.
        """
        return self.synthesis(styles, transform)

    def style_weight(self, layer: StyleLayer) -> Tensor:
        """(channels, w_dim) the affine map of a layer, with its gain and without its bias."""
        affine = self.synthesis.get_submodule(layer.name).affine
        assert isinstance(affine, Dense)
        return affine.scaled_weight()


def _scaled(x: Tensor, scale: Tensor) -> Tensor:
    """(N, C, H, W) times (N, C), in x's type."""
    return x * scale.to(x.dtype)[:, :, None, None]


def _stored(design: Design, taps: int, signal: Signal, rate: int) -> Tensor | None:
    """The filter that lets a signal through; None where one tap would do nothing.

    Not made by torch: filters keep their numbers where torch lays weights out without memory.
    """
    if taps == 1:
        return None
    if not taps <= MOST_TAPS:
        raise InputError(f"stylegan3: a filter of {taps} taps; expected at most {MOST_TAPS}.")
    found = design(taps, signal.cutoff, 2 * signal.half_width, rate)
    return torch.from_numpy(found.astype(np.float32))

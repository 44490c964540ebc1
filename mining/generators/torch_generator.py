"""Networks of `mining.generators.networks` behind the generator protocol, on CPU or GPU."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.generators.base import Floats
from schemas.errors import InputError
from schemas.registry import unknown

if TYPE_CHECKING:
    from torch import Tensor

    from mining.generators.networks.base import Network, Noise, Precision, StyleLayer

VERSION = "1"  # raise it whenever the same weights and settings would give other bytes
Images = NDArray[np.uint8]
Conditions = Callable[[int, np.random.Generator], Floats]  # draws (N, c_dim)


class TorchGenerator:
    """A network with its weights, ready to sample; fits `Generator` and its optional protocols.

    Args:
        network: any module that fits `Network`, with its weights loaded.
        content: what decides the network's images: JSON values, such as the weights' fingerprint.
        conditions: draws conditions, for networks that take some.
        device: "cpu", "cuda" or "mps"; "auto" takes CUDA where there is one.
        precision: of the features; "released" is the mixture of float16 and float32 that the
            release uses on CUDA, and float32 elsewhere.
        noise: "fixed" takes the fields stored with the weights, "random" fields that follow from
            the styles of each image, "zero" none.
        compile: a mode of `torch.compile`, such as "default"; None does not compile.
        render_options: more arguments of the network's `render`; `content` must tell of them.
        fingerprint_tells_all: whether `content` tells of every option of who calls this, so that
            they are no part of a dataset's identity; see `Generator`.

    Raises:
        InputError: the device is not there, or torch knows no such mode.
    """

    spaces = ("z", "w", "w+", "s")

    def __init__(
        self,
        name: str,
        network: Network,
        licence: str,
        content: Mapping[str, Any],
        *,
        conditions: Conditions | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        noise: Noise = "fixed",
        compile: str | None = None,
        render_options: Mapping[str, Tensor] | None = None,
        fingerprint_tells_all: bool = False,
    ):
        from mining.generators.devices import on_device, pick_device

        self.name, self.licence = name, licence
        self.fingerprint_tells_all = fingerprint_tells_all
        self.z_dim, self.w_dim, self.c_dim = network.z_dim, network.w_dim, network.c_dim
        self.num_ws, self.resolution = network.num_ws, network.resolution
        self.layer_names, self.style_layers = network.layer_names, network.style_layers
        self._device = pick_device(device)
        self.weights: str | None = content.get("weights")  # the checkpoint's own fingerprint
        self._content = {**content, "precision": precision, "noise": noise, "compile": compile}
        self._precision: Precision = precision
        self._noise: Noise = noise
        self._conditions = conditions
        self._network = on_device(network, self._device, precision)
        self._options = {k: v.to(self._device) for k, v in (render_options or {}).items()}
        self._render = self._compiled(compile)

    def _compiled(self, mode: str | None) -> Callable[..., Tensor]:
        if mode is None:
            return self._network.render
        import torch

        try:
            return torch.compile(self._network.render, mode=mode, dynamic=False)
        except RuntimeError as error:
            said = " ".join(str(error).split())
            raise InputError(f"{self.name}: compile {mode!r} came: {said}.") from None

    def fingerprint(self) -> str:
        """SHA-256 over the weights, every setting, and on a GPU its model."""
        from mining.generators.devices import device_model

        content = {**self._content, "version": VERSION, "device": device_model(self._device)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def mean_w(self) -> Floats:
        """(w_dim,) the mean of w that training tracked."""
        return self._host(self._network.w_avg)

    def sample_z(self, count: int, rng: np.random.Generator) -> Floats:
        """(count, z_dim) standard normal."""
        return rng.standard_normal((count, self.z_dim), dtype=np.float32)

    def sample_condition(self, count: int, rng: np.random.Generator) -> Floats:
        """(count, c_dim) conditions: classes as one-hot rows, or cameras."""
        if self._conditions is None:
            return np.empty((count, 0), np.float32)
        return self._conditions(count, rng)

    def map(self, z: Floats, psi: float = 1.0, condition: Floats | None = None) -> Floats:
        """(N, z_dim), (N, c_dim) -> (N, w_dim); psi below 1 pulls towards the mean."""
        import torch

        self._check("z", z, (self.z_dim,))
        self._check_condition(condition, len(z))
        with torch.inference_mode():
            w = self._network.map(self._there(z), self._there(condition))
            return self._host(torch.lerp(self._network.w_avg, w, psi) if psi != 1 else w)

    def broadcast(self, w: Floats) -> Floats:
        """(N, w_dim) -> (N, num_ws, w_dim)."""
        self._check("w", w, (self.w_dim,))
        return np.repeat(np.asarray(w, np.float32)[:, None], self.num_ws, axis=1)

    def synthesize(self, w_plus: Floats, condition: Floats | None = None) -> Images:
        """(N, num_ws, w_dim), (N, c_dim) -> (N, resolution, resolution, 3) RGB."""
        return self.synthesize_at(w_plus, condition, None)

    def synthesize_at(self, w_plus: Floats, condition: Floats | None, size: int | None) -> Images:
        """The same, averaged down to `size` pixels on the device; None leaves the resolution."""
        return next(self.stream([(w_plus, condition)], size))

    def stream(
        self, batches: Iterable[tuple[Floats, Floats | None]], size: int | None = None
    ) -> Iterator[Images]:
        """The images of each batch; on a GPU the next batch is begun before one is handed over."""
        from mining.generators.devices import ahead

        yield from ahead((self._batch(*batch, size) for batch in batches), self._device)

    def styles(self, w_plus: Floats) -> Floats:
        """(N, num_ws, w_dim) -> (N, S): style space, in the order of `style_layers`.

        Source: Wu et al. (2021), arXiv:2011.12799.
        """
        import torch

        self._check("w_plus", w_plus, (self.num_ws, self.w_dim))
        with torch.inference_mode():
            return self._host(self._network.styles(self._there(w_plus)))

    def synthesize_styles(self, styles: Floats, condition: Floats | None = None) -> Images:
        """(N, S), (N, c_dim) -> (N, resolution, resolution, 3) RGB."""
        import torch

        self._check("styles", styles, (sum(layer.channels for layer in self.style_layers),))
        self._check_condition(condition, len(styles))
        with torch.inference_mode():
            return self._pixels(self._there(styles), self._there(condition), None).cpu().numpy()

    def differentiable(self, space: str) -> Callable[[Tensor, Tensor | None], Tensor]:
        """Latents of a space -> images, as a function that gradients of the latents pass through.

        It takes (N, D) float32, those of W+ and S flat, on any device, and conditions (N, c_dim) or
        None; it returns (N, channels, resolution, resolution) in -1..1 for black to white, on the
        generator's device, not rounded to bytes. Nothing is truncated. The weights stay as they
        are, and get no gradients.

        Raises:
            InputError: it has no such space.
        """
        import torch

        from mining.generators.devices import arithmetic

        if space not in self.spaces:
            raise unknown("latent space", space, self.spaces)

        def images(latents: Tensor, condition: Tensor | None = None) -> Tensor:
            known = None if condition is None else condition.cpu().numpy()
            self._check_condition(known, len(latents))
            there = latents.to(self._device, torch.float32)
            given = None if condition is None else condition.to(self._device, torch.float32)
            with arithmetic(self._precision):
                styles = self._styles_of(space, there, given)
                made = self._network.render(styles, given, self._noise, **self._options)
            return made.float().clamp(-1, 1)

        return images

    def _styles_of(self, space: str, latents: Tensor, condition: Tensor | None) -> Tensor:
        """(N, D) of a space -> (N, S)."""
        if space == "s":
            return latents
        if space == "w+":
            return self._network.styles(latents.unflatten(1, (self.num_ws, self.w_dim)))
        w = self._network.map(latents, condition) if space == "z" else latents
        return self._network.styles(w[:, None].expand(-1, self.num_ws, -1))

    def style_weights(self) -> dict[str, Floats]:
        """Layer -> (channels, w_dim), the affine map that turns its row of W+ into its styles.

        Layers that only make colours are left out where a convolution reads the same row.
        """
        import torch

        layers = {layer.name: layer for layer in self.style_layers}
        with torch.inference_mode():
            return {
                name: self._host(self._network.style_weight(layers[name]))
                for name in self.style_rows()
            }

    def style_rows(self) -> dict[str, int]:
        """Layer -> the row of W+ that it reads; the layers of `style_weights`."""
        shapes = {layer.row for layer in self.style_layers if not layer.to_rgb}
        layers = self.style_layers
        return {la.name: la.row for la in layers if not la.to_rgb or la.row not in shapes}

    def _batch(self, w_plus: Floats, condition: Floats | None, size: int | None) -> Tensor:
        import torch

        self._check("w_plus", w_plus, (self.num_ws, self.w_dim))
        self._check_condition(condition, len(w_plus))
        with torch.inference_mode():
            styles = self._network.styles(self._there(w_plus))
            return self._pixels(styles, self._there(condition), size)

    def _pixels(self, styles: Tensor, condition: Tensor | None, size: int | None) -> Tensor:
        """(N, S) -> (N, H, W, 3) uint8, on the device."""
        from mining.generators.devices import arithmetic, to_pixels

        with arithmetic(self._precision):
            image = self._render(styles, condition, self._noise, **self._options)
        return to_pixels(image, size)

    def _there(self, array: Any) -> Any:
        import torch

        if array is None:
            return None
        there = torch.from_numpy(np.ascontiguousarray(array, np.float32))
        if self._device.type != "cuda":
            return there.to(self._device)
        # from pinned memory, as any other copy would wait for the batch before it
        return there.pin_memory().to(self._device, non_blocking=True)

    @staticmethod
    def _host(tensor: Tensor) -> Floats:
        return tensor.detach().float().cpu().numpy().copy()

    def _check_condition(self, condition: Floats | None, count: int) -> None:
        if condition is None and self.c_dim:
            raise InputError(f"{self.name}: no condition came; expected ({count}, {self.c_dim}).")
        if condition is not None:
            self._check("condition", condition, (self.c_dim,), count)

    def _check(
        self, what: str, array: Floats, tail: tuple[int, ...], count: int | None = None
    ) -> None:
        shape = np.shape(array)
        if len(shape) != len(tail) + 1 or shape[1:] != tail or count not in (None, shape[0]):
            wanted = ", ".join(map(str, ("N" if count is None else count, *tail)))
            raise InputError(f"{self.name}: {what} has shape {shape}; expected ({wanted}).")
        if not np.isfinite(array).all():
            raise InputError(f"{self.name}: {what} holds NaN or infinity; expected finite numbers.")


def style_slices(layers: tuple[StyleLayer, ...]) -> dict[str, slice]:
    """Layer -> where its channels lie in S."""
    slices, start = {}, 0
    for layer in layers:
        slices[layer.name] = slice(start, start + layer.channels)
        start += layer.channels
    return slices

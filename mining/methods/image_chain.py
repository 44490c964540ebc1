"""The chain through images: latent -> generator -> crop -> networks, gradients all the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mining.editing.image_networks import (
    ImageNetwork,
    arcface_onnx,
    identity_network,
    lpips_network,
)
from mining.extractors.models import Model, find_model, licences
from mining.generators.base import Generator
from mining.methods.gcv_ridge import LinearReading
from mining.methods.image_crops import Matrices, encoder_crop, identity_crop, seen
from mining.methods.image_encoders import load_shape_encoder, shape_points
from mining.methods.image_options import WHO, ImageOptions, NetworkOptions, image_options
from mining.methods.learned import LearnedRows
from mining.methods.shape_loss import contrast_features
from mining.shape3d.model_files import Loaded, load_model
from schemas.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]
PLACES = ("file", "sha256", "reader")  # options that say where a file lies, or what it is
EXPLAINED = (
    "no gradient passes from its images to its latents. Train through surrogates, which are "
    "learned from the dataset: chain: surrogate."
)


def make_image_chain(
    generator: Generator, rows: LearnedRows, options: Mapping[str, Any]
) -> ImageChain:
    """The chain of a generator and of networks in files; see README.md for the options.

    Every file is read and every network is tried on the image of the mean latent, so that what
    does not fit is refused before the training begins.

    Args:
        generator: one with `differentiable`: networks in torch.
        rows: whose landmarks, where there are 50 of them, say where faces lie; they may be empty.

    Raises:
        InputError: an option, a file or the generator does not fit.
        CorruptDataError: a file has another checksum.
        StorageError: a file cannot be fetched or read.
    """
    told = image_options(options)
    if not hasattr(generator, "differentiable") or "w+" not in generator.spaces:
        raise InputError(f"{WHO}: generator {generator.name!r} is not differentiable: {EXPLAINED}")
    return ImageChain(generator, rows, told)


class ImageChain:
    """What networks see in the images of latents; fits `Chain`.

    Latents are W+ (N, num_ws * w_dim), its rows laid end to end. The crops follow from the latents
    too, but carry no gradients, so that no face is moved in its crop instead of in its image. One
    image is made for all that is asked of the same tensor: go back through the sum of it, once.
    """

    space = "w+"
    reading: LinearReading | None = None  # codes are looked at

    def __init__(self, generator: Generator, rows: LearnedRows, options: ImageOptions):
        import torch

        torch_generator: Any = generator
        self._generator, self._options = generator, options
        self.shape = (generator.num_ws, generator.w_dim)
        self._render = torch_generator.differentiable("w+")
        self._condition = condition_of(generator, options.condition)
        self.dtype, self._last = torch.float32, None
        self._middle = generator.broadcast(generator.mean_w()[None]).reshape(1, -1)
        self.device = str(self._images(torch.from_numpy(self._middle)).device)
        model = _shape(options)
        self._model = model
        self._encoder = load_shape_encoder(
            options.encoder,
            model.shape,
            options.shape.identities,
            options.shape.expressions,
            self.device,
        )
        self.names, self.units = self._encoder.names, self._encoder.units
        self._widths = [self._encoder.moving, self._encoder.identities]
        self._points = shape_points(model, self._encoder, self.device)
        self._identity, self._perceptual = _networks(options, self.device)
        resolution = generator.resolution
        self._crops: dict[str, Matrices | None] = {
            "encoder": encoder_crop(options.encoder.crop, rows, resolution)
        }
        if options.identity is not None:
            self._crops["identity"] = identity_crop(options.identity.crop, rows)
        if options.perceptual is not None:
            self._crops["perceptual"] = encoder_crop(
                options.perceptual.crop or "whole", rows, resolution
            )
        self.files = _files(options, model, self._encoder.model)
        self.licence = licences(self.files.values())
        self.evidence: dict[str, float] = {}
        self._try()

    # what the losses read

    def codes(self, latents: Tensor) -> Tensor:
        """(N, D) -> (N, K + I): pose and expression, then identity."""
        network = self._encoder
        return network.read(self._seen("encoder", latents, network.size)).to(latents)

    def points(self, codes: Tensor) -> Tensor:
        """(N, K + I) -> (N, 68, 3) the posed landmarks, as `ShapePoints` has them."""
        moving, identity = codes.to(self.device, self.dtype).split(self._widths, dim=1)
        return self._points(moving, identity).to(codes)

    def identity(self, latents: Tensor) -> Tensor | None:
        """(N, D) -> (N, E) of length 1; None without such a network."""
        if self._identity is None:
            return None
        return self._identity(self._seen("identity", latents, self._identity.size)).to(latents)

    def features(self, latents: Tensor) -> Tensor:
        """(N, D) -> (N, F), whose squared distance is the perceptual one.

        Without a network for it: `contrast_features` of the small images.
        """
        if self._perceptual is None:
            return contrast_features(self.pixels(latents))
        found = self._seen("perceptual", latents, self._perceptual.size)
        return self._perceptual(found).to(latents)

    def pixels(self, latents: Tensor) -> Tensor:
        """(N, D) -> (N, 3, edge, edge) in -1..1, averaged down."""
        size = min(self._options.pixels, self._generator.resolution)
        return seen(self._images(latents), None, size).to(latents)

    def told(self) -> dict[str, Any]:
        """Options, and every file by name, checksum and licence: nothing of this machine."""
        told = asdict(self._options)
        for part in ("encoder", "shape", "identity", "perceptual"):
            if told[part] is not None:
                told[part] = {k: v for k, v in told[part].items() if k not in PLACES}
        told["shape"]["reader"] = dict(self._model.options)
        return {**told, "files": {role: file.to_json() for role, file in self.files.items()}}

    # how images come about

    def _images(self, latents: Tensor) -> Tensor:
        """(N, D) -> (N, C, H, W); that of the last tensor is kept as long as it stays the same."""
        import torch

        key = (latents._version, torch.is_grad_enabled())
        if self._last is None or self._last[0] is not latents or self._last[1] != key:
            self._last = None  # before the next ones take memory
            parts = [latents]
            if not torch.is_grad_enabled():  # few at a time: features take more than images
                parts = latents.split(self._options.batch)
            made = [self._render(part, self._conditions(len(part))) for part in parts]
            self._last = (latents, key, torch.cat(made) if len(made) > 1 else made[0])
        return self._last[2]

    def _conditions(self, count: int) -> Tensor | None:
        import torch

        if self._condition is None:
            return None
        return torch.from_numpy(np.tile(self._condition, (count, 1)))

    def _seen(self, part: str, latents: Tensor, size: int) -> Tensor:
        crop, matrices = self._crops[part], None
        if crop is not None:
            w_plus = latents.detach().double().cpu().numpy().reshape(-1, *self.shape)
            matrices = np.ascontiguousarray(crop(w_plus))
        return seen(self._images(latents), matrices, size)

    def _try(self) -> None:
        """Run everything once, with gradients.

        Raises:
            InputError: what a network says is not finite, or no gradient comes back from it.
        """
        import torch

        start = torch.from_numpy(self._middle).clone().requires_grad_()
        for name, function in (
            ("encoder", self.codes),
            ("identity", self.identity),
            ("perceptual", self.features),
        ):
            found = function(start)
            if found is None:
                continue
            if not bool(torch.isfinite(found).all()):
                raise InputError(f"{WHO}: {name} gives no finite numbers for the mean latent.")
            if not found.requires_grad:
                raise InputError(f"{WHO}: no gradient comes back from {name}'s network.")
        self._last = None


def random_rows(
    generator: Generator,
    count: int,
    psi: float = 0.7,
    condition: Sequence[float] | None = None,
    seed: int = 0,
) -> LearnedRows:
    """Latents of nobody's dataset, truncated: all that training through images needs.

    Raises:
        InputError: the condition does not fit the generator.
    """
    given, rng = condition_of(generator, condition), np.random.default_rng(seed)
    z = generator.sample_z(count, rng)
    conditions = None if given is None else np.tile(given, (count, 1))
    facts = {
        "generator": generator.name,
        "fingerprint": generator.fingerprint(),
        "licence": generator.licence,
    }
    w = generator.map(z, psi, conditions)
    return LearnedRows(w, "w", (generator.w_dim,), generator.num_ws, facts=facts)


def condition_of(generator: Generator, condition: Sequence[float] | None) -> Floats | None:
    """(c_dim,) the condition of all images; None where the generator takes none.

    Raises:
        InputError: one is missing, or of another length.
    """
    given = () if condition is None else condition
    if len(given) != generator.c_dim:
        raise InputError(
            f"{WHO}: condition of {len(given)} numbers came; generator {generator.name!r} takes "
            f"{generator.c_dim}, the same for all images: a class as one-hot, or EG3D's camera."
        )
    return np.asarray(given, np.float32) if generator.c_dim else None


def _shape(options: ImageOptions) -> Loaded:
    told = options.shape
    return load_model(WHO, told.file, told.kind, told.sha256, told.reader)


def _networks(
    options: ImageOptions, device: str
) -> tuple[ImageNetwork | None, ImageNetwork | None]:
    """The face embedding and the perceptual distance, where their files are named."""
    identity = perceptual = None
    told = options.identity
    if told is not None and str(told.file).lower().endswith(".onnx"):
        identity = arcface_onnx(told.file, told.sha256, device)
    elif told is not None:
        identity = identity_network(told.file, told.sha256, told.size or 112, device=device)
    told = options.perceptual
    if told is not None:
        perceptual = lpips_network(told.file, told.sha256, told.size or 256, device)
    return identity, perceptual


def _files(options: ImageOptions, model: Loaded, encoder: Model) -> dict[str, Model]:
    """Every file behind the chain."""
    found = {"encoder": encoder, **{f"shape.{name}": file for name, file in model.files.items()}}
    for name in ("identity", "perceptual"):
        told: NetworkOptions | None = getattr(options, name)
        if told is not None:
            found[name] = find_model(WHO, told.file, sha256=told.sha256)
    return found

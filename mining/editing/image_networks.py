"""Networks that say how much two images differ: identity and perception, differentiable."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mining.extractors.models import find_model
from schemas.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Distance = Literal["cosine", "squared"]
# what torch raises where a file is damaged, or a program does not fit
DAMAGED = (RuntimeError, LookupError, ValueError, TypeError, AttributeError, EOFError, OSError)


@dataclass(frozen=True)
class ImageNetwork:
    """A network from images to features, what it reads, and how its features are compared."""

    features: Callable[[Tensor], Tensor]  # (N, 3, size, size) in `span`, float32 -> (N, ...)
    size: int  # pixels that it reads
    span: tuple[float, float] = (-1.0, 1.0)  # its numbers for black and white
    distance: Distance = "squared"  # |a - b|^2, or 1 - the cosine of a and b
    device: str = "cpu"

    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, size, size) in -1..1 -> (N, E); of length 1 for the cosine."""
        low, high = self.span
        raw = self.features(low + (images.to(self.device) + 1) * ((high - low) / 2)).flatten(1)
        if self.distance == "squared":
            return raw
        return raw / raw.norm(dim=1, keepdim=True).clamp_min(1e-12)

    def compare(self, found: Tensor, wanted: Tensor) -> Tensor:
        """(N, E), (N, E) -> (N,): for vectors of length 1, 1 - cosine is half the square."""
        squared = (found - wanted).square().sum(dim=1)
        return squared if self.distance == "squared" else squared / 2


def arcface_onnx(path: str | Path, sha256: str | None = None, device: str = "cpu") -> ImageNetwork:
    """An ArcFace network of an ONNX file: reads aligned crops, compares by the cosine.

    Source: Deng, Guo, Xue & Zafeiriou (2019), arXiv:1801.07698.

    Raises:
        InputError, MissingBackendError, CorruptDataError: as `onnx_torch.read_onnx`.
    """
    from mining.editing.onnx_torch import read_onnx

    network = read_onnx(path, sha256).to(device).eval()
    if network.size[0] != network.size[1]:
        raise InputError(f"arcface: {path} reads {network.size}; expected square images.")
    return ImageNetwork(network, network.size[0], (-1, 1), "cosine", device)


def identity_network(
    path: str | Path,
    sha256: str | None = None,
    size: int = 112,
    span: tuple[float, float] = (-1.0, 1.0),
    device: str = "cpu",
) -> ImageNetwork:
    """Any face embedding as TorchScript, (N, 3, size, size) -> (N, E); compares by the cosine.

    A TorchScript file is a program that torch runs: give only files that you trust as you trust
    code, and their sha256 where you know it.

    Raises:
        InputError: it is no TorchScript file, or does not fit images of that size.
        CorruptDataError: it has another checksum.
    """
    module = _torchscript("identity network", path, sha256, device)
    return _tried(ImageNetwork(module, size, span, "cosine", device), path)


def feature_network(
    who: str,
    path: str | Path,
    sha256: str | None = None,
    size: int = 224,
    span: tuple[float, float] = (0.0, 1.0),
    device: str = "cpu",
) -> ImageNetwork:
    """Any network from images to numbers as TorchScript, (N, 3, size, size) -> (N, E), as it is.

    A TorchScript file is a program that torch runs: give only files that you trust as you trust
    code, and their sha256 where you know it.

    Args:
        who: asks, as messages name it.

    Raises:
        InputError: it is no TorchScript file, or does not fit images of that size.
        CorruptDataError: it has another checksum.
    """
    module = _torchscript(who, path, sha256, device)
    return _tried(ImageNetwork(module, size, span, "squared", device), path)


def lpips_network(
    path: str | Path, sha256: str | None = None, size: int = 256, device: str = "cpu"
) -> ImageNetwork:
    """A perceptual distance as TorchScript: the squared distance of its features.

    Made for the VGG16 that NVIDIA publishes beside StyleGAN2, whose features are scaled so that
    their squared distance is LPIPS: it reads 0..255 and is told `return_lpips=True` and
    `resize_images=False`. Any other module, (N, 3, size, size) in 0..255 -> features, will do.
    A TorchScript file is a program that torch runs: give only files that you trust as you trust
    code, and their sha256 where you know it.
    Source: Zhang, Isola, Efros, Shechtman & Wang (2018), arXiv:1801.03924.

    Raises:
        InputError: it is no TorchScript file, or does not fit images of that size.
        CorruptDataError: it has another checksum.
    """
    module = _torchscript("lpips network", path, sha256, device)
    known = {argument.name for argument in module.forward.schema.arguments}
    wanted = {"return_lpips": True, "resize_images": False}
    options = {name: value for name, value in wanted.items() if name in known}
    return _tried(ImageNetwork(_Told(module, options), size, (0, 255), "squared", device), path)


@dataclass(frozen=True)
class _Told:
    """A module with options that each call repeats."""

    module: Any
    options: Mapping[str, bool] = field(default_factory=dict)

    def __call__(self, images: Tensor) -> Tensor:
        return self.module(images, **self.options)


def _torchscript(who: str, path: str | Path, sha256: str | None, device: str) -> Any:
    """A TorchScript module whose weights get no gradients."""
    import torch

    if "://" not in str(path) and not Path(path).is_file():
        raise InputError(f"{who}: there is no file {path}; expected a TorchScript file.")
    found = find_model(who, path, sha256=sha256)
    try:
        with warnings.catch_warnings():  # torch calls the format deprecated at each load
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(str(found.path), map_location=device).eval()
        _ = module.forward.schema  # a module without a program has none
    except DAMAGED as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{who}: {path} is no TorchScript file: {said}") from None
    for weight in module.parameters():
        weight.requires_grad_(False)
    return module


def _tried(network: ImageNetwork, path: str | Path) -> ImageNetwork:
    """The network, after one grey image went through it."""
    import torch

    shape = (1, 3, network.size, network.size)
    try:
        with torch.no_grad():
            found = network.features(torch.zeros(shape, device=network.device))
    except DAMAGED as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
        raise InputError(f"{path} does not run on an image {shape}: {said}") from None
    if not isinstance(found, torch.Tensor) or len(found) != 1 or not found.is_floating_point():
        raise InputError(f"{path} gave no tensor with a row for each image {shape}.")
    return network

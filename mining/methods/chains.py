"""What the losses of the direction matrix see of a latent, differentiably: one protocol, and the
chain of surrogates that stands in for rendering and measuring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import signed
from mining.methods.chain_codes import in_pairs, reading_of, shape_codes, still_descriptors
from mining.methods.gcv_ridge import LinearReading
from mining.methods.learned import LearnedRows
from mining.methods.surrogate import (
    Surrogate,
    SurrogateConfig,
    surrogate_options,
    train_surrogate,
)
from schemas.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from mining.methods.matrix_config import MatrixConfig
    from mining.shape3d.model import Sparse

Array = NDArray[np.float64]
WHO = "direction_matrix"
COMPONENTS = 48  # of small images, which carry nearly all that a latent says of them


class Chain(Protocol):
    """From latents (n, D) on the chain's device, in its dtype, to what the losses compare."""

    names: tuple[str, ...]  # K moving codes: pose, a jaw where there is one, expressions
    units: tuple[str, ...]  # K
    reading: LinearReading | None  # of p; None: read off the rows

    def codes(self, latents: Tensor) -> Tensor:
        """(n, K + I): p, then the coefficients of identity."""
        ...

    def points(self, codes: Tensor) -> Tensor:
        """(n, K + I) -> (n, 68, 3): equation (1), posed."""
        ...

    def identity(self, latents: Tensor) -> Tensor | None:
        """(n, E) embeddings whose cosine is equation (6); None where nothing measures them."""
        ...

    def features(self, latents: Tensor) -> Tensor | None:
        """(n, F) whose squared distance is the perceptual loss; None where there is none."""
        ...

    def pixels(self, latents: Tensor) -> Tensor | None:
        """(n, ...) images in -1..1; None where there are none."""
        ...


@dataclass(frozen=True)
class ChainParts:
    """Surrogates of everything that was measured, in plain arrays."""

    names: tuple[str, ...]  # K
    units: tuple[str, ...]  # K
    measured: Array  # (N, K) the moving codes of the rows, NaN where there is no face
    reading: LinearReading  # of the K moving codes; of pairs, within their sequences
    codes: Surrogate  # K + I outputs
    descriptor: Surrogate | None
    pixels: PixelSurrogate | None
    model: Sparse  # the shape model at its landmarks
    jaw: Any = None  # flame_jaw.Jaw, where the fourth code is one
    evidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PixelSurrogate:
    """Small images as a mean and components, whose amounts a surrogate reads."""

    amounts: Surrogate  # C outputs
    mean: Array  # (3 edge edge,) channels first
    components: Array  # (C, 3 edge edge) orthonormal
    edge: int

    def predict(self, latents: NDArray) -> Array:
        """(N, D) -> (N, edge, edge, 3)."""
        flat = self.mean + self.amounts.predict(latents) @ self.components
        return flat.reshape(-1, 3, self.edge, self.edge).transpose(0, 2, 3, 1)


class SurrogateChain:
    """`Chain` without images: works for every generator, on a CPU.

    Beside the protocol: `parameters`, the linear reading of p on tensors; `measured`, p (N, K) of
    the rows; `evidence`, r2 of everything on rows that were held out.
    """

    def __init__(self, parts: ChainParts, device: str = "cpu"):
        import torch

        from mining.methods.shape_loss import ShapePoints
        from mining.methods.surrogate_torch import differentiable_reading, differentiable_surrogate

        self.parts, self.names, self.units = parts, parts.names, parts.units
        self.reading: LinearReading | None = parts.reading
        self.measured, self.evidence = parts.measured, parts.evidence
        self.dtype, self.device = torch.float32, device
        self._count = len(parts.names)
        self.parameters = differentiable_reading(parts.reading, self.dtype, device)
        self._codes = differentiable_surrogate(parts.codes, self.dtype, device)
        self._points = ShapePoints(
            parts.model, jaw=_jaw_shift(parts.jaw, device), dtype=self.dtype, device=device
        )
        self._descriptor = (
            None
            if parts.descriptor is None
            else differentiable_surrogate(parts.descriptor, self.dtype, device)
        )
        self._pixels = None if parts.pixels is None else _pixels_of(parts.pixels, device)

    def codes(self, latents: Tensor) -> Tensor:
        """(n, K + I) as they would be measured, bends and all."""
        return self._codes(latents)

    def points(self, codes: Tensor) -> Tensor:
        """(n, 68, 3) in `shape_loss.UNIT`."""
        return self._points(codes[:, : self._count], codes[:, self._count :])

    def identity(self, latents: Tensor) -> Tensor | None:
        """(n, E); trained on sequences, without what pose and expression do to a descriptor."""
        return None if self._descriptor is None else self._descriptor(latents)

    def features(self, latents: Tensor) -> Tensor | None:
        """Contrasts of the small image: no LPIPS, see `shape_loss.contrast_features`."""
        from mining.methods.shape_loss import contrast_features

        return None if self._pixels is None else contrast_features(self._pixels(latents))

    def pixels(self, latents: Tensor) -> Tensor | None:
        """(n, 3, edge, edge)."""
        return None if self._pixels is None else self._pixels(latents)


def make_surrogate_chain(rows: LearnedRows, config: MatrixConfig) -> SurrogateChain:
    """Train the surrogates of everything that the rows have measured.

    Codes are those of the rows, or fitted to their landmarks. Where rows are in sequences of one
    identity, and are to be learned from in pairs, p is read by what changes within them
    (`fit_within`), and what p explains of the descriptors within sequences is taken off them: what
    is left is of the identity alone, to first order.

    Args:
        config: its shape_model, shape_kind, reader, expressions, training, surrogate, seed and
            device are read.

    Raises:
        InputError: neither codes nor landmarks are there, too few rows have them, codes and shape
            model do not fit together, or an option is wrong.
    """
    device = _device(config)
    return SurrogateChain(chain_parts(rows, config), device)


def chain_parts(rows: LearnedRows, config: MatrixConfig) -> ChainParts:
    """The surrogates of `make_surrogate_chain`; errors as there."""
    surrogate = surrogate_options(config.surrogate, config.seed)
    codes, model, jaw = shape_codes(rows, config)
    paired = in_pairs(rows, config)
    reading = reading_of(rows, codes, paired)
    both = np.concatenate([codes.moving, codes.identity], axis=1)
    groups = rows.sequences
    of_codes = train_surrogate(rows.latents, both, surrogate, groups)
    evidence = _told("r2", codes.names, of_codes.r2) | _told("r2_read", codes.names, reading.r2)
    if codes.identity.shape[1]:
        evidence["r2_identity_codes"] = float(of_codes.r2[len(codes.names) :].mean())
    descriptors = still_descriptors(rows, reading, paired)
    descriptor = None
    if descriptors is not None:
        descriptor = train_surrogate(rows.latents, descriptors, surrogate, groups)
        evidence["r2_descriptor"] = _whole(descriptor)
    shown = rows.pixels is not None and bool(np.isfinite(rows.pixels).any())
    pixels = _pixel_surrogate(rows, surrogate) if shown else None
    if pixels is not None:
        evidence["r2_pixels"] = _whole(pixels.amounts)
    return ChainParts(
        codes.names,
        codes.units,
        codes.moving,
        reading,
        of_codes,
        descriptor,
        pixels,
        model,
        jaw,
        evidence,
    )


def _pixel_surrogate(rows: LearnedRows, config: SurrogateConfig) -> PixelSurrogate:
    images = np.asarray(rows.pixels, np.float64)
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise InputError(f"{WHO}: pixels {images.shape} came, expected (N, edge, edge, 3).")
    flat = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    known = flat[np.isfinite(flat).all(axis=1)]
    mean = known.mean(axis=0)
    _, axes = np.linalg.eigh((known - mean).T @ (known - mean))
    components = signed(axes[:, ::-1][:, :COMPONENTS]).T
    amounts = train_surrogate(rows.latents, (flat - mean) @ components.T, config, rows.sequences)
    return PixelSurrogate(amounts, mean, np.ascontiguousarray(components), images.shape[1])


def _pixels_of(parts: PixelSurrogate, device: str) -> Any:
    import torch

    from mining.methods.surrogate_torch import differentiable_surrogate

    amounts = differentiable_surrogate(parts.amounts, torch.float32, device)
    mean, components = (
        torch.as_tensor(array, dtype=torch.float32, device=device)
        for array in (parts.mean, parts.components)
    )
    edge = parts.edge
    return lambda latents: (mean + amounts(latents) @ components).reshape(-1, 3, edge, edge)


def _jaw_shift(jaw: Any, device: str) -> Any:
    if jaw is None:
        return None
    import torch

    from mining.methods.flame_jaw import JawShift

    return JawShift(jaw, torch.zeros((), dtype=torch.float32, device=device))


def _device(config: MatrixConfig) -> str:
    from mining.generators.devices import pick_device

    return str(pick_device(config.device))


def _told(stem: str, names: tuple[str, ...], values: Array) -> dict[str, float]:
    return {f"{stem}_{name}": float(value) for name, value in zip(names, values, strict=False)}


def _whole(surrogate: Surrogate) -> float:
    """r2 over all outputs together, each by its variance."""
    share = surrogate.spread**2
    return float((surrogate.r2 * share).sum() / share.sum())

"""Anchors by frames: a face that turns or smiles in a film, inverted frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mining.editing.image_networks import ImageNetwork
from mining.generators.base import Generator, Images
from mining.methods.anchors import Anchors
from mining.methods.base import check_positive, check_whole, own_order, principal_axes
from schemas.errors import InputError

Array = NDArray[np.float64]
LEAST = 3  # frames that anchors are made of
PENALTIES = np.logspace(-4, 4, 33)  # of the ridge, in mean energies of the features


class Inverter(Protocol):
    """Finds latents whose images look like others."""

    def __call__(self, frames: Images, features: Array) -> Array:
        """(N, H, W, 3) RGB and (N, F) measured in them -> (N, D); NaN where nothing is known."""
        ...


@dataclass(frozen=True)
class FrameAnchors:
    """Inverts frames, each with the degree that was measured in it."""

    frames: Images  # (N, H, W, 3) RGB
    degrees: Array  # (N,) the attribute as measured, NaN where no face was found
    features: Array  # (N, F) of the inverter; (N, 0) where it reads pixels alone
    inverter: Inverter

    def __call__(self) -> Anchors:
        """One identity's anchors, with `frames` and `left_out` (no face) as evidence.

        Moves count from the middle of the latents, number by number: unlike the mean it stands
        where some frames are inverted badly.

        Raises:
            InputError: fewer than three frames show a face, or the degree never changes.
        """
        if len({len(self.frames), len(self.degrees), len(self.features)}) > 1:
            raise InputError(
                f"frames: {len(self.frames)} frames, {len(self.degrees)} degrees and "
                f"{len(self.features)} rows of features came; expected as many."
            )
        finite = np.isfinite(self.degrees) & np.isfinite(self.features).all(axis=1)
        known = np.array(finite, bool)
        if np.sum(known) < LEAST:
            raise InputError(
                f"frames: a face was measured in {int(np.sum(known))} of {known.size} frames; "
                f"expected at least {LEAST}."
            )
        degrees = np.asarray(self.degrees[known], np.float64)
        if np.ptp(degrees) == 0:
            raise InputError(
                f"frames: the attribute is {degrees[0]:g} in all {len(degrees)} frames; expected "
                "frames between which it changes."
            )
        latents = np.asarray(self.inverter(self.frames[known], self.features[known]), np.float64)
        start = np.median(latents, axis=0)[None]
        counts = {"frames": float(len(degrees)), "left_out": float(np.sum(~known))}
        return Anchors(latents, degrees, np.zeros(len(degrees), np.int64), start, counts)


@dataclass(frozen=True)
class RidgeInverter:
    """w = mean + B z of standardised features: what a dataset tells of latents by what is seen.

    It gives the latent that is expected for a face of these measurements: what no feature tells
    of (colours, for landmarks) stays at the mean, so it does no harm to a motion.
    """

    centre: Array  # (F,)
    scale: Array  # (F,)
    weights: Array  # (D, F)
    mean: Array  # (D,)
    penalty: float
    r2: float  # share of the latents' variance explained on held-out rows

    def __call__(self, frames: Images, features: Array) -> Array:
        """(N, D)."""
        return self.mean + (features - self.centre) / self.scale @ self.weights.T


def fit_inverter(latents: Array, features: Array, held_out: float = 0.2) -> RidgeInverter:
    """Ridge regression of all latents on standardised features, B = W'Z (Z'Z + lambda I)^-1.

    Lambda is that of the least squared error on held-out rows; B comes from all rows then.
    Source: Hoerl & Kennard (1970), doi:10.1080/00401706.1970.10488634.

    Args:
        latents: (N, D). features: (N, F); rows with NaN are left out; 20 must stay.

    Raises:
        InputError: shapes disagree, or too few rows are left.
    """
    latents, features = np.asarray(latents, np.float64), np.asarray(features, np.float64)
    if latents.ndim != 2 or features.ndim != 2 or len(latents) != len(features):
        raise InputError(
            f"inverter: latents {latents.shape} and features {features.shape} came; expected "
            "(N, D) and (N, F)."
        )
    rows = np.isfinite(features).all(axis=1)
    if rows.sum() < 20:
        raise InputError(
            f"inverter: {int(rows.sum())} of {len(latents)} rows have all features; expected 20."
        )
    latents, features = latents[rows], features[rows]
    order = own_order(latents)[np.random.default_rng(0).permutation(len(latents))]
    test, train = np.split(order, [max(2, round(held_out * len(order)))])
    errors = _held_out_errors(latents, features, train, test)
    best = int(np.argmin(errors))
    total = ((latents[test] - latents[train].mean(axis=0)) ** 2).sum()
    centre, scale = features.mean(axis=0), _scale(features)
    z, mean = (features - centre) / scale, latents.mean(axis=0)
    weights = _ridge(z, latents - mean, float(PENALTIES[best]))
    return RidgeInverter(
        centre, scale, weights, mean, float(PENALTIES[best]), float(1 - errors[best] / total)
    )


@dataclass(frozen=True)
class OptimisingInverter:
    """Adam on latents until their images are those of the frames: differentiable generators alone.

    min_w mean |G(w) - x|^2 + perceptual distance, at most `size` pixels, from the mean latent,
    with the rates of text anchors.
    Source: Karras et al. (2020), arXiv:1912.04958, appendix D, without its noise.
    """

    generator: Generator
    space: str = "w+"
    steps: int = 200
    learning_rate: float = 0.1
    size: int = 256  # pixels that images are compared at
    perceptual: ImageNetwork | None = None  # such as LPIPS; None: pixels alone
    batch: int = 4

    def __post_init__(self) -> None:
        check_whole("inverter", 1, steps=self.steps, size=self.size, batch=self.batch)
        check_positive("inverter", learning_rate=self.learning_rate)
        if not hasattr(self.generator, "differentiable"):
            raise InputError(
                f"inverter: no gradient passes generator {self.generator.name!r}; expected a "
                "ridge from what a dataset measured (fit_inverter)."
            )

    def __call__(self, frames: Images, features: Array) -> Array:
        """(N, D) of the space."""
        from mining.methods.latent_optimisation import invert

        parts = [frames[i : i + self.batch] for i in range(0, len(frames), self.batch)]
        return np.concatenate([invert(self, part) for part in parts])


def start_of(generator: Any, space: str) -> Array:
    """(D,) the mean latent of W or W+, laid flat."""
    mean = generator.mean_w()[None]
    return np.asarray(mean if space == "w" else generator.broadcast(mean), np.float64).ravel()


def _held_out_errors(
    latents: Array, features: Array, train: NDArray[np.int64], test: NDArray[np.int64]
) -> Array:
    """(penalties,) summed squared errors on `test` of ridges fitted to `train`."""
    centre, scale = features[train].mean(axis=0), _scale(features[train])
    z, seen = (features[train] - centre) / scale, (features[test] - centre) / scale
    mean = latents[train].mean(axis=0)
    energy, axes = principal_axes(z)
    pull = axes.T @ (z.T @ (latents[train] - mean))
    errors = []
    for penalty in PENALTIES:
        shrunk = pull / (energy + penalty * energy.mean())[:, None]
        errors.append(float(((latents[test] - mean - seen @ axes @ shrunk) ** 2).sum()))
    return np.array(errors)


def _ridge(z: Array, latents: Array, penalty: float) -> Array:
    """(D, F)."""
    energy, axes = principal_axes(z)
    pull = axes.T @ (z.T @ latents)
    return (axes @ (pull / (energy + penalty * energy.mean())[:, None])).T


def _scale(features: Array) -> Array:
    spread = features.std(axis=0)
    return np.where(spread > 0, spread, 1.0)

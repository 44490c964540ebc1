"""What learned methods read, what they return, and what they keep between epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import Direction

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ShapeCodes:
    """What a 3-D shape model says of N images; NaN in rows without a face."""

    names: tuple[str, ...]  # K: yaw, pitch, roll, then a jaw where there is one, then expressions
    units: tuple[str, ...]  # K
    moving: NDArray[np.float64]  # (N, K) p = [p_theta, p_e], angles in degrees
    identity: NDArray[np.float64]  # (N, I) p_i


@dataclass(frozen=True)
class LearnedRows:
    """What a dataset says of N images, in rows of the dataset."""

    latents: NDArray[np.float32]  # (N, D): w, or W+ with its rows laid end to end
    space: str  # "w" or "w+"
    shape: tuple[int, ...]  # of one latent: (w_dim,) or (num_ws, w_dim)
    num_ws: int  # rows of W+
    scores: Mapping[str, Array] = field(default_factory=dict)  # attribute -> (N,), NaN unmeasured
    units: Mapping[str, str] = field(default_factory=dict)  # attribute -> its unit
    landmarks: NDArray[np.float32] | None = None  # (N, 68, 2) fractions, NaN where unmeasured
    codes: ShapeCodes | None = None  # as an extractor measured them; None: fitted to the landmarks
    descriptors: NDArray[np.float32] | None = None  # (N, E) of faces, NaN where unmeasured
    pixels: NDArray[np.float32] | None = None  # (N, edge, edge, 3) small images in -1..1
    sequences: NDArray[np.int64] | None = None  # (N,) number of the row's sequence; -1: of none
    inverted: NDArray[np.float32] | None = None  # (M, D) latents of inverted images
    facts: Mapping[str, str] = field(default_factory=dict)  # generator, fingerprint, licence

    def __len__(self) -> int:
        return len(self.latents)


@dataclass(frozen=True)
class Curve:
    """Losses by epoch."""

    title: str
    loss: str  # what it is the value of
    training: tuple[float, ...]
    held_out: tuple[float, ...]


@dataclass(frozen=True)
class Learned:
    """What a learned method found."""

    directions: tuple[Direction, ...]  # of a non-linear method with `artefact`, its file's SHA-256
    kind: str  # of the artefact: "matrix" or "flow"
    artefact: bytes  # a safetensors file that stands alone
    curves: tuple[Curve, ...] = ()
    evidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """Everything that training needs to go on after an epoch as if nothing had happened.

    Random numbers are drawn from (seed, epoch), so none are kept.
    """

    epoch: int  # that are finished
    epochs: int  # that there will be
    arrays: Mapping[str, NDArray[Any]]  # weights, the optimiser's moments, best weights ...
    losses: tuple[tuple[float, ...], ...]  # one row an epoch: training, held out


Keep = Callable[[Checkpoint], None]  # called after every epoch

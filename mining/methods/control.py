"""Shape model and regressor together: what an image's latent says about its geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from mining.methods.regressor import PRESETS, Regressor, RegressorConfig, train_regressor
from mining.methods.shape_model import ShapeModel
from mining.spaces import SPACES
from schemas.errors import InputError
from schemas.registry import unknown

if TYPE_CHECKING:
    from mining.methods.embedding import Embedding

Array = NDArray[np.float64]
DEFAULT_NRSFM = NrsfmConfig()
TAIL = 0.01  # share of the training codes below `CodeRanges.low`, and as many above `high`


@dataclass(frozen=True)
class CodeRanges:
    """How far each number of q goes among the rows that the shape model was fitted to."""

    mean: Array  # (8 + K,)
    spread: Array  # (8 + K,) standard deviations
    low: Array  # (8 + K,) the 1 % quantile: below it few images were seen
    high: Array  # (8 + K,) the 99 % quantile
    rows: int


@dataclass(frozen=True)
class ControlModel:
    """The paper's sparse backbone: R(q) from landmarks alone, and q = phi(w).

    q is (k11, k12, k22, pitch, yaw, roll in radians, alpha_0 .. alpha_{K-1}, t_x, t_y), as
    `ShapeModel.names` says. Control files keep all of it but `shape.codes`: see `control_file`.
    """

    shape: ShapeModel
    regressor: Regressor  # phi: (N, D) latents of `space`, W+ and S laid flat -> (N, 8 + K)
    space: str = "w"  # of SPACES
    latent_shape: tuple[int, ...] = ()  # of one latent: (512,) or (18, 512); () means (D,)
    generator: str = ""  # its name, "" where it is not known
    fingerprint: str = ""  # the generator's, 64 hex digits, "" where it is not known
    licence: str = ""  # the generator's
    ranges: CodeRanges | None = None  # of the training codes
    embedding: Embedding | None = None  # latents -> face descriptor, where one was trained

    def __post_init__(self) -> None:
        check_space(self.space, self.latent_shape, len(self.regressor.centre))
        object.__setattr__(self, "latent_shape", self.latent_shape or self.regressor.centre.shape)

    def landmarks(self, latents: Array) -> Array:
        """R(phi(w)): (N, D) -> (N, L, 2), the landmarks to expect in the images."""
        return self.shape.project(self.regressor.predict(latents))


def fit_control(
    latents: NDArray,
    landmarks: NDArray,
    nrsfm: NrsfmConfig = DEFAULT_NRSFM,
    regressor: RegressorConfig = PRESETS["default"],
    *,
    space: str = "w",
    latent_shape: Sequence[int] = (),
    generator: str = "",
    fingerprint: str = "",
    licence: str = "",
    shape: ShapeModel | None = None,
) -> ControlModel:
    """Fit the shape model to the landmarks, then the regressor to its codes.

    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, sections 3.1 and 3.2.

    Args:
        latents: (N, D), those of W+ and S laid flat. landmarks: (N, L, 2) in [0, 1], y down; no
            NaN.
        space: which the latents are of, one of SPACES.
        latent_shape: of one latent; (D,) where it is left out.
        generator, fingerprint, licence: of the generator that made the images.
        shape: the model with the codes of these rows, where it was fitted before.

    Raises:
        InputError: shapes disagree or a value is not finite.
    """
    width = np.shape(latents)[-1] if np.ndim(latents) else 0
    check_space(space, tuple(latent_shape), width)  # before minutes of work
    landmarks = np.asarray(landmarks, np.float64)
    shape = shape or fit_nrsfm(landmarks, nrsfm)
    return ControlModel(
        shape,
        train_regressor(latents, shape.codes, shape, landmarks, regressor),
        space,
        tuple(latent_shape),
        generator,
        fingerprint,
        licence,
        code_ranges(shape.codes),
    )


def code_ranges(codes: Array) -> CodeRanges:
    """Mean, spread and range of codes (N, 8 + K), N >= 1."""
    low, high = np.quantile(codes, [TAIL, 1 - TAIL], axis=0)
    return CodeRanges(codes.mean(axis=0), codes.std(axis=0), low, high, len(codes))


def check_space(space: str, latent_shape: tuple[int, ...], width: int) -> None:
    """InputError where there is no such space, or where its latents have not `width` numbers."""
    if space not in SPACES:
        raise unknown("latent space", space, SPACES)
    if latent_shape and math.prod(latent_shape) != width:
        raise InputError(
            f"control: latents of {width} numbers came for latent_shape {latent_shape}; expected "
            f"{math.prod(latent_shape)} numbers."
        )

"""Shape model and regressor together: what an image's latent says about its geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from mining.methods.regressor import PRESETS, Regressor, RegressorConfig, train_regressor
from mining.methods.shape_model import ShapeModel

Array = NDArray[np.float64]
DEFAULT_NRSFM = NrsfmConfig()


@dataclass(frozen=True)
class ControlModel:
    """The paper's sparse backbone: R(q) from landmarks alone, and q = phi(w)."""

    shape: ShapeModel
    regressor: Regressor

    def landmarks(self, latents: Array) -> Array:
        """R(phi(w)): (N, D) -> (N, L, 2), the landmarks to expect in the images."""
        return self.shape.project(self.regressor.predict(latents))


def fit_control(
    latents: Array,
    landmarks: Array,
    nrsfm: NrsfmConfig = DEFAULT_NRSFM,
    regressor: RegressorConfig = PRESETS["default"],
) -> ControlModel:
    """Fit the shape model to the landmarks, then the regressor to its codes.

    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, sections 3.1 and 3.2.

    Args:
        latents: (N, D). landmarks: (N, L, 2) in [0, 1], y down; no NaN.

    Raises:
        InputError: shapes disagree or a value is not finite.
    """
    shape = fit_nrsfm(landmarks, nrsfm)
    return ControlModel(shape, train_regressor(latents, shape.codes, shape, landmarks, regressor))

"""Micromotion: the one line along which an identity moves through degrees of an attribute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.editing.analytic import edit_to_attribute
from mining.methods.base import Direction, check_pairs, unit_vector
from mining.methods.control import ControlModel
from mining.methods.readout import Readout, fit_readout
from mining.methods.ridge import slope_along
from mining.methods.robust_pca import RobustPca, RobustPcaConfig, robust_pca
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MicromotionConfig:
    """Settings of `mine_micromotion`."""

    degrees: int = 12  # anchors per identity
    identities: int = 1  # 1: the mean latent; more: the rows nearest to it, all in one matrix
    spread: float = 0.9  # share of the scores that the degrees span: 5th to 95th percentile
    steps: int = 8  # of the analytic edit that makes one anchor
    tolerance: float = 1e-7  # of the robust PCA, on |D - L - S|_F / |D|_F
    iterations: int = 5000  # of the robust PCA, at most
    seed: int = 0  # of the split that measures the read-out

    def __post_init__(self) -> None:
        if self.degrees < 2 or self.identities < 1 or self.steps < 1:
            raise InputError("robust_pca: expected degrees >= 2, identities >= 1, steps >= 1.")
        self.pursuit()
        if not 0 < self.spread <= 1:
            raise InputError(f"robust_pca: spread is {self.spread}, expected inside (0, 1].")

    def pursuit(self) -> RobustPcaConfig:
        """The settings of the robust PCA."""
        return RobustPcaConfig(tolerance=self.tolerance, iterations=self.iterations)


def mine_micromotion(
    control: ControlModel,
    latents: Array,
    scores: Array,
    config: MicromotionConfig = MicromotionConfig(),
) -> Direction:
    """Find an attribute's direction from anchors of one identity, cleaned by robust PCA.

    One start code is pushed to evenly spaced degrees of the attribute by the analytic edit
    through the regressor; the anchors minus the start are the rows of D = L + S; the direction
    is the first principal component of L, signed so that the attribute grows. Centring on the
    start matters: without it the first component is the face itself, not its motion.
    What it estimates: the local path of least change in the latent, as the regressor sees it;
    like `nrsfm` but at one identity and along a path instead of a mean over rows.
    Source: Wu, Jiang et al. (2022), arXiv:2204.12696, section 3.3, steps 1 and 2, with anchors from
    the regressor in place of text or video.

    Args:
        control: the fitted shape model and regressor.
        latents: (N, D), N >= 10. scores: (N,), the attribute in its own unit.

    Returns:
        A direction whose slope is that of a ridge fit of the scores along it, and as
        evidence `iterations`, `residual`, `converged` (1 or 0), `rank`, `share` (of L's energy in
        the component), `r2` (read-out on held-out rows) and `missed` (mean distance of the
        anchors from their degrees, in units of the scores' standard deviation).

    Raises:
        InputError: shapes disagree, a value is not finite, or scores are constant.
    """
    latents, scores = check_pairs("robust_pca", latents, scores, least=10)
    readout = fit_readout(control.regressor.predict(latents), scores, seed=config.seed)
    tails = (1 - config.spread) / 2
    lowest, highest = np.quantile(scores, [tails, 1 - tails])
    targets = np.linspace(lowest, highest, config.degrees)
    starts = _starts(latents, config.identities)
    moves, missed = _anchors(control, readout, starts, targets, config.steps)
    pursuit = robust_pca(moves, config.pursuit())
    vector, share = motion(pursuit, np.tile(targets, len(starts)))
    return Direction(
        method="robust_pca",
        vector=vector,
        slope=slope_along(latents, scores, vector),
        evidence={
            "iterations": pursuit.iterations,
            "residual": pursuit.residual,
            "converged": float(pursuit.converged),
            "rank": pursuit.rank,
            "share": share,
            "r2": readout.r2,
            "missed": missed / float(scores.std()),
        },
    )


def motion(pursuit: RobustPca, degrees: Array) -> tuple[Array, float]:
    """The first component of L as a unit vector along which the degrees grow, and its share.

    Args:
        pursuit: the split of anchors minus start, (A, D).
        degrees: (A,), one per anchor.
    """
    vector, share = pursuit.component()
    position = pursuit.low_rank @ vector
    sign = 1.0 if (position - position.mean()) @ (degrees - degrees.mean()) >= 0 else -1.0
    return sign * unit_vector("robust_pca", vector), share


def _starts(latents: Array, identities: int) -> Array:
    """The mean latent, or the rows nearest to it, nearest first."""
    centre = latents.mean(axis=0)
    if identities == 1:
        return centre[None]
    distance = ((latents - centre) ** 2).sum(axis=1)
    return latents[np.argsort(distance, kind="stable")[:identities]]


def _anchors(
    control: ControlModel, readout: Readout, starts: Array, targets: Array, steps: int
) -> tuple[Array, float]:
    """(starts x degrees, D) anchors minus their start, and their mean distance from the degree."""
    first = np.repeat(starts, len(targets), axis=0)
    wanted = np.tile(targets, len(starts))
    edit = edit_to_attribute(control.regressor, first, readout, wanted, steps)
    return edit.latents - first, float(np.abs(edit.attribute - wanted).mean())

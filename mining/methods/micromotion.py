"""Micromotion: the one line along which an identity moves through degrees of an attribute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.anchor_motion import (
    Decomposition,
    Layers,
    Motion,
    MotionConfig,
    Pooling,
    Reading,
    find_motion,
)
from mining.methods.anchors import Anchors, AttributeAnchors, central_starts, even_degrees
from mining.methods.base import Direction, check_pairs, check_whole
from mining.methods.control import ControlModel
from mining.methods.readout import fit_readout
from mining.methods.ridge import slope_along
from mining.methods.robust_pca import RobustPcaConfig
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MicromotionConfig:
    """Settings of `mine_micromotion`."""

    degrees: int = 12  # anchors per identity
    identities: int = 1  # 1: the mean latent; more: the rows nearest to it
    pooling: Pooling = "matrix"  # of identities: all anchors in one matrix, or the mean motion
    decomposition: Decomposition = "robust_pca"  # or pca, or none
    reading: Reading = "component"  # or regression, or last_minus_first, the released code's
    layers: Layers = "whole"  # of W+: one matrix, or each row its own
    rank: int = 4  # kept by pca, and by whatever last_minus_first reads
    spread: float = 0.9  # share of the scores that the degrees span: 5th to 95th percentile
    steps: int = 8  # of the analytic edit that makes one anchor
    tolerance: float = 1e-7  # of the robust PCA, on |D - L - S|_F / |D|_F
    iterations: int = 5000  # of the robust PCA, at most
    seed: int = 0  # of the split that measures the read-out, and of the rotation

    def __post_init__(self) -> None:
        check_whole("robust_pca", 2, degrees=self.degrees)
        check_whole("robust_pca", 1, identities=self.identities, steps=self.steps)
        check_whole("robust_pca", 0, seed=self.seed)
        self.motion()
        if not 0 < self.spread <= 1:
            raise InputError(f"robust_pca: spread is {self.spread}, expected inside (0, 1].")

    def motion(self) -> MotionConfig:
        """How the anchors are split and read."""
        return MotionConfig(
            self.decomposition,
            self.reading,
            self.layers,
            self.pooling,
            self.rank,
            RobustPcaConfig(tolerance=self.tolerance, iterations=self.iterations),
            self.seed,
        )


def mine_micromotion(
    control: ControlModel,
    latents: Array,
    scores: Array,
    config: MicromotionConfig = MicromotionConfig(),
) -> Direction:
    """Find an attribute's direction from anchors of one identity, cleaned by robust PCA.

    One start code is pushed to evenly spaced degrees of the attribute by the analytic edit
    through the regressor; the anchors minus the start are the rows of D = L + S; the direction
    is the first principal component of L, signed so that the attribute grows: see `find_motion`,
    and the settings for other splits and readings.
    The pursuit works on D turned by a seeded random rotation: a motion along few coordinates of
    the latent would itself be sparse, and be taken for damage. Turned, it is dense whatever the
    axes, which is what the recovery theorem asks for (incoherence).
    The degrees span the quantiles of the scores at (1 -+ spread) / 2, or all scores where these
    coincide, as they do for a rare binary attribute.
    What it estimates: the local path of least change in the latent, as the regressor sees it;
    like `nrsfm` but at one identity and along a path instead of a mean over rows.
    Source: Wu, Jiang et al. (2022), arXiv:2204.12696, section 3.3, steps 1 and 2, with anchors from
    the regressor in place of text or video; incoherence: Candes, Li, Ma & Wright (2011),
    arXiv:0912.3599, equation (1.2).

    Args:
        control: the fitted shape model and regressor.
        latents: (N, D), N >= 10. scores: (N,), the attribute in its own unit.

    Returns:
        A direction whose slope is that of a ridge fit of the scores along it, and as
        evidence what `motion_evidence` names, `r2` (read-out on held-out rows), `missed`
        (mean distance of the anchors from their degrees, in units of the scores' standard
        deviation) and `flipped` (1 where the scores fall along the anchors' path, as the read-out
        misleads; the vector is then turned round).

    Raises:
        InputError: shapes disagree, a value is not finite, scores are constant, or there are
            fewer rows than `identities`.
    """
    latents, scores = check_pairs("robust_pca", latents, scores, least=10)
    if config.identities > len(latents):
        raise InputError(
            f"robust_pca: identities is {config.identities}, but only {len(latents)} rows came."
        )
    readout = fit_readout(control.regressor.predict(latents), scores, seed=config.seed)
    anchors = AttributeAnchors(
        control,
        readout,
        central_starts(latents, config.identities),
        even_degrees(scores, config.degrees, config.spread),
        config.steps,
    )()
    found = find_motion(anchors, config.motion(), control.latent_shape)
    slope = slope_along(latents, scores, found.vector)
    turn = -1.0 if slope < 0 else 1.0
    return Direction(
        method="robust_pca",
        vector=turn * found.vector,
        slope=turn * slope,
        evidence={
            **motion_evidence(anchors, found),
            "flipped": float(turn < 0),
            "r2": readout.r2,
            "missed": anchors.evidence["missed"] / float(scores.std()),
        },
    )


def motion_evidence(anchors: Anchors, found: Motion) -> Mapping[str, float]:
    """What a card tells of a motion.

    Returns:
        `iterations`, `residual` and `converged` (1 or 0) of the pursuit, `rank` of the cleaned
        moves, `share` (of their energy in the line), `sparse_share` (of the moves' norm that was
        taken for damage) and `plain_cosine` (absolute cosine of the vector to the first component
        of the moves as they came).
    """
    plain = np.linalg.svd(anchors.moves, full_matrices=False)[2][0]
    return {
        "iterations": found.iterations,
        "residual": found.residual,
        "converged": float(found.converged),
        "rank": found.rank,
        "share": found.share,
        "sparse_share": found.sparse_share,
        "plain_cosine": float(abs(found.vector @ plain)),
    }

"""Micromotion: the one line along which an identity moves through degrees of an attribute."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, idct

from mining.editing.analytic import edit_to_attribute
from mining.methods.base import Direction, check_pairs, check_whole, unit_vector
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
    seed: int = 0  # of the split that measures the read-out, and of the rotation

    def __post_init__(self) -> None:
        check_whole("robust_pca", 2, degrees=self.degrees)
        check_whole("robust_pca", 1, identities=self.identities, steps=self.steps)
        check_whole("robust_pca", 0, seed=self.seed)
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
        evidence `iterations`, `residual`, `converged` (1 or 0), `rank`, `share` (of L's energy in
        the component), `sparse_share` (|S|_F / |D|_F), `plain_cosine` (absolute cosine of the
        vector to the first component of D itself), `r2` (read-out on held-out rows), `missed`
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
    targets = _degrees(scores, config)
    starts = _starts(latents, config.identities)
    moves, missed = _anchors(control, readout, starts, targets, config.steps)
    pursuit = rotated_pursuit(moves, config.pursuit(), config.seed)
    vector, share = motion(pursuit, np.tile(targets, len(starts)))
    plain = np.linalg.svd(moves, full_matrices=False)[2][0]
    slope = slope_along(latents, scores, vector)
    turn = -1.0 if slope < 0 else 1.0
    return Direction(
        method="robust_pca",
        vector=turn * vector,
        slope=turn * slope,
        evidence={
            "iterations": pursuit.iterations,
            "residual": pursuit.residual,
            "converged": float(pursuit.converged),
            "rank": pursuit.rank,
            "share": share,
            "sparse_share": float(np.linalg.norm(pursuit.sparse) / np.linalg.norm(moves)),
            "plain_cosine": float(abs(vector @ plain)),
            "flipped": float(turn < 0),
            "r2": readout.r2,
            "missed": missed / float(scores.std()),
        },
    )


def rotated_pursuit(moves: Array, config: RobustPcaConfig, seed: int) -> RobustPca:
    """The robust PCA of moves Q, turned back by Q', for a seeded orthogonal Q (D, D).

    Q is twice a random change of signs and a cosine transform, O(D log D) per row, so that W+ is
    no trouble. After Ailon & Chazelle (2009), doi:10.1137/060673096, section 3.
    """
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(2, moves.shape[1]))

    def back(rows: Array) -> Array:
        for sign in signs[::-1]:
            rows = np.asarray(idct(rows, axis=1, norm="ortho")) * sign
        return rows

    turned = moves
    for sign in signs:
        turned = np.asarray(dct(turned * sign, axis=1, norm="ortho"))
    found = robust_pca(turned, config)
    return replace(found, low_rank=back(found.low_rank), sparse=back(found.sparse))


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


def _degrees(scores: Array, config: MicromotionConfig) -> Array:
    """Evenly spaced scores between two quantiles, or between the ends where the quantiles tie."""
    tails = (1 - config.spread) / 2
    lowest, highest = np.quantile(scores, [tails, 1 - tails])
    if not lowest < highest:
        lowest, highest = scores.min(), scores.max()
    return np.linspace(lowest, highest, config.degrees)


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

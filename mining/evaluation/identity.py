"""What edits cost in identity: the change in the cosine of the face descriptor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.rescoring import Rescored, RescoringConfig
from mining.evaluation.response import at_one_sigma, bootstrap_mean, mean_of_sides

Array = NDArray[np.float64]


def identity_changes(rescored: Rescored) -> Array:
    """(M,) every identity's 1 - cosine of its face descriptors before and after one sigma.

    Both signs count alike. Where one sigma is not among the steps, the change is interpolated
    between the neighbouring ones. NaN where a face was lost on both sides, where no step reaches
    one sigma, and where nothing described faces.
    """
    if not rescored.cosines.size:
        return np.full(len(rescored.values), np.nan)
    return mean_of_sides(at_one_sigma(rescored, 1.0 - rescored.cosines))


def identity_change(
    rescored: Rescored, config: RescoringConfig | None = None
) -> tuple[float, float, float]:
    """The mean change of identity by an edit of one sigma, and its 95 % interval.

    mean over identities of 1 - d_0 . d_1 / (|d_0| |d_1|), with d_0 and d_1 the descriptors before
    and after the edit: 0 for the same face. The interval is the percentile bootstrap over
    identities. Unlike `identity_cost` it does not hang on how long the descriptors are, so that
    those of different networks compare at least in their order.
    Source: the identity analysis of Wu, Jiang et al. (2022), arXiv:2204.12696, Table 1; its own
    score is that of another network.

    Returns:
        (mean, low, high); NaN for all where no face could be compared, for the interval where
        fewer than two could.
    """
    config = config or RescoringConfig()
    return bootstrap_mean(identity_changes(rescored), config.bootstrap, config.seed)

"""The paper's Table 1, and whether its orderings hold for ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mining.evaluation.agreement import Estimate
from mining.evaluation.control_table import CENTRED, IDENTITY, LOSSES, OBEYED, Row, estimate

# Haas, Grasshof & Brandt (2022), arXiv:2211.07195, Table 1: StyleGAN2 and 3 at 1024 px, aligned
# FFHQ, dlib's 68 landmarks, 1,000 codes, gradient edits with lambda_ID 0.01, ArcFace. Lower is
# better.
PAPER: Mapping[str, tuple[float, ...]] = {
    "StyleGAN2, z": (0.037, 0.094, 0.029, 0.123, 0.190),
    "StyleGAN2, w": (0.006, 0.026, 0.024, 0.057, 0.331),
    "StyleGAN2, w+": (0.008, 0.036, 0.058, 0.181, 0.019),
    "StyleGAN3, z": (0.021, 0.036, 0.032, 0.063, 0.264),
    "StyleGAN3, w": (0.007, 0.019, 0.028, 0.045, 0.296),
    "StyleGAN3, w+": (0.009, 0.021, 0.071, 0.160, 0.034),
}


@dataclass(frozen=True)
class Ordering:
    """Whether one space has the lowest of one loss."""

    loss: str
    best: str  # the space that the paper has lowest
    holds: bool  # its mean is below that of every other space
    certain: bool  # and every interval of the differences says so too; or, where it does not hold,
    # the interval of a difference lies below 0
    differences: Mapping[str, Estimate]  # other space -> its loss minus that of `best`


def orderings(rows: Sequence[Row]) -> list[Ordering]:
    """The paper's two: w is lowest in L_R, and w+ in L_ID; each w+ against z and w.

    The first also with the shift taken out of L_R, which q_edit cannot follow (`control_losses`).
    A space that was not tried is left out, and so is an ordering without two spaces. Differences
    are of bootstrap means: of the same latents where both spaces were tried on the same images.
    """
    named = {row.space: row for row in rows}
    wide = [row for row in rows if row.space.startswith("w+")]
    narrow = [row for row in rows if row.space in ("z", "w")]
    found = []
    if "w" in named:
        rest = [row for row in rows if row.space != "w" and not row.space.startswith("s")]
        found += _ordering(OBEYED, named["w"], rest) + _ordering(CENTRED, named["w"], rest)
    for row in wide:
        found += _ordering(IDENTITY, row, narrow)
    return found


def _ordering(loss: str, best: Row, others: Sequence[Row]) -> list[Ordering]:
    own = best.sums[loss].value
    differences = {
        row.space: estimate(
            np.concatenate(
                [[row.sums[loss].value - own], row.replicates[loss] - best.replicates[loss]]
            )
        )
        for row in others
    }
    if not differences or not all(np.isfinite(d.value) for d in differences.values()):
        return []
    holds = all(found.value > 0 for found in differences.values())
    above = all(found.low > 0 for found in differences.values())
    below = any(found.high < 0 for found in differences.values())
    return [Ordering(loss, best.space, holds, above if holds else below, differences)]


def paper_rows() -> list[dict[str, str | float]]:
    """The paper's table, one dictionary a row."""
    return [
        {"space": name, **dict(zip(LOSSES, values, strict=True))} for name, values in PAPER.items()
    ]

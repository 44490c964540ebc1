"""The tables of ablations of Bounareli et al. beside ours, and whether their orderings hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mining.evaluation.agreement import Estimate
from mining.evaluation.control_table import estimate
from mining.evaluation.transfer_scores import RISING, Kind, Row

FULL, NO_IDENTITY, NO_INNER = "synthetic", "without identity + perceptual", "without eye + mouth"
MIXED, PAIRED = "mixed", "paired"


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables of ablations."""

    number: int
    title: str
    kind: Kind  # of the pairs that it was measured on
    rows: Mapping[str, Mapping[str, float]]  # our name of the training -> figure -> the paper's

    @property
    def figures(self) -> tuple[str, ...]:
        """Its columns."""
        return tuple(next(iter(self.rows.values())))


def _row(figure: str, csim: float, pose: float, exp: float) -> dict[str, float]:
    return {figure: csim, "pose": pose, "exp": exp}


# arXiv:2202.00046, Tables 2 to 4: StyleGAN2 of VoxCeleb1, DECA, ArcFace. CSIM is to the source in
# Table 2 ("between the source and the reenacted images"), as pairs are of two identities, and in
# Table 3; to the target in Table 4, where source and target are one person.
PAPER = (
    PaperTable(
        2,
        "identity and perceptual losses",
        "cross",
        {FULL: _row("csim", 0.52, 2.4, 1.4), NO_IDENTITY: _row("csim", 0.42, 2.5, 1.4)},
    ),
    PaperTable(
        3,
        "eye and mouth losses",
        "cross",
        {FULL: _row("csim", 0.52, 2.4, 1.4), NO_INNER: _row("csim", 0.52, 2.6, 1.8)},
    ),
    PaperTable(
        4,
        "what it is trained on",
        "self",
        {
            FULL: _row("csim_target", 0.60, 1.7, 1.1),
            MIXED: _row("csim_target", 0.63, 1.6, 1.1),
            PAIRED: _row("csim_target", 0.66, 1.1, 0.8),
        },
    ),
)


@dataclass(frozen=True)
class Ordering:
    """Two trainings of which a table of the paper has one ahead in a figure."""

    table: int
    figure: str  # "csim", "pose", "exp"
    view: str  # "measured" or "true": by what ours are told
    better: str
    worse: str
    paper: tuple[float, float]  # its figures of both
    ours: tuple[float, float]
    gap: Estimate  # how far `better` is ahead of `worse` in ours; below 0 it is behind
    holds: bool
    certain: bool  # and the interval of the gap, over pairs, does not hold 0


def rows_of(table: PaperTable, rows: Sequence[Row]) -> dict[str, Row]:
    """Our rows of a table by name: of several readings of one matrix the first."""
    return {row.label: row for row in reversed(rows) if row.kind == table.kind}


def orderings(rows: Sequence[Row]) -> list[Ordering]:
    """Every ordering of the paper's tables that ours can be asked for; its ties are none.

    Args:
        rows: labels are the trainings' names; scored on the same pairs with the same seed.
    """
    found = []
    for table in PAPER:
        ours = rows_of(table, rows)
        names = [name for name in table.rows if name in ours]
        for k, one in enumerate(names):
            for other in names[k + 1 :]:
                for figure in table.figures:
                    found += _orderings(table, figure, ours[one], ours[other])
    return found


def _orderings(table: PaperTable, figure: str, one: Row, other: Row) -> list[Ordering]:
    theirs = {row.label: table.rows[row.label][figure] for row in (one, other)}
    if theirs[one.label] == theirs[other.label]:
        return []
    ahead = (theirs[one.label] > theirs[other.label]) == (figure in RISING)
    better, worse = (one, other) if ahead else (other, one)
    found = []
    for view, key in _keys(figure, better, worse):
        good, bad = better.replicates[key], worse.replicates[key]
        gap = estimate(good - bad if figure in RISING else bad - good)
        if not np.isfinite(gap.value):
            continue
        found.append(
            Ordering(
                table=table.number,
                figure=figure,
                view=view,
                better=better.label,
                worse=worse.label,
                paper=(theirs[better.label], theirs[worse.label]),
                ours=(float(good[0]), float(bad[0])),
                gap=gap,
                holds=gap.value > 0,
                certain=gap.low > 0 if gap.value > 0 else gap.high < 0,
            )
        )
    return found


def _keys(figure: str, one: Row, other: Row) -> list[tuple[str, str]]:
    """(view, key of `replicates`); descriptors are measured alone."""
    if figure in one.replicates:
        return [("measured", figure)]
    views = [view for view in one.views if view in other.views]
    return [(view, f"{view} {figure}") for view in views]


def best_of(rows: Sequence[Row]) -> Row | None:
    """The row with the least joint score, by the truth where it is known."""
    known = [row for row in rows if np.isfinite(joint_of(row).value)]
    return min(known, key=lambda row: joint_of(row).value, default=None)


def joint_of(row: Row) -> Estimate:
    """The joint score, by the truth where it is known."""
    return row.joint[row.best_view]


def gap_between(one: Row, other: Row) -> Estimate:
    """How much higher the joint score of `one` is than that of `other`, on the same pairs."""
    key = f"{one.best_view} joint"
    return estimate(one.replicates[key] - other.replicates[key])

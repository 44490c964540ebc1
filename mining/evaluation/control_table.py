"""Table 1 of NRSfM-controlled synthesis: how well phi predicts, lands, is obeyed, keeps identity.

    edits = draw_edits(control.shape.names, len(latents))
    losses = control_losses(trial_of_one_space)     # one number a latent or an edit
    row = summarise("w", losses)                    # means with intervals

Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, section 4.2, equations (16) to (18).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.agreement import Estimate
from mining.evaluation.control_table_edits import ANGLES, JOINT, KINDS, Edits
from mining.evaluation.response import INTERVAL
from mining.methods.base import check_whole
from schemas.errors import InputError

Array = NDArray[np.float64]
Distance = Literal["euclidean", "cosine"]

PREDICTED, PREDICTED_EDITED, LANDED, OBEYED, IDENTITY = LOSSES = (  # the paper's
    "L_L(w)",
    "L_L(w_edit)",
    "L_phi",
    "L_R",
    "L_ID",
)
STILL, CENTRED, CENTRED_STILL = "L_R unedited", "L_R centred", "L_R centred, unedited"
COLUMNS = (*LOSSES, STILL, CENTRED, CENTRED_STILL)


@dataclass(frozen=True)
class Trial:
    """What was asked of N latents of one space in E edits, and what was measured."""

    edits: Edits
    codes: Array  # (N, Q) phi(w)
    reached: Array  # (E, Q) phi(w_edit)
    landmarks: Array  # (N, L, 2) of G(w), fractions of the image; NaN where no face was found
    edited_landmarks: Array  # (E, L, 2) of G(w_edit)
    descriptors: Array  # (N, F) of the face in G(w); F is 0 where nothing describes faces
    edited_descriptors: Array  # (E, F)
    walked: Array  # (E,) |w_edit - w| in radii of the training latents


@dataclass(frozen=True)
class Losses:
    """Every loss of every row, summed over its numbers; NaN where a face was not found."""

    values: Mapping[str, Array]  # of COLUMNS: (N,) for L_L(w), (E,) for the others
    terms: Mapping[str, int]  # how many numbers a sum is over: 2L, Q; 1 for L_ID
    edits: Edits
    faces: int  # of the N latents
    edited_faces: int  # of the E edits
    walked: Array  # (E,)


@dataclass(frozen=True)
class Row:
    """One space: means over latents with 95 % intervals."""

    space: str
    sums: Mapping[str, Estimate]  # of COLUMNS; those of edits weigh both kinds alike
    kinds: Mapping[str, Mapping[str, Estimate]]  # kind of edit -> loss -> the same of it alone
    names: Mapping[str, Mapping[str, float]]  # "yaw", "alpha_0" ... -> loss -> mean
    terms: Mapping[str, int]
    latents: int
    faces: int
    edits: int
    edited_faces: int
    walked: float  # median of |w_edit - w|, in radii of the training latents
    replicates: Mapping[str, Array]  # loss -> (B,) bootstrap means behind the intervals

    @property
    def means(self) -> dict[str, Estimate]:
        """`sums` per coordinate or code."""
        return {name: scaled(found, self.terms[name]) for name, found in self.sums.items()}


def control_losses(
    project: Callable[[Array], Array], trial: Trial, distance: Distance = "euclidean"
) -> Losses:
    """The losses of one space, row by row.

    L_L(w) = |R(phi(w)) - psi(G(w))|^2 (16), the same of w_edit, L_phi = |phi(w_edit) - q_edit|^2
    (17), L_R = |R(q_edit) - psi(G(w_edit))|^2 (18), and L_ID, the distance of the descriptors of
    G(w) and G(w_edit): Euclidean (dlib's, under 0.6 for one person) or 1 - cosine (ArcFace's).
    q_edit = phi(w) + offset. Landmarks are fractions of the image, codes in their own units.
    Beside the paper's, L_R unedited = |R(q_edit) - psi(G(w))|^2: what L_R is where nothing moves;
    and both with the shift taken out, the centroids of the two sets of landmarks laid on each
    other: q_edit keeps t, while a head that turns about its neck takes its face along.

    Args:
        project: R, (N, Q) codes -> (N, L, 2) landmarks: `ShapeModel.project`.

    Raises:
        InputError: the arrays of the trial do not fit each other.
    """
    _check(trial)
    rows = trial.edits.rows
    wanted = trial.codes[rows] + trial.edits.offsets
    target = project(wanted)
    values = {
        PREDICTED: _squares(project(trial.codes) - trial.landmarks),
        PREDICTED_EDITED: _squares(project(trial.reached) - trial.edited_landmarks),
        LANDED: _squares(trial.reached - wanted),
        OBEYED: _squares(target - trial.edited_landmarks),
        IDENTITY: _distances(trial.descriptors[rows], trial.edited_descriptors, distance),
        STILL: _squares(target - trial.landmarks[rows]),
        CENTRED: _squares(_centred(target - trial.edited_landmarks)),
        CENTRED_STILL: _squares(_centred(target - trial.landmarks[rows])),
    }
    points, codes = trial.landmarks[0].size, trial.codes.shape[1]
    terms = {name: points for name in COLUMNS} | {LANDED: codes, IDENTITY: 1}
    return Losses(
        values,
        terms,
        trial.edits,
        _faces(trial.landmarks),
        _faces(trial.edited_landmarks),
        trial.walked,
    )


def summarise(space: str, losses: Losses, resamples: int = 1000, seed: int = 0) -> Row:
    """Means over the latents, with 95 % percentile bootstrap intervals.

    Latents are resampled with all their edits. The two kinds of edit weigh alike, however many
    edits of a single code each latent has. Rows without a face do not count in what needs one:
    `faces` and `edited_faces` say how many had one. Rows with the same seed and as many latents
    are resampled alike, so that spaces tried on the same images are compared pair by pair.
    Source: Efron (1979), doi:10.1214/aos/1176344552.
    """
    check_whole("table", 1, resamples=resamples)
    edits, count = losses.edits, len(losses.values[PREDICTED])
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(count, np.full(count, 1 / count), resamples).astype(np.float64)
    kinds = np.array(edits.kinds)
    replicates = {PREDICTED: _resampled(losses.values[PREDICTED], np.arange(count), weights)}
    of_kinds: dict[str, dict[str, Array]] = {}
    for kind in KINDS:
        some = kinds == kind
        of_kinds[kind] = {
            name: _resampled(losses.values[name][some], edits.rows[some], weights)
            for name in COLUMNS
            if name != PREDICTED
        }
    for name in COLUMNS[1:]:
        replicates[name] = (of_kinds[KINDS[0]][name] + of_kinds[KINDS[1]][name]) / 2
    return Row(
        space=space,
        sums={name: estimate(replicates[name]) for name in COLUMNS},
        kinds={
            kind: {name: estimate(drawn) for name, drawn in found.items()}
            for kind, found in of_kinds.items()
        },
        names=_by_name(losses),
        terms=losses.terms,
        latents=count,
        faces=losses.faces,
        edits=len(edits),
        edited_faces=losses.edited_faces,
        walked=float(np.median(losses.walked)),
        replicates={name: drawn[1:] for name, drawn in replicates.items()},
    )


def estimate(means: Array) -> Estimate:
    """The first of (1 + B,) means, with the interval of the others; NaN where there is none."""
    drawn = means[1:][np.isfinite(means[1:])]
    if not np.isfinite(means[0]) or len(drawn) < 2:
        return Estimate(float(means[0]))
    low, high = np.percentile(drawn, INTERVAL)
    return Estimate(float(means[0]), float(low), float(high))


def scaled(found: Estimate, terms: int) -> Estimate:
    """An estimate divided by a number."""
    return Estimate(found.value / terms, found.low / terms, found.high / terms)


def _resampled(values: Array, rows: NDArray[np.intp], weights: Array) -> Array:
    """(1 + B,) the mean of the finite values, then those of the resamples of the latents."""
    known = np.isfinite(values)
    count = weights.shape[1]
    sums = np.bincount(rows[known], values[known], count)
    many = np.bincount(rows[known], minlength=count).astype(np.float64)
    weights = np.concatenate([np.ones((1, count)), weights])
    below = weights @ many
    return np.divide(weights @ sums, below, out=np.full(len(weights), np.nan), where=below > 0)


def _by_name(losses: Losses) -> dict[str, dict[str, float]]:
    """Mean losses of each code that was edited alone, in the order of the codes."""
    names = np.array(losses.edits.names)
    found: dict[str, dict[str, float]] = {}
    for name in sorted(set(losses.edits.names) - {JOINT}, key=_place):
        some = names == name
        found[name] = {
            loss: _mean(losses.values[loss][some]) for loss in COLUMNS if loss != PREDICTED
        }
    return found


def _place(name: str) -> tuple[int, int]:
    """Angles first, then alpha_k by number."""
    if name in ANGLES:
        return -1, ANGLES.index(name)
    return 0, int(name.removeprefix("alpha_"))


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _faces(landmarks: Array) -> int:
    return int(np.isfinite(landmarks).all(axis=(1, 2)).sum())


def _squares(gaps: Array) -> Array:
    """Sum of squares of each row; NaN where one of its numbers is."""
    return (gaps.reshape(len(gaps), -1) ** 2).sum(axis=1)


def _centred(gaps: Array) -> Array:
    """(E, L, 2) gaps between landmarks, once the centroids lie on each other."""
    return gaps - gaps.mean(axis=1, keepdims=True)


def _distances(one: Array, other: Array, distance: Distance) -> Array:
    """(E,) between rows of descriptors; NaN where there are none."""
    if not one.shape[1]:
        return np.full(len(one), np.nan)
    if distance == "euclidean":
        return np.linalg.norm(one - other, axis=1)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return 1 - (one * other).sum(axis=1) / np.where(lengths > 0, lengths, np.nan)


def _check(trial: Trial) -> None:
    count, edits = len(trial.codes), len(trial.edits)
    base = {len(trial.codes), len(trial.landmarks), len(trial.descriptors)}
    edited = [trial.reached, trial.edited_landmarks, trial.edited_descriptors, trial.walked]
    if not count or base != {count} or {edits} != {len(part) for part in edited}:
        raise InputError(
            f"table: codes {trial.codes.shape}, landmarks {trial.landmarks.shape}, {edits} edits "
            f"and edited landmarks {trial.edited_landmarks.shape} do not pair up; expected one row "
            "a latent, and one an edit."
        )

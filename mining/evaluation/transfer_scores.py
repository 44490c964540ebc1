"""How well pose and expression go from one face to another: what lands, and what else moves.

    row = score("direction matrix", "latents", trial, reenacted)   # one method, N pairs
    row.joint, row.meets                                            # against BARS

Figures are told twice where the generator knows the truth: "measured", by extractors on the
images, and "true", by the generator's own parameters. The metrics CSIM, Pose, Exp and NME are
those of Bounareli, Argyriou & Tzimiropoulos (2022), arXiv:2202.00046, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.agreement import Estimate
from mining.evaluation.control_table import Distance, estimate
from mining.evaluation.face_distances import cosines, normalised_error, placed
from mining.evaluation.resampled import (
    average,
    correlation,
    drawn_weights,
    mean_of_rows,
    means,
    spread,
)
from schemas.errors import InputError

Array = NDArray[np.float64]
Kind = Literal["cross", "self"]  # target of another identity, or of the source's own

ANGLES = ("yaw", "pitch", "roll")
JAWS = ("jaw", "jaw_open")  # parameters that turn, and are no coefficients of expression
SAME = 0.6  # Euclidean distance of dlib's descriptors below which it takes two faces for one
BARS = {"pose": 3.0, "expression": 0.85, "moved": 0.15, "same": 0.9}  # what a transfer has to meet
RISING = frozenset({"expression", "same", "csim", "csim_target"})  # larger is better
PERSON = ("identity", "colour", "age")  # rows of W+ whose parameters tell who it is


@dataclass(frozen=True)
class Told:
    """What one view tells of N images; NaN where no face was found."""

    moving: Array  # (N, K) pose in degrees, then expression
    still: Array  # (N, M) what a transfer is to leave


@dataclass(frozen=True)
class Names:
    """Of the columns of `Told`."""

    moving: tuple[str, ...]  # K
    still: tuple[str, ...]  # M
    groups: tuple[str, ...] = ()  # M: what each of `still` belongs to; () means one group
    ranges: Array | None = None  # (K,) units that the paper's code rescales to 1; None: not known


@dataclass(frozen=True)
class Side:
    """N images: the sources, the targets, or those that were reenacted."""

    measured: Told
    landmarks: Array  # (N, 68, 2) fractions of the image
    descriptors: Array  # (N, E); E is 0 where nothing describes faces
    true: Told | None = None
    true_landmarks: Array | None = None  # (N, 68, 2)

    def __len__(self) -> int:
        return len(self.descriptors)


@dataclass(frozen=True)
class Trial:
    """N pairs, and how they are read."""

    kind: Kind
    source: Side
    target: Side
    measured: Names
    true: Names | None = None
    ideal: Side | None = None  # the sources with the targets' true pose and expression
    distance: Distance = "euclidean"
    threshold: float | None = SAME  # of the distance; None: nobody knows one


@dataclass(frozen=True)
class Row:
    """One method on N pairs."""

    label: str
    reading: str  # what told it the parameters: "latents", "images"; "" where nothing did
    kind: Kind
    views: Mapping[str, Mapping[str, Estimate]]  # "measured", "true" -> figure -> estimate
    identity: Mapping[str, Estimate]  # "csim", "csim_target", "same": by descriptors
    joint: Mapping[str, Estimate]  # view -> mean of the figures over their bars; 1 or less meets
    meets: Mapping[str, Mapping[str, bool]]  # view -> bar -> whether its figure does
    pairs: int
    faces: int  # of the reenacted images
    replicates: Mapping[str, Array]  # "true pose" ... -> (1+B,) the figure, then of the resamples

    @property
    def best_view(self) -> str:
        """The truth where it is known."""
        return "true" if "true" in self.views else "measured"


def score(
    label: str,
    reading: str,
    trial: Trial,
    reenacted: Side,
    resamples: int = 1000,
    seed: int = 0,
) -> Row:
    """All figures of one method, with 95 % percentile bootstrap intervals over the pairs.

    Of each view: `yaw`, `pitch`, `roll`, the mean distance |p_r - p_t| in degrees, and `pose`,
    their mean; `expression`, the mean over the parameters of expression of their correlations
    with the target's (`r NAME` each); `exp`, the mean of |p_r - p_t| over them in their own units,
    and `exp_ranged`, over them and the jaw in units of `Names.ranges`; `moved`, the mean of
    |q_r - q_s| over what is to stay, in standard deviations of the sources and targets together,
    and `moved GROUP`; `nme`, the mean distance of the 68 landmarks from the ideal image's, or the
    target's where there is none, over the square root of the area of the box about those, times
    1,000, and `nme_placed`, once they are shifted and scaled onto those. Of descriptors: `csim`,
    the cosine to the source's, `csim_target`, and `same`, the share of faces that are nearer than
    the threshold to the source's.

    `joint` is the mean of pose / 3 degrees, (1 - expression) / .15, moved / .15 and
    (1 - same) / .1, of those that are known: at 1 the bars are met on average, at less with room.

    Methods scored with the same seed on the same pairs are resampled alike.
    Source: Efron (1979), doi:10.1214/aos/1176344552.

    Raises:
        InputError: the sides are not of equally many images, or there are fewer than 2 pairs.
    """
    _check(trial, reenacted)
    count = len(reenacted)
    weights = drawn_weights("transfer", count, resamples, seed)
    identity = _identity(trial, reenacted, weights)
    views = {"measured": _measured(trial, reenacted, weights)}
    if trial.true is not None and reenacted.true is not None:
        views["true"] = _true(trial, reenacted, weights)
    joint = {view: _joint({**found, **identity}) for view, found in views.items()}
    return Row(
        label=label,
        reading=reading,
        kind=trial.kind,
        views={view: _estimates(found) for view, found in views.items()},
        identity=_estimates(identity),
        joint={view: estimate(found) for view, found in joint.items()},
        meets={view: _meets({**found, **identity}) for view, found in views.items()},
        pairs=count,
        faces=int(np.isfinite(reenacted.landmarks).all(axis=(1, 2)).sum()),
        replicates={
            **{f"{view} {name}": a for view, found in views.items() for name, a in found.items()},
            **{f"{view} joint": found for view, found in joint.items()},
            **identity,
        },
    )


def angles_of(names: Sequence[str]) -> list[int]:
    """Places of the angles of pose."""
    return [k for k, name in enumerate(names) if name in ANGLES]


def expressions_of(names: Sequence[str]) -> list[int]:
    """Places of the parameters of expression."""
    return [k for k, name in enumerate(names) if name not in (*ANGLES, *JAWS)]


def share_same(trial: Trial, one: Array, other: Array, weights: Array) -> Array:
    """(1+B,) the share of pairs of descriptors that are nearer than the threshold."""
    if trial.threshold is None or not one.shape[1]:
        return np.full(len(weights), np.nan)
    apart = np.linalg.norm(one - other, axis=1)
    if trial.distance == "cosine":
        apart = 1 - cosines(one, other)
    return means(np.where(np.isfinite(apart), apart < trial.threshold, np.nan), weights)


def _measured(trial: Trial, side: Side, weights: Array) -> dict[str, Array]:
    sides = (trial.source.measured, trial.target.measured, side.measured)
    found = _view(trial.measured, *sides, weights)
    wanted = (trial.ideal or trial.target).landmarks
    return {**found, **_errors(side.landmarks, wanted, weights)}


def _true(trial: Trial, side: Side, weights: Array) -> dict[str, Array]:
    source, target = trial.source, trial.target
    if trial.true is None or source.true is None or target.true is None or side.true is None:
        raise InputError("transfer: the truth is known of some sides alone; expected all or none.")
    found = _view(trial.true, source.true, target.true, side.true, weights)
    wanted = (trial.ideal or target).true_landmarks
    if wanted is None or side.true_landmarks is None:
        return found
    return {**found, **_errors(side.true_landmarks, wanted, weights)}


def _errors(found: Array, wanted: Array, weights: Array) -> dict[str, Array]:
    return {
        "nme": means(normalised_error(found, wanted), weights),
        "nme_placed": means(normalised_error(placed(found, wanted), wanted), weights),
    }


def _view(
    names: Names, source: Told, target: Told, reenacted: Told, weights: Array
) -> dict[str, Array]:
    """Figure -> (1+B,) of one view."""
    missed = np.abs(reenacted.moving - target.moving)
    angles, faces = angles_of(names.moving), expressions_of(names.moving)
    found = {names.moving[k]: means(missed[:, k], weights) for k in angles}
    found["pose"] = average(list(found.values()), weights)
    each = {
        f"r {names.moving[k]}": correlation(reenacted.moving[:, k], target.moving[:, k], weights)
        for k in faces
    }
    found["expression"] = average(list(each.values()), weights)
    found["exp"] = mean_of_rows(missed[:, faces], weights)
    if names.ranges is not None:
        ranged = [k for k in range(len(names.moving)) if k not in angles]
        found["exp_ranged"] = mean_of_rows(missed[:, ranged] / names.ranges[ranged], weights)
    return {**found, **_moved(names, source, target, reenacted, weights), **each}


def _moved(
    names: Names, source: Told, target: Told, reenacted: Told, weights: Array
) -> dict[str, Array]:
    """How far what is to stay has gone, in spreads of the population; what never varies aside."""
    spreads = spread(np.concatenate([source.still, target.still]))
    varies = np.isfinite(spreads)
    moved = np.abs(reenacted.still - source.still)[:, varies] / spreads[varies]
    groups = np.array(names.groups or ("",) * len(names.still))[varies]
    person = np.isin(groups, PERSON)
    found = {"moved": mean_of_rows(moved[:, person if person.any() else ...], weights)}
    for group in dict.fromkeys(names.groups):
        found[f"moved {group}"] = mean_of_rows(moved[:, groups == group], weights)
    return found


def _identity(trial: Trial, side: Side, weights: Array) -> dict[str, Array]:
    source, target, mine = (s.descriptors for s in (trial.source, trial.target, side))
    return {
        "csim": means(cosines(source, mine), weights),
        "csim_target": means(cosines(target, mine), weights),
        "same": share_same(trial, source, mine, weights),
    }


def _joint(found: Mapping[str, Array]) -> Array:
    """(1+B,) the mean of what is known over its bar."""
    parts = []
    for name, bar in BARS.items():
        values = (1 - found[name]) / (1 - bar) if name in RISING else found[name] / bar
        if np.isfinite(values[0]):
            parts.append(values)
    return np.mean(parts, axis=0) if parts else np.full(len(found["pose"]), np.nan)


def _meets(found: Mapping[str, Array]) -> dict[str, bool]:
    """Bar -> whether it is met; that of pose by every angle. What is not known is left out."""
    told = {name: float(found[name][0]) for name in BARS}
    angles = [float(found[name][0]) for name in ANGLES if name in found]
    told["pose"] = max(angles) if angles else np.nan
    return {
        name: told[name] >= bar if name in RISING else told[name] <= bar
        for name, bar in BARS.items()
        if np.isfinite(told[name])
    }


def _estimates(found: Mapping[str, Array]) -> dict[str, Estimate]:
    return {name: estimate(values) for name, values in found.items()}


def _check(trial: Trial, reenacted: Side) -> None:
    count = len(reenacted)
    sides = [trial.source, trial.target, *([] if trial.ideal is None else [trial.ideal])]
    told = [each for side in (*sides, reenacted) for each in (side.measured, side.true) if each]
    rows = {len(side) for side in sides} | {len(each.moving) for each in told}
    rows |= {len(side.landmarks) for side in (*sides, reenacted)}
    if rows != {count} or count < 2:
        raise InputError(
            f"transfer: {len(trial.source)} sources, {len(trial.target)} targets and {count} "
            "reenacted images do not pair up; expected 2 pairs or more."
        )
    wide = (len(trial.measured.moving), len(trial.measured.still))
    for side in (*sides, reenacted):
        if (side.measured.moving.shape[1], side.measured.still.shape[1]) != wide:
            raise InputError(
                f"transfer: {side.measured.moving.shape[1]} parameters and "
                f"{side.measured.still.shape[1]} others came for {wide[0]} and {wide[1]} names."
            )

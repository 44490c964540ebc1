"""Edits of many directions on the same images: what moves, what leaks, what identity pays.

scores = compare_edits(edited, attributes, units, spreads)
scores.rows         # one a direction: every attribute's change with its interval
scores.methods      # one a method: diagonality, leak, identity by attribute
scores.orderings    # whether methods keep identity in the order that the paper has them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.agreement import UNKNOWN, Estimate
from mining.evaluation.control_table import estimate
from mining.evaluation.edit_orderings import Ordering, paper_orderings
from mining.evaluation.quantities import meanings
from mining.evaluation.response import resample_counts, resampled_means
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Edited:
    """M images edited once along one direction."""

    direction_id: str
    name: str  # short and unique
    method: str
    attribute: str  # what the direction is judged by; "" where nothing measured is its own
    step: float  # steps of norm 1
    sigma: float  # of the dataset's latents along it
    changes: Array  # (M, A) edited minus unedited, in the attributes' units; NaN without a face
    identity: Array  # (M,) 1 - cosine of the descriptors before and after; NaN without them
    ranked: bool = True  # of a method's directions mined for nothing only one stands for each
    aimed: bool = True  # False where mined for nothing, or at random: see `Scores.shared`


@dataclass(frozen=True)
class ScoredRow:
    """One direction: means over the images, with 95 % intervals."""

    direction_id: str
    name: str
    method: str
    attribute: str
    step: float
    sigma: float
    ranked: bool
    measured: int  # images that an attribute was measured on before and after
    raw: tuple[Estimate, ...]  # A, in the attributes' units
    relative: tuple[Estimate, ...]  # A, in population spreads
    own: Estimate  # of its own attribute, in spreads
    leak: Estimate  # root mean square of the others over the own one, in spreads
    moves_own_most: bool | None  # None: there is no own value, or none to compare it with
    moves_most: str  # the attribute that moves most, in spreads; "" where none is known
    identity: Estimate


@dataclass(frozen=True)
class MethodScores:
    """One method over its ranked directions."""

    method: str
    directions: int
    diagonality: Estimate  # share of its directions that move their own attribute most
    judged: int  # directions behind that
    leak: Estimate  # median over its directions
    identity: Mapping[str, Estimate]  # by attribute; the mean where it has several directions of it
    shared_identity: Estimate  # mean over `Scores.shared`; NaN where it lacks one of them


@dataclass(frozen=True)
class Scores:
    """All directions at one kind of edit."""

    attributes: tuple[str, ...]  # A
    units: tuple[str, ...]  # A
    spreads: tuple[float, ...]  # A, NaN where there is none to measure by
    shared: tuple[str, ...]  # attributes that all methods which were aimed have an identity for
    rows: tuple[ScoredRow, ...]
    methods: tuple[MethodScores, ...]  # the one that keeps identity best first
    orderings: tuple[Ordering, ...]  # in identity, the paper's beside ours


@dataclass(frozen=True)
class _Draws:
    """A direction's numbers over all images, then over B resamples of them."""

    hits: Array  # (1+B,) 1 where its own attribute moves most; NaN where that is not judged
    leak: Array  # (1+B,)
    identity: Array  # (1+B,)


def compare_edits(
    edited: Sequence[Edited],
    attributes: Sequence[str],
    units: Sequence[str],
    spreads: Sequence[float],
    resamples: int = 500,
    seed: int = 0,
) -> Scores:
    """Means, intervals, diagonality and identity of directions that edited the same M images.

    Intervals are percentiles of bootstrap means over images, the same draws for all directions, so
    differences between methods are those on the same faces.
    Source: re-scoring: Shen et al. (2020), arXiv:2005.09635, section 4; identity: Wu, Jiang et al.
    (2022), arXiv:2204.12696, Fig. 6 and Table 1; bootstrap: Efron (1979),
    doi:10.1214/aos/1176344552.

    Args:
        attributes, units, spreads: (A,) of the columns of `Edited.changes`.

    Raises:
        InputError: nothing came, or the numbers of images or attributes differ.
    """
    shapes = {one.changes.shape for one in edited} | {(*one.identity.shape, -1) for one in edited}
    images = {shape[0] for shape in shapes}
    if len(images) != 1 or {shape[1] for shape in shapes} - {-1} != {len(attributes)}:
        raise InputError(
            f"compare_edits: changes and identities of {sorted(shapes)} came for "
            f"{len(attributes)} attributes; expected (M, A) and (M,) of the same images."
        )
    count = images.pop()
    weights = np.vstack([np.ones((1, count)), resample_counts(count, resamples, seed)])
    told = list(meanings(attributes).values())
    same = np.array([[bool(one & two) for two in told] for one in told], bool)
    same = same.reshape(len(told), len(told))
    size = np.array([spread if spread > 0 else np.nan for spread in spreads], np.float64)
    rows, draws = [], []
    for one in edited:
        own = attributes.index(one.attribute) if one.attribute in attributes else -1
        row, drawn = _scored(one, own, weights, size, same, attributes)
        rows.append(row)
        draws.append(drawn)
    ranked = [k for k, row in enumerate(rows) if row.ranked and row.attribute]
    identity = _identity_by_method([(rows[k], draws[k]) for k in ranked])
    aimed = {rows[k].method for k in ranked if edited[k].aimed}
    shared = _shared([cells for method, cells in identity.items() if method in aimed])
    methods = [_method(m, rows, draws, identity, shared) for m in dict.fromkeys(identity)]
    methods.sort(key=lambda m: (np.isnan(m.shared_identity.value), m.shared_identity.value))
    return Scores(
        tuple(attributes),
        tuple(units),
        tuple(float(s) for s in size),
        shared,
        tuple(rows),
        tuple(methods),
        tuple(paper_orderings(identity)),
    )


def _scored(
    one: Edited,
    own: int,
    weights: Array,
    spreads: Array,
    same: NDArray[np.bool_],
    names: Sequence[str],
) -> tuple[ScoredRow, _Draws]:
    means = _alone_without_interval(resampled_means(one.changes, weights), one.changes)
    relative = means / spreads
    faces = one.identity[:, None]
    identity = _alone_without_interval(resampled_means(faces, weights), faces)[:, 0]
    mine = relative[:, own] if own >= 0 else np.full(len(relative), np.nan)
    rivals = relative[:, ~same[own]] if own >= 0 else relative[:, :0]
    others = np.delete(relative, own, axis=1) if own >= 0 else relative[:, :0]
    hits = _own_most(mine, rivals)
    moved = np.nan_to_num(np.abs(relative[0]))
    leak = _root_mean_square(others) / np.where(mine == 0, np.nan, np.abs(mine))
    row = ScoredRow(
        direction_id=one.direction_id,
        name=one.name,
        method=one.method,
        attribute=one.attribute if own >= 0 else "",
        step=one.step,
        sigma=one.sigma,
        ranked=one.ranked,
        measured=int(np.isfinite(one.changes).any(axis=1).sum()),
        raw=tuple(estimate(column) for column in means.T),
        relative=tuple(estimate(column) for column in relative.T),
        own=estimate(mine),
        leak=estimate(leak),
        moves_own_most=None if np.isnan(hits[0]) else bool(hits[0]),
        moves_most=names[int(moved.argmax())] if moved.any() else "",
        identity=estimate(identity),
    )
    return row, _Draws(hits, leak, identity)


def _alone_without_interval(means: Array, values: Array) -> Array:
    """Resamples of a column with fewer than two values say nothing: NaN in their place."""
    few = np.isfinite(values).sum(axis=0) < 2
    means[1:, few] = np.nan
    return means


def _own_most(mine: Array, rivals: Array) -> Array:
    """(1+B,) whether |mine| is at least the largest |rival|; NaN without either."""
    known = np.isfinite(rivals)
    largest = np.where(known, np.abs(rivals), -np.inf).max(axis=1, initial=-np.inf)
    judged = np.isfinite(mine) & np.isfinite(largest)
    return np.where(judged, np.abs(mine) >= largest, np.nan)


def _root_mean_square(values: Array) -> Array:
    """Of every row's finite values; NaN where there is none."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.square(np.where(known, values, 0.0)).sum(axis=1)
    mean = np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
    return np.sqrt(mean)


def _identity_by_method(
    ranked: Sequence[tuple[ScoredRow, _Draws]],
) -> dict[str, dict[str, Array]]:
    """Method -> attribute -> (1+B,) change of identity, the mean over its directions."""
    found: dict[str, dict[str, list[Array]]] = {}
    for row, draws in ranked:
        found.setdefault(row.method, {}).setdefault(row.attribute, []).append(draws.identity)
    return {
        method: {name: np.mean(some, axis=0) for name, some in cells.items()}
        for method, cells in found.items()
    }


def _shared(methods: Sequence[Mapping[str, Array]]) -> tuple[str, ...]:
    """The attributes of which every method has a change of identity, in the first one's order."""
    known = [{name for name, draws in cells.items() if np.isfinite(draws[0])} for cells in methods]
    return (
        tuple(name for name in methods[0] if all(name in some for some in known)) if known else ()
    )


def _method(
    method: str,
    rows: Sequence[ScoredRow],
    draws: Sequence[_Draws],
    identity: Mapping[str, Mapping[str, Array]],
    shared: Sequence[str],
) -> MethodScores:
    mine = [d for row, d in zip(rows, draws, strict=True) if row.method == method and row.ranked]
    cells = identity[method]
    diagonality, judged = _diagonality(mine)
    leaks = [d.leak for d in mine if np.isfinite(d.leak[0])]
    return MethodScores(
        method,
        len(mine),
        diagonality,
        judged,
        estimate(np.median(leaks, axis=0)) if leaks else UNKNOWN,
        {name: estimate(some) for name, some in cells.items()},
        _shared_mean(cells, shared),
    )


def _shared_mean(cells: Mapping[str, Array], shared: Sequence[str]) -> Estimate:
    if not shared or not set(shared) <= set(cells):
        return UNKNOWN
    return estimate(np.mean([cells[name] for name in shared], axis=0))


def _diagonality(draws: Sequence[_Draws]) -> tuple[Estimate, int]:
    """Share of the judged directions that move their own attribute most, and how many they are."""
    hits = [one.hits for one in draws if np.isfinite(one.hits[0])]
    return (estimate(np.mean(hits, axis=0)) if hits else UNKNOWN), len(hits)

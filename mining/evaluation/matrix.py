"""The re-scoring matrix over many directions, and the leaderboard against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.quantities import meanings
from schemas.directions import DirectionCard

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RescoringMatrix:
    """R directions against A attributes."""

    names: tuple[str, ...]  # R, unique
    attributes: tuple[str, ...]  # A, in order of first appearance
    units: tuple[str, ...]  # A
    own: tuple[int, ...]  # R, the column of a direction's own attribute; -1 where unmeasured
    raw: Array  # (R, A) attribute's unit per unit step; NaN where unmeasured
    relative: Array  # (R, A) population spreads per unit step
    diagonality: float  # share of directions whose own quantity moves most, in spreads
    judged: int  # directions behind that share: own quantity and another one measured
    spreadless: tuple[str, ...]  # attributes that moved and have no spread to count that in


@dataclass(frozen=True)
class Leaderboard:
    """Methods against attributes: the cosine to the true direction."""

    methods: tuple[str, ...]  # best mean cosine first
    attributes: tuple[str, ...]
    cosines: Array  # (methods, attributes) NaN where a method has no such direction
    means: Array  # (methods,) over what each method has


def direction_names(cards: Sequence[DirectionCard]) -> tuple[str, ...]:
    """A short unique name per card: attribute and method, then space and id where needed."""

    def attempt(card: DirectionCard, parts: int) -> str:
        said = (card.attribute, card.method, card.space, card.direction_id[:8])
        return " · ".join(said[:parts])

    names = [attempt(card, 2) for card in cards]
    for parts in (3, 4):
        taken = Counter(names)
        names = [
            attempt(card, parts) if taken[name] > 1 else name
            for card, name in zip(cards, names, strict=True)
        ]
    return tuple(names)


def rescoring_matrix(cards: Sequence[DirectionCard]) -> RescoringMatrix:
    """Stack the responses of many directions into one matrix.

    raw[r, a] is the change of attribute a for a unit step along direction r;
    relative[r, a] = raw[r, a] / spread[a] makes attributes of different units comparable.
    Source: Shen et al. (2020), arXiv:2005.09635, section 4.
    """
    units: dict[str, str] = {}
    for card in cards:
        for response in card.responses:
            units.setdefault(response.attribute, response.unit)
    attributes = tuple(units)
    raw = np.full((len(cards), len(attributes)), np.nan)
    relative = raw.copy()
    for row, card in enumerate(cards):
        for response in card.responses:
            column = attributes.index(response.attribute)
            raw[row, column] = response.per_step
            relative[row, column] = response.relative
    own = tuple(
        attributes.index(card.attribute) if card.attribute in units else -1 for card in cards
    )
    told = list(meanings(attributes).values())
    same = np.array([[bool(one & two) for two in told] for one in told], bool)
    share, judged = diagonality(relative, own, same.reshape(len(told), len(told)))
    lost = np.isfinite(raw).any(axis=0) & ~np.isfinite(relative).any(axis=0)
    spreadless = tuple(attributes[column] for column in np.flatnonzero(lost))
    names = direction_names(cards)
    both = tuple(units.values()), own
    return RescoringMatrix(names, attributes, *both, raw, relative, share, judged, spreadless)


def diagonality(relative: Array, own: Sequence[int], same: NDArray[np.bool_]) -> tuple[float, int]:
    """Share of rows whose own column is the largest in absolute value, and the rows judged.

    Columns of the own quantity are no rivals: jaw_open moves with mouth_open, and should. Rows
    without a finite own value, or with no rival's finite value to beat, are not judged.

    Args:
        relative: (R, A) in population spreads, so that columns compare.
        own: R column numbers, -1 for none.
        same: (A, A) whether two columns tell of one quantity.
    """
    hits = judged = 0
    for row, column in zip(np.abs(relative), own, strict=True):
        if column < 0 or not np.isfinite(row[column]):
            continue
        rivals = row[~same[column] & np.isfinite(row)]
        if len(rivals):
            judged += 1
            hits += int(row[column] >= rivals.max())
    return (hits / judged if judged else float("nan")), judged


def truth_leaderboard(cards: Sequence[DirectionCard]) -> Leaderboard | None:
    """Every method's cosine to the truth per attribute; None where no card knows the truth.

    Where a method has several directions of one attribute, their mean stands.
    """
    known = [
        (card.method, card.attribute, card.truth_cosine)
        for card in cards
        if card.truth_cosine is not None and np.isfinite(card.truth_cosine)
    ]
    if not known:
        return None
    methods = tuple(dict.fromkeys(method for method, _, _ in known))
    attributes = tuple(dict.fromkeys(attribute for _, attribute, _ in known))
    sums = np.zeros((len(methods), len(attributes)))
    counts = np.zeros_like(sums)
    for method, attribute, cosine in known:
        cell = methods.index(method), attributes.index(attribute)
        sums[cell] += cosine
        counts[cell] += 1
    cosines = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    means = np.nanmean(cosines, axis=1)  # every method has at least one attribute
    order = np.argsort(-means, kind="stable")
    return Leaderboard(tuple(methods[k] for k in order), attributes, cosines[order], means[order])

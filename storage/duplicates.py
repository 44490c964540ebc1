"""Near-duplicates: directions of one generator and space that are all but the same.

Two directions are near-duplicates where |cosine| exceeds a limit: the opposite direction is the
same edit backwards. They are pointed out, never refused: two datasets may well give one direction.
Cards with an artefact have no vector and stand aside.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

    from schemas.directions import DirectionCard

LIMIT = 0.995  # |cosine|: 5.7 degrees
MOST = 10_000  # pairs that are listed

_BLOCK = 1024  # rows of one matrix product
_FEW = 256  # dimensions up to which a first look at fewer does not pay
_SHARE = 8  # the first look takes one dimension in so many

_ROUNDING = 1e-4  # of float32 sums

Group = tuple[str, str, tuple[int, ...]]  # generator fingerprint, space, shape
Places = NDArray[np.int64]
Found = tuple[Places, Places, NDArray[np.float32]]  # rows, rows, cosines


class Duplicate(NamedTuple):
    """A pair of directions that are all but the same."""

    direction_id: str
    other: str
    cosine: float


@dataclass(frozen=True)
class Duplicates:
    """The near-duplicates among many directions."""

    pairs: tuple[Duplicate, ...]  # the nearest first, MOST at most
    count: int  # of all such pairs
    limit: float


def of_new(
    cards: Sequence[DirectionCard], rows: pa.Table, limit: float = LIMIT
) -> tuple[Duplicate, ...]:
    """What each new card all but repeats: of those there, and of the new ones before it.

    Args:
        cards: about to be published, each once.
        rows: the newest version of every lineage: direction_id, generator_fingerprint, space,
            shape and vector of `card_table.SCHEMA`.
        limit: of |cosine|, beyond which two are near-duplicates.

    Returns:
        Pairs (new, other) in the order of the cards, for each card the nearest first; MOST of
        them at most.
    """
    there, new = _groups(rows), defaultdict(list)
    for card in cards:
        if not card.vector.size:
            continue
        new[(card.generator_fingerprint, card.space, card.vector.shape)].append(card)
    found: list[Duplicate] = []
    for group, members in new.items():
        ids = [card.direction_id for card in members]
        known, others = _vectors(rows, there.get(group, []), math.prod(group[2]))
        units = _units(np.stack([card.vector.ravel() for card in members]))
        named, against = [*known, *ids], np.concatenate([others, units])
        for i, j, cosine in _top(_pairs(units, against, len(known), limit), MOST)[0]:
            if named[j] != ids[i]:  # the same direction, measured again
                found.append(Duplicate(ids[i], named[j], cosine))
    order = {card.direction_id: place for place, card in enumerate(cards)}
    found.sort(key=lambda pair: (order[pair.direction_id], -abs(pair.cosine), pair.other))
    return tuple(found[:MOST])


def within(rows: pa.Table, limit: float = LIMIT, most: int = MOST) -> Duplicates:
    """The near-duplicates among the rows, which are as for `of_new` and hold each id once."""
    pairs: list[Duplicate] = []
    total = 0
    for group, places in _groups(rows).items():
        ids, units = _vectors(rows, places, math.prod(group[2]))
        top, count = _top(_among(units, limit), most)
        pairs += [Duplicate(ids[i], ids[j], cosine) for i, j, cosine in top]
        total += count
    pairs.sort(key=lambda pair: (-abs(pair.cosine), pair.direction_id, pair.other))
    return Duplicates(tuple(pairs[:most]), total, limit)


def _groups(rows: pa.Table) -> dict[Group, list[int]]:
    """The places of the rows of each group, those without a vector left out."""
    names = ("generator_fingerprint", "space", "shape")
    found: defaultdict[Group, list[int]] = defaultdict(list)
    for place, (fingerprint, space, shape) in enumerate(
        zip(*(rows[name].to_pylist() for name in names), strict=True)
    ):
        if math.prod(shape):
            found[(fingerprint, space, tuple(shape))].append(place)
    return found


def _vectors(
    rows: pa.Table, places: Sequence[int], width: int
) -> tuple[list[str], NDArray[np.float32]]:
    """The ids of some rows, and their vectors (rows, width), of norm 1."""
    import pyarrow as pa

    taken = rows.select(["direction_id", "vector"]).take(pa.array(places, pa.int64()))
    flat = taken["vector"].combine_chunks().flatten().to_numpy()
    return taken["direction_id"].to_pylist(), _units(flat.reshape(len(places), width))


def _units(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)


def _pairs(
    units: NDArray[np.float32], against: NDArray[np.float32], before: int, limit: float
) -> Iterator[Found]:
    """Pairs (i, j) of a row of `units` and one of `against`, j < before + i, in blocks."""
    for start in range(0, len(units), _BLOCK):
        block = units[start : start + _BLOCK]
        for other in range(0, min(len(against), before + start + len(block)), _BLOCK):
            cosines = block @ against[other : other + _BLOCK].T
            i, j = np.nonzero(np.abs(cosines) > limit)
            kept = j + other < before + i + start
            yield i[kept] + start, j[kept] + other, cosines[i[kept], j[kept]]


def _among(units: NDArray[np.float32], limit: float) -> Iterator[Found]:
    """Pairs (i, j), j < i, in blocks; most of the work is a product of few dimensions.

    With P a projection on k orthonormal directions, a.b = Pa.Pb + (a - Pa).(b - Pb), whose last
    term is at most |a - Pa| |b - Pb| (Cauchy and Schwarz). Where Pa.Pb does not reach what that
    leaves of the limit, no product of all dimensions can exceed it.
    """
    from threadpoolctl import threadpool_limits

    width = units.shape[1]
    if width <= _FEW:
        yield from _pairs(units, units, 0, limit)
        return
    random = np.random.default_rng(0).normal(size=(width, width // _SHARE))
    basis = np.linalg.qr(random)[0].astype(np.float32)
    low = units @ basis
    left = np.sqrt(np.maximum(1 - np.einsum("ij,ij->i", low, low), 0))
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        starts = range(0, len(units), _BLOCK)
        for found in pool.map(lambda start: _row(units, low, left, start, limit), starts):
            yield from found


def _row(
    units: NDArray[np.float32],
    low: NDArray[np.float32],
    left: NDArray[np.float32],
    start: int,
    limit: float,
) -> list[Found]:
    """What a block of rows all but repeats of itself and of those before it; `_among` says how."""
    found: list[Found] = []
    for other in range(0, start + 1, _BLOCK):
        a, b = slice(start, start + _BLOCK), slice(other, other + _BLOCK)
        needed = limit - left[a].max() * left[b].max() - _ROUNDING
        looked = low[a] @ low[b].T
        if max(looked.max(), -looked.min()) > needed:
            i, j = np.nonzero(np.abs(looked) > needed)
            found += _exact(units, i + start, j + other, limit)
    return found


def _exact(units: NDArray[np.float32], i: Places, j: Places, limit: float) -> Iterator[Found]:
    """Those of the pairs (i, j), j < i, that exceed the limit."""
    i, j = i[j < i], j[j < i]
    for at in range(0, len(i), _BLOCK):
        some, others = i[at : at + _BLOCK], j[at : at + _BLOCK]
        cosines = np.einsum("ij,ij->i", units[some], units[others])
        kept = np.abs(cosines) > limit
        yield some[kept], others[kept], cosines[kept]


def _top(found: Iterable[Found], most: int) -> tuple[list[tuple[int, int, float]], int]:
    """The nearest pairs of all blocks, and how many pairs there are."""
    i, j, cosines = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    count = 0
    for more_i, more_j, more in found:
        if not len(more):
            continue
        count += len(more)
        i, j = np.concatenate([i, more_i]), np.concatenate([j, more_j])
        cosines = np.concatenate([cosines, more])
        if len(cosines) > most:
            kept = np.argsort(-np.abs(cosines), kind="stable")[:most]
            i, j, cosines = i[kept], j[kept], cosines[kept]
    inside = np.clip(cosines, -1, 1).tolist()  # rounding leaves it
    return list(zip(i.tolist(), j.tolist(), inside, strict=True)), count

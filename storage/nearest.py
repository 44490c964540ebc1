"""The directions nearest to one, by the cosine, within one generator and space."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import ArrayLike, NDArray

from schemas.directions import DirectionCard
from schemas.errors import InputError
from storage.card_table import SCHEMA
from storage.lineages import codes, made_by
from storage.snapshots import State
from storage.vectors import Matrix

_NAMED = pa.schema(
    [
        *(SCHEMA.field(n) for n in ("direction_id", "generator_fingerprint", "space", "shape")),
        pa.field("vector", pa.large_list(pa.float32())),
    ]
)

pc: Any = pyarrow.compute  # whose functions pyright does not see


class Group(NamedTuple):
    """Vectors that can be compared."""

    fingerprint: str  # of the generator
    space: str
    shape: tuple[int, ...]  # (D,) or (num_ws, D)


@dataclass(frozen=True)
class Near:
    """Rows of a state and their cosines to what was asked for, the nearest first."""

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]  # signed


def neighbours(
    state: State,
    to: DirectionCard | ArrayLike,
    k: int,
    space: str | None = None,
    fingerprint: str | None = None,
    absolute: bool = False,
    all_versions: bool = False,
) -> Near:
    """As `Catalog.nearest`, which explains the arguments."""
    if k < 1:
        raise InputError(f"nearest: k {k} came; expected 1 or more.")
    kept = np.ones(len(state), bool) if all_versions else state.latest
    if isinstance(to, DirectionCard):
        group = group_of_card(to)
        itself = pc.equal(state.rows["direction_id"], to.direction_id).to_numpy()
        found = nearest(state, to.vector, group, kept & ~itself, absolute)
    else:
        vector = _array(to)
        group = group_of(state, vector.shape, space, fingerprint)
        found = nearest(state, vector, group, kept, absolute)
    return Near(found.rows[:k], found.cosines[:k])


def nearest(
    state: State,
    vector: NDArray[np.floating],
    group: Group,
    kept: NDArray[np.bool_],
    absolute: bool,
) -> Near:
    """The rows of the group by cos = a.b / (|a| |b|), largest first, as the vectors are stored.

    Args:
        state: the cards.
        vector: of the group's shape.
        group: one of `groups`; none that is there has no rows.
        kept: (N,) rows of the state that may be found.
        absolute: whether the largest |cos| comes first: an edit backwards is as near.

    Raises:
        InputError: the vector is zero or not finite.
        StorageError: the vectors cannot be read.
    """
    flat = np.asarray(vector, np.float64).ravel()
    norm = float(np.linalg.norm(flat))
    if not 0 < norm < np.inf:
        raise InputError(f"nearest: the vector has norm {norm:g}; expected a finite direction.")
    rows = groups(state).get(group, np.empty(0, np.int64))
    known = matrix(state, group)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosines = (known.values @ (flat / norm).astype(np.float32)) / known.norms
    allowed = kept[rows] & np.isfinite(cosines)
    rows, cosines = rows[allowed], np.clip(cosines[allowed], -1, 1)
    order = np.argsort(-(np.abs(cosines) if absolute else cosines), kind="stable")
    return Near(rows[order], cosines[order])


def matrix(state: State, group: Group) -> Matrix:
    """The vectors of a group's rows, in the order of `groups`."""
    rows = groups(state).get(group, np.empty(0, np.int64))

    def keys(have: int) -> pa.Table:
        names = ["publication_id", "position", "direction_id"]
        return state.rows.select(names).take(pa.array(rows[have:]))

    same = {"generator_fingerprint": group.fingerprint, "space": group.space}
    return state.vectors.matrix(group, len(rows), keys, math.prod(group.shape), **same)


def with_vectors(state: State, wanted: Iterable[Group]) -> pa.Table:
    """The newest versions of these groups: what makes a group, direction_id and vector."""
    parts = [_NAMED.empty_table()]
    for group in wanted:
        rows = groups(state).get(group, np.empty(0, np.int64))
        newest = state.latest[rows]
        values = matrix(state, group).values[newest]
        starts = np.arange(len(values) + 1) * math.prod(group.shape)
        vectors = pa.LargeListArray.from_arrays(starts, values.ravel())
        named = state.rows.select(_NAMED.names[:-1]).take(pa.array(rows[newest]))
        parts.append(named.append_column(_NAMED.field("vector"), vectors))
    return pa.concat_tables(parts)


def groups(state: State) -> dict[Group, NDArray[np.int64]]:
    """The rows of each group in the order of commits; artefacts have no vector and are in none."""
    if "groups" not in state.memo:
        state.memo["groups"] = _groups(state.rows)
    return state.memo["groups"]


def group_of(
    state: State, shape: tuple[int, ...], space: str | None, fingerprint: str | None
) -> Group:
    """The only group with this shape that matches; fingerprint: a generator's name, or digits.

    Raises:
        InputError: there is none, or more than one.
    """
    known = groups(state)
    found = [group for group in known if group.shape == shape]
    if space is not None:
        found = [group for group in found if group.space == space.lower()]
    if fingerprint is not None:
        made = made_by(state.rows, fingerprint)
        found = [group for group in found if made[known[group][0]]]
    if len(found) == 1:
        return found[0]
    shown = sorted({f"{g.fingerprint[:12]} {g.space} {g.shape}" for g in found or known})
    raise InputError(
        f"nearest: a vector of shape {shape} in space {space or 'any'} of generator "
        f"{fingerprint or 'any'} fits {len(found)} of the catalogue's; expected one. "
        f"{'It has' if not found else 'Name one of'}: {', '.join(shown[:10]) or 'no vectors'}."
    )


def group_of_card(card: DirectionCard) -> Group:
    """The group of a card.

    Raises:
        InputError: it stands for an artefact and has no vector.
    """
    if card.artefact is not None or not card.vector.size:
        raise InputError(
            f"nearest: {card.attribute!r} by {card.method!r} is an artefact and no vector; "
            "expected a direction."
        )
    return Group(card.generator_fingerprint, card.space, card.vector.shape)


def _array(vector: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(vector, np.float64)
    except (TypeError, ValueError) as error:
        said = f"{type(vector).__name__}: {error}"
        raise InputError(f"nearest: a card, an id or an array of numbers; not {said}.") from None


def _groups(rows: pa.Table) -> dict[Group, NDArray[np.int64]]:
    shapes = rows["shape"].combine_chunks()
    axes = pc.list_value_length(shapes).to_numpy()
    flat = np.append(shapes.flatten().to_numpy(), [0, 0])  # so that every row may look two ahead
    starts = np.cumsum(axes) - axes
    first, second = flat[starts], np.where(axes == 2, flat[starts + 1], 0)
    found = codes(rows, ("generator_fingerprint", "space"))
    for each in (axes, first, second):
        _, found = np.unique(found * (int(each.max(initial=0)) + 1) + each, return_inverse=True)
    order = np.argsort(found, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(found[order])) + 1)
    groups_ = {}
    for part in parts:
        if len(part) and 1 <= axes[part[0]] <= 2 and min(first[part[0]], second[part[0]] + 1) > 0:
            head = rows.slice(part[0], 1).select(["generator_fingerprint", "space", "shape"])
            fingerprint, space, shape = head.to_pylist()[0].values()
            groups_[Group(fingerprint, space, tuple(shape))] = part
    return groups_

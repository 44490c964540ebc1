"""Finds cards by conditions over the catalogue's columns and over what their attributes do.

Names in an expression (`schemas.expressions` has the grammar):

- every scalar column of `card_table.SCHEMA` and `lineages.DERIVED`, as `leak`, `method`, `version`;
  `created_at` is a text, 2026-11-20T09:30:00.000000, and `truth` stands for `truth_cosine`;
- an attribute, as `smile`: the population spreads that one natural step (of sigma; of 1 where
  sigma was not measured) moves it, relative * sigma;
- an attribute and the word leak, as `age leak`: how far it moves for each spread that the card's
  own attribute moves, both in their spreads; `|age leak|` where the way does not matter.

What was not measured is unknown and matches no condition but `is null`. A column has precedence
over an attribute of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.expression_values import Kind, Values, check, check_condition, evaluate, kinds_of
from schemas.expressions import parse
from schemas.registry import unknown
from storage.lineages import DERIVED, made_by
from storage.snapshots import LIGHT, State

pc: Any = pyarrow.compute  # whose functions pyright does not see

_ALIASES = {"truth": "truth_cosine"}
_COLUMNS: dict[str, Kind] = {
    **kinds_of(pa.schema([*LIGHT, *DERIVED])),
    "created_at": "text",
    **dict.fromkeys(_ALIASES, "number"),
}
_LEAK = " leak"
Rows = NDArray[np.int64]  # places in a state, in the order of commits


@dataclass(frozen=True)
class Filters:
    """What `Catalog.cards` filters by; None is no filter."""

    attribute: str | None = None
    method: str | None = None
    space: str | None = None
    generator: str | None = None
    all_versions: bool = False


def matching(state: State, wanted: Filters) -> Rows:
    """The rows that match every filter.

    Raises:
        InputError: no card at all has that attribute, method, space or generator.
    """
    space = wanted.space.lower() if wanted.space is not None else None
    kept = np.ones(len(state), bool) if wanted.all_versions else state.latest.copy()
    for name, value in (
        ("attribute", wanted.attribute),
        ("method", wanted.method),
        ("space", space),
    ):
        if value is not None:
            same = pc.equal(state.rows[name], value).to_numpy()
            if not same.any():
                raise unknown(name, value, pc.unique(state.rows[name]).to_pylist())
            kept &= same
    if wanted.generator is not None:
        made = made_by(state.rows, wanted.generator)
        if not made.any():
            names = pc.unique(state.rows["generator"]).to_pylist()
            raise unknown("generator", wanted.generator, names)
        kept &= made
    return np.flatnonzero(kept)


def where(state: State, rows: Rows, condition: str, who: str = "where") -> Rows:
    """Those of the rows for which the condition is true.

    Raises:
        InputError: it is no condition, or names what no card has.
    """
    expression = parse(condition, who)
    check_condition(expression, _kinds(state), who)
    return rows[_values(state, rows, expression).kept()]


def ordered(state: State, rows: Rows, by: str, descending: bool = False) -> Rows:
    """The rows by the value of an expression, smallest first; unknown last, equals as they came.

    Raises:
        InputError: it is no expression, or names what no card has.
    """
    expression = parse(by, "order_by")
    if isinstance(kind := check(expression, _kinds(state), "order_by"), tuple):
        raise InputError(f"order_by: {by[:80]!r} has the shape {kind[1]}; expected one value.")
    found = _values(state, rows, expression)
    _, ranks = np.unique(found.values[found.known], return_inverse=True)
    keys = np.full(len(rows), np.iinfo(np.int64).max)
    keys[found.known] = -ranks if descending else ranks
    return rows[np.argsort(keys, kind="stable")]


def limited(rows: Rows, limit: int | None) -> Rows:
    """The first `limit` rows, or all.

    Raises:
        InputError: the limit is negative.
    """
    if limit is not None and limit < 0:
        raise InputError(f"find: limit {limit} came; expected 0 or more.")
    return rows[:limit]


def names(state: State) -> tuple[str, ...]:
    """Every name that an expression over these cards may hold, columns first."""
    return tuple(_kinds(state))


def numbers(state: State, name: str) -> NDArray[np.float64]:
    """(N,) a numeric column of all rows, NaN where null."""
    return state.rows[name].to_numpy(zero_copy_only=False).astype(np.float64)


def _values(state: State, rows: Rows, expression: Any) -> Values:
    if expression.names:
        columns = {name: _column(state, rows, name) for name in expression.names}
        return evaluate(expression, columns)
    # a constant has no rows of its own
    return evaluate(expression, {"": np.zeros(len(rows))})


def _kinds(state: State) -> dict[str, Kind]:
    attributes = sorted(_moves(state).codes)
    derived: dict[str, Kind] = dict.fromkeys(attributes, "number")
    derived |= dict.fromkeys((f"{name}{_LEAK}" for name in attributes), "number")
    return {**derived, **_COLUMNS}


def _column(state: State, rows: Rows, name: str) -> Any:
    name = _ALIASES.get(name, name)
    if name == "version":
        return state.versions[rows].astype(np.float64)
    if name == "latest":
        return state.latest[rows]
    if name == "commit":
        return np.where(state.numbers < 0, np.nan, state.numbers)[rows]
    if name not in LIGHT.names:
        return _moved(state, name)[rows]
    column = state.rows[name].take(pa.array(rows))
    return pc.strftime(column, "%Y-%m-%dT%H:%M:%S") if name == "created_at" else column


def _moved(state: State, name: str) -> NDArray[np.float64]:
    """(N,) what `name` or `name leak` is for every row."""
    moves = _moves(state)
    if name in moves.codes:
        sigma = numbers(state, "sigma")
        return moves.of(name) * np.where(np.isfinite(sigma), sigma, 1.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return moves.of(name.removesuffix(_LEAK)) / numbers(state, "effect_relative")


@dataclass(frozen=True)
class _Moves:
    """The responses of all cards, one after the other."""

    count: int  # of cards
    codes: dict[str, int]  # of each attribute
    cards: NDArray[np.int64]  # (M,) whose response it is
    attributes: NDArray[np.int32]  # (M,) codes
    relative: NDArray[np.float64]  # (M,) per step of norm 1, in spreads

    def of(self, attribute: str) -> NDArray[np.float64]:
        """(N,) the relative response of one attribute, NaN where it has none."""
        found = np.full(self.count, np.nan)
        at = np.flatnonzero(self.attributes == self.codes[attribute])[::-1]  # the first one counts
        found[self.cards[at]] = self.relative[at]
        return found


def _moves(state: State) -> _Moves:
    if "moves" not in state.memo:
        lists = state.rows["responses"].combine_chunks()
        flat = lists.flatten()
        each = flat.field("attribute")
        known = pc.unique(each)
        spread = flat.field("spread").to_numpy(zero_copy_only=False)
        per_step = flat.field("per_step").to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore", over="ignore"):
            relative = per_step / np.where(spread > 0, spread, np.nan)
        state.memo["moves"] = _Moves(
            len(state),
            {name: code for code, name in enumerate(known.to_pylist())},
            pc.list_parent_indices(lists).to_numpy(),
            pc.index_in(each, value_set=known).to_numpy(),
            relative,
        )
    return state.memo["moves"]

"""Three-valued conditions, and what chooses between values; NaN and null are what is unknown.

Source of the logic: Kleene (1938), doi:10.2307/2267778, the strong tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.expression_functions import COMPARISONS, aligned

_ARROW = {
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "=": "equal",
    "!=": "not_equal",
}


class Masks(NamedTuple):
    """A condition: rows where it is true, rows where it is false; unknown in all others."""

    true: NDArray[np.bool_]
    false: NDArray[np.bool_]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Rows where it is one of the two."""
        return self.true | self.false


def negated(one: Masks) -> Masks:
    """not one."""
    return Masks(one.false, one.true)


def both(one: Masks, other: Masks) -> Masks:
    """one and other."""
    return Masks(one.true & other.true, one.false | other.false)


def either(one: Masks, other: Masks) -> Masks:
    """one or other."""
    return Masks(one.true | other.true, one.false & other.false)


def to_masks(column: Any) -> Masks:
    """(N,) masks of an Arrow or NumPy column of truth values."""
    if isinstance(column, np.ndarray):
        return Masks(column, ~column)
    known = np.asarray(column.is_valid())
    true = np.asarray(pc.call_function("coalesce", [column, pa.scalar(False)]))
    return Masks(true, known & ~true)


def is_known(value: Any) -> NDArray[np.bool_]:
    """(N,) where a value is known; one with a shape is where all of its entries are."""
    if isinstance(value, Masks):
        return value.known
    if isinstance(value, np.ndarray):
        return np.asarray(~np.isnan(value).any(axis=tuple(range(1, value.ndim))))
    return np.asarray(value.is_valid() if isinstance(value, pa.Array) else value.is_valid)


def comparison(operator: str, left: Any, right: Any) -> Masks:
    """left operator right: numbers, texts, or truth values by = and !=."""
    if isinstance(left, Masks):
        same = either(both(left, right), both(negated(left), negated(right)))
        return same if operator == "=" else negated(same)
    if isinstance(left, np.ndarray):
        known = ~(np.isnan(left) | np.isnan(right))
        true = COMPARISONS[operator](left, right) & known
        return Masks(true, known & ~true)
    found: Any = pc.call_function(_ARROW[operator], [left, right])
    if isinstance(found, pa.Scalar):  # of two constants
        return Masks(*(np.array(found.as_py() is wanted) for wanted in (True, False)))
    return to_masks(found)


def within(value: Any, options: Sequence[Any]) -> Masks:
    """value in (option, ...)."""
    known = is_known(value)
    if isinstance(value, np.ndarray):
        true = np.isin(value, options) & known
    elif isinstance(value, pa.Scalar):
        true = known & (value in options)
    else:
        texts = pa.array([option.as_py() for option in options], pa.large_string())
        found = pc.call_function("is_in", [value], pc.SetLookupOptions(value_set=texts))
        true = np.asarray(found) & known
    return Masks(true, known & ~true)


def chosen(condition: Masks, yes: Any, no: Any) -> Any:
    """`yes` where the condition is true, `no` where it is false, else unknown."""
    if isinstance(yes, Masks):
        pairs = zip(yes, no, strict=True)
        return Masks(*(condition.true & one | condition.false & other for one, other in pairs))
    if isinstance(yes, np.ndarray):
        true, false, yes, no = aligned([condition.true, condition.false, yes, no])
        return np.where(true, yes, np.where(false, no, np.nan))
    if condition.true.ndim:
        picks: Any = pa.array(condition.true, mask=~condition.known)
    else:
        picks = pa.scalar(bool(condition.true) if condition.known else None, pa.bool_())
    return pc.call_function("if_else", [picks, yes, no])


def first_known(value: Any, other: Any) -> Any:
    """`value` where it is known, `other` elsewhere; those with a shape row by row."""
    known = is_known(value)
    if isinstance(value, Masks):
        return Masks(*(one | ~known & two for one, two in zip(value, other, strict=True)))
    if isinstance(value, np.ndarray):
        known, value, other = aligned([known, value, other])
        return np.where(known, value, other)
    return pc.call_function("coalesce", [value, other])

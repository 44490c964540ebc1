"""The functions of expressions, over float64 arrays in which NaN stands for what is unknown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

ANY = sys.maxsize
Reduce = Callable[[Iterable[NDArray[np.float64]]], NDArray[np.float64]]


@dataclass(frozen=True)
class Function:
    """How many arguments a function takes, and what it does with numbers.

    One of `entrywise` (of the arguments) and `reduce` (of the planes of the last axis, or of the
    arguments) is set; neither for those whose arguments need not be numbers.
    """

    least: int
    most: int
    entrywise: Callable[..., Any] | None = None
    reduce: Reduce | None = None

    @property
    def wanted(self) -> str:
        """How many arguments, in words."""
        if self.most == ANY:
            return f"{self.least} or more"
        return str(self.least)


def _over(combine: Callable[..., Any]) -> Reduce:
    """Combine planes two by two; an unknown entry makes the result unknown."""

    def reduced(planes: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
        return reduce(lambda one, other: combine(*aligned([one, other])), planes)

    return reduced


def _mean(planes: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    total, count = np.zeros(()), 0
    for plane in planes:
        total = np.add(*aligned([total, plane]))
        count += 1
    return total / count


def _norm(planes: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.sqrt(_over(np.add)(plane * plane for plane in planes))


FUNCTIONS: Mapping[str, Function] = {
    "abs": Function(1, 1, np.abs),
    "sqrt": Function(1, 1, np.sqrt),
    "exp": Function(1, 1, np.exp),
    "log": Function(1, 1, np.log),
    "floor": Function(1, 1, np.floor),
    "ceil": Function(1, 1, np.ceil),
    "round": Function(1, 1, np.round),
    "sin": Function(1, 1, lambda angle: np.sin(np.radians(angle))),
    "cos": Function(1, 1, lambda angle: np.cos(np.radians(angle))),
    "tan": Function(1, 1, lambda angle: np.tan(np.radians(angle))),
    "atan2": Function(2, 2, lambda y, x: np.degrees(np.arctan2(y, x))),
    "min": Function(1, ANY, reduce=_over(np.minimum)),
    "max": Function(1, ANY, reduce=_over(np.maximum)),
    "mean": Function(1, ANY, reduce=_mean),
    "norm": Function(1, ANY, reduce=_norm),
    "if": Function(3, 3),
    "coalesce": Function(2, ANY),
}


def power(base: NDArray[np.float64], exponent: NDArray[np.float64]) -> NDArray[np.float64]:
    """base ** exponent; NumPy's NaN ** 0 and 1 ** NaN are 1, ours are unknown."""
    unknown = np.isnan(base) | np.isnan(exponent)
    return np.where(unknown, np.nan, np.power(base, exponent))


ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
}
COMPARISONS: Mapping[str, Callable[..., Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "=": np.equal,
    "!=": np.not_equal,
}


def finite(values: Any) -> NDArray[np.float64]:
    """The values, with NaN for what is infinite."""
    values = np.asarray(values, np.float64)
    lost = np.isinf(values)
    return np.where(lost, np.nan, values) if lost.any() else values


def aligned(arrays: Sequence[NDArray]) -> list[NDArray]:
    """Rows first: (N,) beside (N, 68, 2) becomes (N, 1, 1); a constant stays as it is."""
    most = max(array.ndim for array in arrays)
    return [
        array.reshape(*array.shape, *(1,) * (most - array.ndim)) if array.ndim else array
        for array in arrays
    ]

"""Evaluates expressions over columns, all rows at once; `schemas.expressions` has the grammar."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.expression_columns import Column, as_numbers, as_texts, column_kind, readable
from schemas.expression_functions import ARITHMETIC, FUNCTIONS, aligned, finite, power
from schemas.expression_kinds import Kind, check, check_condition, kind_of, kinds_of, shape_of
from schemas.expression_masks import (
    Masks,
    both,
    chosen,
    comparison,
    either,
    first_known,
    is_known,
    negated,
    to_masks,
    within,
)
from schemas.expression_tree import (
    And,
    Arithmetic,
    Call,
    Compare,
    Expression,
    In,
    Index,
    IsNull,
    Name,
    Negate,
    Node,
    Not,
    Number,
    Or,
    Power,
    Text,
    Truth,
)

__all__ = ["Kind", "Values", "check", "check_condition", "evaluate", "kind_of", "kinds_of"]

# numbers, texts (an Arrow array, or a scalar for a constant) or a condition; constants have no rows
_BLOCK = 2**17  # numbers of a column at once: what caches hold, and memory need not
Result: TypeAlias = NDArray[np.float64] | pa.Array | pa.Scalar | Masks


@dataclass(frozen=True)
class Values:
    """What an expression gives for every row.

    values: (N, *shape) float64, NaN where unknown; or (N,) bool, False where unknown; or (N,)
        objects, str or None where unknown.
    known: (N,) where the value is known; one with a shape is where all of its entries are.
    """

    values: NDArray
    known: NDArray[np.bool_]

    def kept(self) -> NDArray[np.bool_]:
        """(N,) the rows that a filter keeps."""
        return self.values & self.known

    def numbers(self) -> NDArray[np.float64]:
        """(N, *shape) numbers; for a condition 1, 0 and NaN where unknown, as labels have it."""
        if self.values.dtype != np.bool_:
            return self.values
        return np.where(self.known, self.values.astype(np.float64), np.nan)


def evaluate(
    expression: Expression,
    columns: Mapping[str, Column | pa.ChunkedArray],
    *,
    rows: int | None = None,
    kinds: Mapping[str, Kind] | None = None,
    who: str = "expression",
) -> Values:
    """The values of an expression, row by row.

    Args:
        columns: what the expression reads (and maybe more): NumPy (N, *shape), or Arrow arrays of
            numbers, nested fixed-size lists of them, texts (dictionaries too) or truth values.
        rows: N, where there are no columns to tell it.
        kinds: what columns are that hold nulls of no type, as those of pandas may.

    Raises:
        InputError: as `check` does, for the kinds that the columns turn out to have; or columns
            differ in length.
    """
    wanted = kinds or {}
    read = {
        name: readable(columns[name], name, who, wanted.get(name, "number"))
        for name in expression.names
        if name in columns
    }
    found = {name: column_kind(column, name, who) for name, column in read.items()}
    others = {name: "number" for name in columns if name not in found}  # for suggestions
    check(expression, others | found, who)
    count = _rows(read or columns, rows, who)
    width = max((math.prod(shape_of(kind)) for kind in found.values()), default=1)
    step = max(1, _BLOCK // max(1, width))
    with np.errstate(all="ignore"):
        blocks = [
            _block(expression, read, found, start, min(step, count - start))
            for start in range(0, max(1, count), step)
        ]
    return blocks[0] if len(blocks) == 1 else _joined(blocks)


def _block(
    expression: Expression,
    columns: Mapping[str, Any],
    kinds: Mapping[str, Kind],
    start: int,
    count: int,
) -> Values:
    """The values of some rows."""
    pieces = {
        name: column[start : start + count]  # a view, of Arrow's too
        for name, column in columns.items()
    }
    return _whole(_Evaluation(pieces, kinds).result(expression.root), count)


def _joined(blocks: Sequence[Values]) -> Values:
    values, known = zip(*((block.values, block.known) for block in blocks), strict=True)
    return Values(np.concatenate(values), np.concatenate(known))


def _rows(columns: Mapping[str, Any], rows: int | None, who: str) -> int:
    lengths = {name: len(column) for name, column in columns.items()}
    if rows is None and not lengths:
        raise InputError(f"{who}: no columns, and not said how many rows there are.")
    count = rows if rows is not None else next(iter(lengths.values()))
    for name, length in lengths.items():
        if length != count:
            raise InputError(f"{who}: the column {name!r} has {length} rows; expected {count}.")
    return count


def _whole(result: Any, count: int) -> Values:
    """The result with constants repeated for every row."""
    if isinstance(result, Masks):
        true, false = (np.broadcast_to(mask, (count,)) for mask in result)
        return Values(np.array(true), true | false)
    if isinstance(result, pa.Scalar):
        result = pa.repeat(result, count)
    if isinstance(result, pa.Array):
        return Values(result.to_numpy(zero_copy_only=False), is_known(result))
    values = np.array(np.broadcast_to(result, result.shape or (count,)))
    return Values(values, is_known(values))


def _as(kind: Kind, column: Column) -> Result:
    if kind == "text":
        return as_texts(column)
    return to_masks(column) if kind == "truth" else as_numbers(column)


class _Evaluation:
    """Walks a checked expression over the columns of one table."""

    def __init__(self, columns: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
        self._columns, self._kinds = columns, kinds
        self._read: dict[str, Result] = {}

    def result(self, node: Node) -> Any:
        match node:
            case Number(value):
                return np.array(value)
            case Text(value):
                return pa.scalar(value, pa.large_string())
            case Truth(value):
                return Masks(np.array(value), np.array(not value))
            case Name(name):
                return self._column(name)
            case Negate(operand):
                return np.asarray(-self.result(operand))
            case Power(base, exponent):
                return finite(power(*aligned([self.result(base), self.result(exponent)])))
            case Arithmetic(first, rest):
                return self._arithmetic(first, rest)
            case Index(Name(name), indices):
                return as_numbers(self._columns[name], indices)
            case Index(base, indices):
                return self.result(base)[(slice(None), *indices)]
            case Call(function, arguments):
                return self._called(function, arguments)
            case _:
                return self._condition(node)

    def _condition(self, node: Node) -> Masks:
        match node:
            case Not(operand):
                return negated(self.result(operand))
            case And(operands):
                return reduce(both, map(self.result, operands))
            case Or(operands):
                return reduce(either, map(self.result, operands))
            case Compare(first, rest):
                return reduce(both, self._links(first, rest))
            case In(value, options):
                return within(self.result(value), [self.result(option) for option in options])
            case IsNull(value):
                known = is_known(self.result(value))
                return Masks(~known, known)
            case _:
                raise TypeError(f"{node!r} is no condition")

    def _column(self, name: str) -> Result:
        if name not in self._read:
            self._read[name] = _as(self._kinds[name], self._columns[name])
        return self._read[name]

    def _arithmetic(self, first: Node, rest: Sequence[tuple[str, Node]]) -> Any:
        total = self.result(first)
        for operator, operand in rest:
            total = finite(ARITHMETIC[operator](*aligned([total, self.result(operand)])))
        return total

    def _links(self, first: Node, rest: Sequence[tuple[str, Node]]) -> Iterator[Masks]:
        left = self.result(first)
        for operator, operand in rest:
            right = self.result(operand)
            yield comparison(operator, left, right)
            left = right

    def _called(self, name: str, arguments: Sequence[Node]) -> Any:
        values = map(self.result, arguments)  # one at a time: there may be thousands
        if name == "if":
            return chosen(*values)
        if name == "coalesce":
            return reduce(first_known, values)
        function = FUNCTIONS[name]
        if function.entrywise is not None:
            return finite(function.entrywise(*aligned(list(values))))
        assert function.reduce is not None
        planes = np.moveaxis(next(values), -1, 0) if len(arguments) == 1 else values
        return finite(function.reduce(planes))

"""Checks an expression against the kinds of its columns, before any data is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

import pyarrow as pa

from schemas.errors import InputError
from schemas.expression_functions import FUNCTIONS
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
    spelled,
)
from schemas.registry import unknown

Shape: TypeAlias = tuple[int, ...]
Kind: TypeAlias = str | tuple[str, Shape]  # "number", "text", "truth" or ("number", shape)
_SHOWN = 80  # characters of an expression in an error
_ALIKE = "expected numbers only, texts only or truth values only"


def check(expression: Expression, kinds: Mapping[str, Kind], who: str = "expression") -> Kind:
    """The kind of what an expression gives, over columns of these kinds.

    Raises:
        InputError: a name that is no column, kinds that do not go together, or an index or a shape
            that does not fit.
    """
    return _Check(kinds, who).kind(expression.root)


def check_condition(expression: Expression, kinds: Mapping[str, Kind], who: str) -> None:
    """Refuse an expression that is not true or false; raises as `check` does."""
    found = check(expression, kinds, who)
    if found != "truth":
        raise InputError(
            f"{who}: {_short(expression.root)} is {_said(found)}; expected a condition, such as "
            "yaw > 20."
        )


def kind_of(column: pa.DataType) -> Kind | None:
    """The kind of an Arrow column; None for a type that expressions do not read."""
    shape: list[int] = []
    while pa.types.is_fixed_size_list(column):
        shape.append(column.list_size)
        column = column.value_type
    if pa.types.is_dictionary(column):
        column = column.value_type
    types = pa.types
    if types.is_integer(column) or types.is_floating(column) or types.is_decimal(column):
        return ("number", tuple(shape)) if shape else "number"
    if shape:
        return None
    if types.is_boolean(column):
        return "truth"
    texts = types.is_string(column), types.is_large_string(column), types.is_string_view(column)
    return "text" if any(texts) else None


def kinds_of(schema: pa.Schema) -> dict[str, Kind]:
    """The kinds of a table's columns, without those that expressions do not read."""
    found = {field.name: kind_of(field.type) for field in schema}
    return {name: kind for name, kind in found.items() if kind is not None}


class _Check:
    """Finds the kind of a node; the errors quote the part that is wrong."""

    def __init__(self, kinds: Mapping[str, Kind], who: str) -> None:
        self._kinds, self._who = kinds, who

    def kind(self, node: Node) -> Kind:
        match node:
            case Number():
                return "number"
            case Text():
                return "text"
            case Truth():
                return "truth"
            case Name(name):
                return self._column(name)
            case Negate(operand):
                return self._numbers(node, [operand])
            case Power(base, exponent):
                return self._numbers(node, [base, exponent])
            case Arithmetic(first, rest):
                return self._numbers(node, [first, *(operand for _, operand in rest)])
            case Index(base, indices):
                return self._indexed(node, base, indices)
            case Call(function, arguments):
                return self._called(node, function, arguments)
            case _:
                self._check_condition(node)
                return "truth"

    def _column(self, name: str) -> Kind:
        if name not in self._kinds:
            raise InputError(f"{self._who}: {unknown('name', name, self._kinds)}")
        kind = self._kinds[name]
        return "number" if kind == ("number", ()) else kind

    def _check_condition(self, node: Node) -> None:
        match node:
            case Not(operand):
                self._truth(node, operand)
            case And(operands) | Or(operands):
                for operand in operands:
                    self._truth(node, operand)
            case Compare(first, rest):
                self._check_comparison(node, first, rest)
            case In(value, options):
                kind = self._single(node, value)
                for option in options:
                    if self.kind(option) != kind:
                        self._fail(node, f"{_short(option)} beside {_said(kind)}", _ALIKE)
            case IsNull(value):
                self.kind(value)

    def _check_comparison(self, node: Node, first: Node, rest: Sequence[tuple[str, Node]]) -> None:
        kind = self._single(node, first)
        for operator, operand in rest:
            other = self._single(node, operand)
            if other != kind:
                self._fail(node, f"compares {_said(kind)} with {_said(other)}", _ALIKE)
            if kind == "truth" and operator not in ("=", "!="):
                self._fail(node, f"orders truth values by {operator}", "expected = or !=")

    def _truth(self, node: Node, operand: Node) -> None:
        kind = self.kind(operand)
        if kind != "truth":
            said = f"{_short(operand)} is {_said(kind)}"
            self._fail(node, said, "expected a condition, such as yaw > 20")

    def _single(self, node: Node, operand: Node) -> Kind:
        """The kind of an operand that has no shape."""
        kind = self.kind(operand)
        if isinstance(kind, tuple):
            said = f"{_short(operand)} is {_said(kind)}"
            self._fail(node, said, "expected one value; take an index, norm(...) or mean(...)")
        return kind

    def _numbers(self, node: Node, operands: Sequence[Node]) -> Kind:
        """Numbers, of one shape or none."""
        shape: Shape = ()
        for operand in operands:
            kind = self.kind(operand)
            if kind in ("text", "truth"):
                said = f"{_short(operand)} is {_said(kind)}"
                advice = " or if(..., 1, 0)" if kind == "truth" else ""
                self._fail(node, said, f"expected a number{advice}")
            shape = self._joint(node, shape, shape_of(kind))
        return _number(shape)

    def _joint(self, node: Node, shape: Shape, other: Shape) -> Shape:
        if shape and other and shape != other:
            self._fail(node, f"joins the shapes {shape} and {other}", "expected one shape")
        return shape or other

    def _indexed(self, node: Node, base: Node, indices: Shape) -> Kind:
        kind = self.kind(base)
        shape = shape_of(kind) if isinstance(kind, tuple) else ()
        if len(indices) > len(shape):
            said = f"{len(indices)} indices, but {_short(base)} is {_said(kind)}"
            self._fail(node, said, f"expected {len(shape) or 'none'}")
        for index, size in zip(indices, shape, strict=False):
            if index >= size:
                self._fail(node, f"the index {index}", f"expected 0 to {size - 1}")
        return _number(shape[len(indices) :])

    def _called(self, node: Node, name: str, arguments: Sequence[Node]) -> Kind:
        if name == "if":
            self._truth(node, arguments[0])
            return self._alike(node, arguments[1:])
        if name == "coalesce":
            return self._alike(node, arguments)
        kind = self._numbers(node, arguments)
        if FUNCTIONS[name].reduce is None or len(arguments) > 1:
            return kind
        shape = shape_of(kind)
        if not shape or not shape[-1]:
            expected = "expected two or more arguments, or one with a shape"
            self._fail(node, f"{_short(arguments[0])} is {_said(kind)}", expected)
        return _number(shape[:-1])

    def _alike(self, node: Node, operands: Sequence[Node]) -> Kind:
        kinds = [self.kind(operand) for operand in operands]
        if all(kind == kinds[0] for kind in kinds) and kinds[0] in ("text", "truth"):
            return kinds[0]
        odd = next((kind for kind in kinds if kind in ("text", "truth")), None)
        if odd is not None:
            other = next(kind for kind in kinds if kind != odd)
            self._fail(node, f"gives {_said(odd)} or {_said(other)}", _ALIKE)
        shape: Shape = ()
        for kind in kinds:
            shape = self._joint(node, shape, shape_of(kind))
        return _number(shape)

    def _fail(self, node: Node, said: str, expected: str) -> NoReturn:
        raise InputError(f"{self._who}: {_short(node)}: {said}; {expected}.")


def shape_of(kind: Kind) -> Shape:
    """The shape of one row's value; () for what has none."""
    return kind[1] if isinstance(kind, tuple) else ()


def _number(shape: Shape) -> Kind:
    return ("number", shape) if shape else "number"


def _said(kind: Kind) -> str:
    """A kind in words."""
    if isinstance(kind, tuple):
        return f"numbers of the shape {kind[1]}"
    return {"number": "a number", "text": "a text", "truth": "a truth value"}[kind]


def _short(node: Node) -> str:
    text = spelled(node)
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")

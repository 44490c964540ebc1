"""The tree of an expression, and its one spelling; `schemas.expressions` has the grammar."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

KEYWORDS = frozenset(("and", "or", "not", "in", "between", "is", "null", "true", "false"))
# how strongly a node holds together; an operand of a lower rank stands in parentheses
OR, AND, NOT, COMPARE, SUM, PRODUCT, UNARY, POWER, PRIMARY = range(9)
_PLAIN = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)( leak)?")


@dataclass(frozen=True)
class Number:
    """A finite number that is not negative; -1 is Negate(Number(1.0))."""

    value: float


@dataclass(frozen=True)
class Text:
    """A text in quotes."""

    value: str


@dataclass(frozen=True)
class Truth:
    """true or false."""

    value: bool


@dataclass(frozen=True)
class Name:
    """A column."""

    name: str


@dataclass(frozen=True)
class Negate:
    """-operand."""

    operand: Node


@dataclass(frozen=True)
class Power:
    """base ** exponent."""

    base: Node
    exponent: Node


@dataclass(frozen=True)
class Arithmetic:
    """first + a - b ... or first * a / b ..., from left to right; never + beside *."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Compare:
    """first < a <= b ...: each neighbour with the next, all of them."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class In:
    """value in (option, ...); options are Number, Negate of a Number, or Text."""

    value: Node
    options: tuple[Node, ...]


@dataclass(frozen=True)
class IsNull:
    """value is null: true where the value is unknown."""

    value: Node


@dataclass(frozen=True)
class Not:
    """not operand."""

    operand: Node


@dataclass(frozen=True)
class And:
    """a and b and ...: two or more."""

    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Or:
    """a or b or ...: two or more."""

    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Call:
    """function(argument, ...)."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Index:
    """base[i, j]; the base is no Index itself."""

    base: Node
    indices: tuple[int, ...]


Leaf: TypeAlias = Number | Text | Truth | Name
Node: TypeAlias = (
    Leaf | Negate | Power | Arithmetic | Compare | In | IsNull | Not | And | Or | Call | Index
)


@dataclass(frozen=True)
class Expression:
    """What `schemas.expressions.parse` returns."""

    root: Node

    @cached_property
    def text(self) -> str:
        """The one spelling of this tree: parsed, it gives an equal expression."""
        return spelled(self.root)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns that it reads, in order of first use."""
        found = (node.name for node, _ in walk(self.root) if isinstance(node, Name))
        return tuple(dict.fromkeys(found))

    def is_condition(self, kinds: Mapping[str, Any]) -> bool:
        """Whether it is true or false, over columns of these kinds; see `check`."""
        from schemas.expression_kinds import check  # which reads this tree

        return check(self, kinds) == "truth"

    def __str__(self) -> str:
        return self.text


def walk(root: Node) -> Iterator[tuple[Node, int]]:
    """Every node and its depth (1 for the root), parents first, from left to right."""
    waiting = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting += [(child, depth + 1) for child in reversed(children(node))]


def children(node: Node) -> tuple[Node, ...]:
    """The nodes right below one."""
    match node:
        case Negate(operand) | Not(operand) | IsNull(operand) | Index(operand, _):
            return (operand,)
        case Power(base, exponent):
            return base, exponent
        case Arithmetic(first, rest) | Compare(first, rest):
            return first, *(operand for _, operand in rest)
        case In(value, options):
            return value, *options
        case And(operands) | Or(operands) | Call(_, operands):
            return operands
        case _:
            return ()


def spelled(node: Node, least: int = OR) -> str:
    """The text of a node, in parentheses where its rank is below `least`."""
    text, rank = _spelling(node)
    return text if rank >= least else f"({text})"


def _spelling(node: Node) -> tuple[str, int]:
    """The text of a node and its rank."""
    match node:
        case Or(operands):
            return " or ".join(spelled(operand, AND) for operand in operands), OR
        case And(operands):
            return " and ".join(spelled(operand, NOT) for operand in operands), AND
        case Not(IsNull(value)):
            return f"{spelled(value, SUM)} is not null", COMPARE
        case Not(In(value, options)):
            return f"{spelled(value, SUM)} not in {_listed(options)}", COMPARE
        case Not(operand):
            return f"not {spelled(operand, NOT)}", NOT
        case IsNull(value):
            return f"{spelled(value, SUM)} is null", COMPARE
        case In(value, options):
            return f"{spelled(value, SUM)} in {_listed(options)}", COMPARE
        case Compare(first, rest):
            return _chained(first, rest, SUM), COMPARE
        case Arithmetic(first, rest):
            rank = SUM if rest[0][0] in "+-" else PRODUCT
            return _chained(first, rest, rank + 1), rank
        case Negate(operand):
            return f"-{spelled(operand, UNARY)}", UNARY
        case Power(base, exponent):
            return f"{spelled(base, PRIMARY)} ** {spelled(exponent, UNARY)}", POWER
        case _:
            return _primary(node), PRIMARY


def _primary(node: Node) -> str:
    match node:
        case Call(function, arguments):
            return f"{function}{_listed(arguments)}"
        case Index(base, indices):
            return f"{spelled(base, PRIMARY)}[{', '.join(str(index) for index in indices)}]"
        case Name(name):
            return _name(name)
        case Text(value):
            return "'" + value.replace("'", "''") + "'"
        case Truth(value):
            return str(value).lower()
        case Number(value):
            whole = value.is_integer() and value < 1e15
            return str(int(value)) if whole else repr(value)
        case _:
            raise TypeError(f"{node!r} is no node of an expression")


def _name(name: str) -> str:
    plain = _PLAIN.fullmatch(name)
    if plain and plain[1].lower() not in KEYWORDS:
        return name
    return "`" + name.replace("`", "``") + "`"


def _listed(nodes: tuple[Node, ...]) -> str:
    return f"({', '.join(spelled(node) for node in nodes)})"


def _chained(first: Node, rest: tuple[tuple[str, Node], ...], least: int) -> str:
    links = [f" {operator} {spelled(operand, least)}" for operator, operand in rest]
    return spelled(first, least) + "".join(links)

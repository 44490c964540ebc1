"""From the text of an expression to its tree; `schemas.expressions` has the grammar."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NoReturn

from schemas.errors import InputError
from schemas.expression_functions import FUNCTIONS
from schemas.expression_tokens import Token, mistake, tokens
from schemas.expression_tree import (
    AND,
    COMPARE,
    NOT,
    OR,
    POWER,
    PRODUCT,
    SUM,
    UNARY,
    And,
    Arithmetic,
    Call,
    Compare,
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
    walk,
)
from schemas.registry import unknown

MOST_DEPTH = 100
_COMPARISONS = ("<", "<=", ">", ">=", "=", "==", "!=")
_INFIX = {
    "or": OR,
    "and": AND,
    **dict.fromkeys((*_COMPARISONS, "in", "between", "is", "not"), COMPARE),
    "+": SUM,
    "-": SUM,
    "*": PRODUCT,
    "/": PRODUCT,
    "**": POWER,
}
_VALUE = "expected a number, a name, a 'text' or '('"


class Parser:
    """Precedence climbing (Pratt 1973, doi:10.1145/512927.512931) over a list of tokens."""

    def __init__(self, text: str, who: str) -> None:
        self._text, self._who = text, who
        self._tokens = tokens(text, who)
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        parts = [self._expression(OR)]
        while self._accept(","):
            parts.append(self._expression(OR))
        if self._token.kind != "end":
            self._fail("expected an operator, a comma or the end")
        root = parts[0] if len(parts) == 1 else And(tuple(parts))
        if any(depth > MOST_DEPTH for _, depth in walk(root)):
            self._fail_deep()
        return root

    def _expression(self, least: int) -> Node:
        """What follows, as far as operators of the rank `least` or above hold it together."""
        self._depth += 1
        if self._depth > MOST_DEPTH:
            self._fail_deep()
        left = self._operand(least)
        while _INFIX.get(self._mark, -1) >= least:
            left = self._joined(left)
        self._depth -= 1
        return left

    def _joined(self, left: Node) -> Node:
        """`left`, the operator that follows and its other operands."""
        rank = _INFIX[self._mark]
        if rank in (OR, AND):
            mark, parts = self._mark, [left]
            while self._accept(mark):
                parts.append(self._expression(rank + 1))
            return Or(tuple(parts)) if rank == OR else And(tuple(parts))
        if rank == COMPARE:
            return self._compared(left)
        if rank == POWER:
            self._take()
            return Power(left, self._expression(UNARY))
        return Arithmetic(left, self._rest("+-" if rank == SUM else "*/", rank + 1))

    def _rest(self, operators: Collection[str], least: int) -> tuple[tuple[str, Node], ...]:
        pairs: list[tuple[str, Node]] = []
        while self._mark and self._mark in operators:
            operator = self._take().value.replace("==", "=")
            pairs.append((operator, self._expression(least)))
        return tuple(pairs)

    def _compared(self, left: Node) -> Node:
        """A chain of comparisons, or one `in`, `between` or `is`."""
        if self._mark in _COMPARISONS:
            result: Node = Compare(left, self._rest(_COMPARISONS, SUM))
        elif self._accept("is"):
            negated = self._accept("not")
            self._expect("null")
            result = Not(IsNull(left)) if negated else IsNull(left)
        else:
            negated = self._accept("not")
            result = self._within(left)
            result = Not(result) if negated else result
        if _INFIX.get(self._mark) == COMPARE:
            self._fail("expected 'and', 'or' or the end; such comparisons do not chain")
        return result

    def _within(self, left: Node) -> Node:
        if self._accept("between"):
            low = self._expression(SUM)
            self._expect("and")
            return Compare(low, (("<=", left), ("<=", self._expression(SUM))))
        if not self._accept("in"):
            self._fail("expected 'in' or 'between'")
        self._expect("(")
        options = [self._option()]
        while self._accept(","):
            options.append(self._option())
        self._expect(")")
        return In(left, tuple(options))

    def _option(self) -> Node:
        negative = self._accept("-")
        if self._token.kind == "text" and not negative:
            return Text(self._take().value)
        if self._token.kind != "number":
            self._fail("expected a number or a 'text'")
        value = self._number()
        return Negate(value) if negative else value

    def _operand(self, least: int) -> Node:
        if self._accept("-"):
            return Negate(self._expression(POWER))
        if least <= NOT and self._accept("not"):
            return Not(self._expression(NOT))
        node = self._primary()
        while self._accept("["):
            node = self._indexed(node)
        return node

    def _primary(self) -> Node:
        match self._token.kind:
            case "number":
                return self._number()
            case "text":
                return Text(self._take().value)
            case "name" | "backquoted":
                return self._named()
        if self._mark in ("true", "false"):
            return Truth(self._take().value == "true")
        if self._accept("("):
            inner = self._expression(OR)
            self._expect(")")
            return inner
        if self._accept("|"):
            inner = self._expression(SUM)
            self._expect("|")
            return Call("abs", (inner,))
        self._fail(_VALUE)

    def _number(self) -> Number:
        value = float(self._token.value)
        if not math.isfinite(value):
            self._fail("this number is too large")
        self._take()
        return Number(value)

    def _named(self) -> Node:
        token = self._take()
        if token.kind == "name" and self._mark == "(":
            return self._call(token)
        if self._token.kind == "name" and self._token.value == "leak":
            self._take()
            return Name(f"{token.value} leak")
        return Name(token.value)

    def _call(self, token: Token) -> Node:
        name = token.value.lower()
        if name not in FUNCTIONS:
            said = str(unknown("function", token.value, FUNCTIONS)).rstrip(".")
            raise mistake(self._who, self._text, token.start, said)
        self._expect("(")
        arguments = [self._expression(OR)]
        while self._accept(","):
            arguments.append(self._expression(OR))
        self._expect(")")
        function = FUNCTIONS[name]
        if not function.least <= len(arguments) <= function.most:
            said = f"{name} has {len(arguments)} arguments; expected {function.wanted}"
            raise mistake(self._who, self._text, token.start, said)
        return Call(name, tuple(arguments))

    def _indexed(self, node: Node) -> Node:
        indices = [self._whole_number()]
        while self._accept(","):
            indices.append(self._whole_number())
        self._expect("]")
        if isinstance(node, Index):  # a[1][0] is a[1, 0]
            return Index(node.base, (*node.indices, *indices))
        return Index(node, tuple(indices))

    def _whole_number(self) -> int:
        kind, value, _ = self._token
        if kind != "number" or not value.isdecimal() or len(value) > 9:
            self._fail("expected an index, a whole number from 0")
        return int(self._take().value)

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    @property
    def _mark(self) -> str:
        """The operator, bracket or keyword that comes next; "" where it is something else."""
        return self._token.value if self._token.kind == "mark" else ""

    def _take(self) -> Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _accept(self, mark: str) -> bool:
        found = self._mark == mark
        self._next += found
        return found

    def _expect(self, mark: str) -> None:
        if not self._accept(mark):
            self._fail(f"expected {mark!r}")

    def _fail(self, said: str) -> NoReturn:
        raise mistake(self._who, self._text, self._token.start, said)

    def _fail_deep(self) -> NoReturn:
        raise InputError(
            f"{self._who}: an expression nested more than {MOST_DEPTH} levels deep; "
            "give its parts names of their own."
        )

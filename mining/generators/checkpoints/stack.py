"""Where a pickle's values stand while it is read, and the bytes still to come."""

from __future__ import annotations

import struct
from typing import Any

from mining.generators.checkpoints.nodes import Budget, Persistent, Slice
from schemas.errors import InputError

MOST_MARKS = 1000  # marks open at a time, one for each level of nesting
LONGEST_NAME = 256  # bytes of a module's or a class's name


class Stack:
    """The state of one reading: a stack between marks, a memo and a position."""

    def __init__(self, source: Slice, budget: Budget, persistent: bool) -> None:
        self.source = source
        self.budget = budget
        self.persistent = persistent
        self.references: list[Persistent] = []
        self.position = 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def take(self, count: int) -> bytes:
        """The next bytes."""
        end = self.position + count
        if end > self.source.length:
            return self.skip(count).bytes()  # which says what is missing
        at, self.position = self.source.offset + self.position, end
        return self.source.buffer[at : at + count]

    def skip(self, count: int) -> Slice:
        """The next bytes, left where they are."""
        part = self.source.part(self.position, count)
        self.position += count
        return part

    def number(self, layout: str) -> Any:
        """The next number of the struct `layout`."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        """The text up to the next line feed: a module's or a class's name."""
        rest = self.source.length - self.position
        window = self.source.part(self.position, min(LONGEST_NAME, rest)).bytes()
        text, found, _ = window.partition(b"\n")
        if not found:
            raise InputError(f"a name is longer than {LONGEST_NAME} bytes or cut short")
        self.position += len(text) + 1
        return decoded(text)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise InputError("it takes a value from an empty stack; it is damaged")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise InputError("it looks at an empty stack; it is damaged")
        return self.stack[-1]

    def result(self) -> Any:
        """The one value that is left when it stops."""
        if self.below or len(self.stack) != 1:
            raise InputError("it stops with something other than one value; it is damaged")
        return self.stack[0]

    def mark(self) -> None:
        if len(self.below) >= MOST_MARKS:
            raise InputError(f"it nests deeper than {MOST_MARKS} marks")
        self.below.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        """Everything above the last mark."""
        if not self.below:
            raise InputError("it goes back to a mark that was never set; it is damaged")
        values, self.stack = self.stack, self.below.pop()
        return values

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise InputError(f"it recalls entry {index}, which it never kept; it is damaged")
        self.push(self.memo[index])


def decoded(text: bytes) -> str:
    """UTF-8 as text."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("a text is not UTF-8; it is damaged") from None

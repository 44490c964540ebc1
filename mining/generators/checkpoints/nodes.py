"""What a pickle says, as inert nodes: nothing here was imported, called or looked up."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import InputError

Buffer = mmap.mmap | bytes

MOST_OPCODES = 1_000_000  # a StyleGAN checkpoint with all its networks has under 100,000
MOST_TEXT = 64 << 20  # bytes of decoded text in one file
ONE_TEXT = 16 << 20


@dataclass(frozen=True, eq=False)
class Slice:
    """Bytes that still lie in the file."""

    buffer: Buffer
    offset: int
    length: int

    def bytes(self) -> bytes:
        """A copy, for the few bytes that are no tensor."""
        return self.buffer[self.offset : self.offset + self.length]

    def part(self, start: int, length: int) -> Slice:
        """`length` bytes from `start` on.

        Raises:
            InputError: they reach beyond this slice.
        """
        if start < 0 or length < 0 or start + length > self.length:
            raise InputError(
                f"{length} bytes are expected at byte {start}, where only {self.length} lie; "
                "it is cut short or damaged"
            )
        return Slice(self.buffer, self.offset + start, length)

    def unpack(self, layout: str, start: int) -> tuple[Any, ...]:
        """Numbers of the struct `layout`, from `start` on."""
        return struct.unpack(layout, self.part(start, struct.calcsize(layout)).bytes())


@dataclass(frozen=True, eq=False)
class Name:
    """A name that the file mentions and the list allows; it stays a name."""

    module: str
    name: str

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Pairs:
    """A dict's entries in their order, not yet hashed."""

    entries: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Call:
    """What the file would have called: a name, its arguments, and what was put on the result."""

    name: Name
    arguments: tuple[Any, ...]
    entries: list[tuple[Any, Any]] = field(default_factory=list)
    state: Any = None


@dataclass(frozen=True, eq=False)
class Persistent:
    """A reference to something that lies beside the pickle, such as a storage of torch."""

    reference: Any


@dataclass
class Budget:
    """What is left of the work that one file may cause, nested files counted in."""

    opcodes: int = MOST_OPCODES
    text: int = MOST_TEXT

    def spend_opcode(self) -> None:
        """Count one opcode."""
        self.opcodes -= 1
        if self.opcodes < 0:
            raise InputError(f"it has more than {MOST_OPCODES} opcodes, as no checkpoint needs")

    def spend_text(self, length: int) -> None:
        """Count `length` bytes of text, before they are decoded."""
        self.text -= length
        if length > ONE_TEXT or self.text < 0:
            raise InputError(
                f"a text of {length} bytes is more than is read; expected at most {ONE_TEXT >> 20} "
                f"MiB each and {MOST_TEXT >> 20} MiB in all (pickle protocol 2 writes tensors as "
                "text: save it again with protocol 4)"
            )

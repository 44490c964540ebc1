"""Reads a pickle into inert nodes: no import, no call, no attribute, opcodes by allow-list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mining.generators.checkpoints.nodes import Budget, Persistent, Slice
from mining.generators.checkpoints.opcodes import OPCODES, REFUSED
from mining.generators.checkpoints.stack import Stack
from schemas.errors import InputError


@dataclass(frozen=True)
class Parsed:
    """A pickle's root node, and where it ended."""

    root: Any
    end: int  # bytes of the slice that it took
    persistent: tuple[Persistent, ...]  # every reference, in its order


def parse(source: Slice, budget: Budget, persistent: bool = False) -> Parsed:
    """Read the pickle that begins at `source`; what follows it is the caller's.

    The format: PEP 307, PEP 3154 and the opcodes' descriptions in Python's `pickletools`.

    Args:
        persistent: whether the container resolves persistent references; else they are refused.

    Raises:
        InputError: an opcode or a name is not on its list, a limit is passed, or it is damaged.
    """
    stack = Stack(source, budget, persistent)
    while True:
        budget.spend_opcode()
        at = stack.position
        opcode = stack.take(1)
        if opcode == b".":
            return Parsed(stack.result(), stack.position, tuple(stack.references))
        step = OPCODES.get(opcode)
        if step is None:
            named = REFUSED.get(opcode, f"0x{opcode.hex()}")
            raise InputError(
                f"the pickle opcode {named} at byte {at} is not one that a checkpoint needs"
            )
        step(stack)

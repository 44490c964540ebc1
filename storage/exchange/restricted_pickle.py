"""Pickles of arrays, read as data: opcodes and names by list, nothing imported, nothing called.

What a pickle would have called is looked up by its text in a table of functions of ours, which
make arrays of the bytes that are there. Lists, tuples, dicts, texts and numbers are themselves.
The format: PEP 307, PEP 3154, PEP 574 and the descriptions in Python's `pickletools`.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from schemas.errors import InputError
from storage.exchange.found import text
from storage.exchange.pickled_arrays import CALLS, NAMES, filled, give_state

MOST_OPCODES = 500_000  # one direction of GANSpace has about 200
LONGEST_NUMBER = 32  # bytes of an integer; torch's magic number has 10
LONGEST_NAME = 200  # bytes of a module's or a function's
MOST_ARGUMENTS = 16  # of one call; a tensor's has 7
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
    | {"BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
)
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = frozenset({"BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"BINGET", "LONG_BINGET"})


@dataclass(frozen=True)
class Name:
    """A name that the pickle mentions and a list allows; it stays a name."""

    full: str


Persistent = Callable[[Any], Any]


def read_pickle(data: bytes) -> Any:
    """What a whole pickle holds: arrays, numbers, texts, and lists, tuples and dicts of those.

    Raises:
        InputError: an opcode or a name is not on its list, it is damaged, or goes on after its end.
    """
    stream = io.BytesIO(data)
    value = read_next(stream)
    if stream.tell() != len(data):
        raise InputError("its pickle goes on after its end; it is damaged or hostile")
    if isinstance(value, dict):
        return {key: filled(entry) for key, entry in value.items()}
    return [filled(entry) for entry in value] if isinstance(value, list) else filled(value)


def read_next(stream: io.BytesIO, persistent: Persistent | None = None) -> Any:
    """The pickle that begins where the stream stands; the stream is left at its end.

    Args:
        persistent: resolves references to what lies beside the pickle; None refuses them.

    Raises:
        InputError: as `read_pickle`.
    """
    machine = _Machine(persistent, stream.getbuffer().nbytes)
    try:
        for _ in range(MOST_OPCODES):
            opcode = _OPCODES.get(code := stream.read(1))
            if opcode is None:
                raise InputError(_refused(code))
            machine.step(opcode.name, _argument(opcode, stream))
            if opcode.name == "STOP":
                return machine.result()
    except InputError:
        raise
    # LookupError: a stack or a memo that does not hold what the next opcode takes
    except (ValueError, LookupError) as error:
        said = text(" ".join(str(error).split()), 120)
        raise InputError(f"its pickle is damaged or cut short: {said}") from None
    raise InputError(f"its pickle has more than {MOST_OPCODES} opcodes")


def _argument(opcode: pickletools.OpcodeInfo, stream: io.BytesIO) -> Any:
    """The argument that follows an opcode; of GLOBAL the name, whose escapes stay as they are."""
    if opcode.name == "GLOBAL":
        lines = (stream.readline(LONGEST_NAME).decode("ascii") for _ in range(2))
        return ".".join(line.removesuffix("\n") for line in lines)
    return opcode.arg.reader(stream) if opcode.arg else None


def _refused(code: bytes) -> str:
    if not code:
        return "its pickle is cut short"
    named = _NAMES.get(code, f"0x{code.hex()}")
    return f"its pickle has the opcode {named}, which arrays do not need; nothing was run"


class _Machine:
    """A stack, the stacks below its marks, and a memo.

    Args:
        persistent: as `read_next`.
        length: bytes of the file. What calls copy comes from it, once each: a small pickle that
            has one large text copied many times over is stopped.
    """

    def __init__(self, persistent: Persistent | None, length: int) -> None:
        self.persistent = persistent
        self.left = length  # texts and lists of calls, in letters and entries
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        """Carry out one opcode."""
        if opcode in _VALUES:
            self._value(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode])
        elif opcode in _TUPLES:
            count = _TUPLES[opcode]
            self.stack.append(tuple(self.stack.pop() for _ in range(count))[::-1])
        elif opcode in _PUTS:
            self.memo[argument] = self.stack[-1]
        elif opcode in _GETS:
            self.stack.append(self.memo[argument])
        else:
            _STEPS[opcode](self, argument)

    def result(self) -> Any:
        """The one value that is left at the end."""
        if self.below or len(self.stack) != 1:
            raise InputError("its pickle ends with other than one value; it is damaged")
        return self.stack[0]

    def _value(self, value: Any) -> None:
        if type(value) is int and value.bit_length() > 8 * LONGEST_NUMBER:
            raise InputError(f"its pickle has an integer of more than {LONGEST_NUMBER} bytes")
        self.stack.append(value)

    def _mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _to_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.below.pop()
        return values

    def _tuple(self, _: Any) -> None:
        values = self._to_mark()
        self.stack.append(tuple(values))

    def _append(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise InputError("its pickle appends to what is no list; it is damaged or hostile")
        self.stack[-1].extend(values)

    def _set(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise InputError("its pickle sets entries of what is no dict; it is damaged or hostile")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # no tuples: hashing one that holds itself many times over takes for ever
            if not isinstance(key, str | int):
                raise InputError(f"its pickle has a dict with a key of type {type(key).__name__}")
            target[key] = value

    def _name(self, full: str) -> None:
        if full not in NAMES and full not in CALLS:
            raise InputError(
                f"its pickle asks for {full[:80]!r}, which arrays do not need; nothing was run"
            )
        self.stack.append(Name(full))

    def _stack_name(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._name(f"{module}.{name}" if isinstance(module, str) else "?")

    def _call(self, _: Any) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        made = CALLS.get(name.full) if isinstance(name, Name) else None
        good = isinstance(arguments, tuple) and len(arguments) <= MOST_ARGUMENTS
        if made is None or not good:
            raise InputError("its pickle calls what arrays do not need; nothing was run")
        self.left -= sum(len(part) for part in arguments if isinstance(part, str | list))
        if self.left < 0:
            raise InputError("its pickle copies more than the file holds; it is hostile")
        plain = [part.full if isinstance(part, Name) else part for part in arguments]
        self.stack.append(made(*plain))

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        give_state(self.stack[-1], state)

    def _reference(self, _: Any) -> None:
        if self.persistent is None:
            raise InputError("its pickle refers to something outside it; only torch's files do")
        reference = self.stack.pop()
        if not isinstance(reference, tuple) or len(reference) > MOST_ARGUMENTS:
            raise InputError("its pickle refers to something in a way that torch does not")
        plain = tuple(part.full if isinstance(part, Name) else part for part in reference)
        self.stack.append(self.persistent(plain))


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,  # every opcode is known, whatever the protocol
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "MARK": _Machine._mark,
    "TUPLE": _Machine._tuple,
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "APPEND": lambda machine, _: machine._append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine._append(machine._to_mark()),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "SETITEM": lambda machine, _: machine._set([machine.stack.pop(), machine.stack.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine._set(machine._to_mark()),
    "GLOBAL": lambda machine, argument: machine._name(argument),
    "STACK_GLOBAL": _Machine._stack_name,
    "REDUCE": _Machine._call,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._reference,
    "MEMOIZE": lambda machine, _: machine.memo.__setitem__(len(machine.memo), machine.stack[-1]),
}
_ALLOWED = {*_VALUES, *_CONSTANTS, *_TUPLES, *_PUTS, *_GETS, *_STEPS}
_NAMES = {opcode.code.encode("latin1"): opcode.name for opcode in pickletools.opcodes}
# the arguments of no other opcode are read either
_OPCODES = {
    opcode.code.encode("latin1"): opcode
    for opcode in pickletools.opcodes
    if opcode.name in _ALLOWED
}

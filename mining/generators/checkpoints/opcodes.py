"""What each allowed opcode of a pickle does to the stack. An opcode without a line is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mining.generators.checkpoints.names import allowed
from mining.generators.checkpoints.nodes import Call, Name, Pairs, Persistent
from mining.generators.checkpoints.stack import Stack, decoded
from schemas.errors import InputError

PROTOCOLS = range(2, 6)
LONGEST_NUMBER = 32  # bytes of an integer; torch's magic number has 10

REFUSED = {  # for the message alone: what is not in OPCODES is refused, named here or not
    b"i": "INST",
    b"o": "OBJ",
    b"\x82": "EXT1",
    b"\x83": "EXT2",
    b"\x84": "EXT4",
    b"\x92": "NEWOBJ_EX",
    b"P": "PERSID",
    b"\x97": "NEXT_BUFFER",
    b"2": "DUP",
    b"S": "STRING",
    b"I": "INT",
    b"L": "LONG",
    b"F": "FLOAT",
    b"V": "UNICODE",
}


def expect(value: Any, kind: type, role: str) -> Any:
    """`value`, if it is of the kind that its role asks for."""
    if type(value) is not kind:
        raise InputError(
            f"{role} is a {type(value).__name__}, expected a {kind.__name__}; "
            "it is damaged or hostile"
        )
    return value


def _protocol(stack: Stack) -> None:
    version = stack.number("<B")
    if version not in PROTOCOLS:
        raise InputError(f"pickle protocol {version} is not read; expected 2 to 5")


def _frame(stack: Stack) -> None:
    length = stack.number("<Q")
    stack.source.part(stack.position, length)  # that many bytes must be there


def _text(layout: str) -> Callable[[Stack], None]:
    def step(stack: Stack) -> None:
        part = stack.skip(stack.number(layout))
        stack.budget.spend_text(part.length)
        stack.push(decoded(part.bytes()))

    return step


def _bytes(layout: str) -> Callable[[Stack], None]:
    return lambda stack: stack.push(stack.skip(stack.number(layout)))


def _integer(layout: str) -> Callable[[Stack], None]:
    return lambda stack: stack.push(stack.number(layout))


def _long(layout: str) -> Callable[[Stack], None]:
    def step(stack: Stack) -> None:
        length = stack.number(layout)
        if not 0 <= length <= LONGEST_NUMBER:
            raise InputError(
                f"an integer of {length} bytes is not read; expected at most {LONGEST_NUMBER}"
            )
        stack.push(int.from_bytes(stack.take(length), "little", signed=True))

    return step


def _tuple(count: int) -> Callable[[Stack], None]:
    def step(stack: Stack) -> None:
        values = [stack.pop() for _ in range(count)]
        stack.push(tuple(reversed(values)))

    return step


def _append(stack: Stack, values: list[Any]) -> None:
    expect(stack.top(), list, "what it appends to").extend(values)


def _add(stack: Stack) -> None:
    values = stack.to_mark()
    target = expect(stack.top(), Call, "what it adds to")
    if target.name is not EMPTY_SET or not target.arguments:
        raise InputError("it adds to something other than a set; it is damaged or hostile")
    target.arguments[0].extend(values)


def _set_items(stack: Stack, values: list[Any]) -> None:
    target = stack.top()
    if not isinstance(target, Pairs | Call) or len(values) % 2:
        raise InputError("it sets entries of something without entries; it is damaged or hostile")
    target.entries.extend(zip(values[::2], values[1::2], strict=True))


def _global(stack: Stack, module: Any, name: Any) -> None:
    expect(module, str, "a module's name")
    expect(name, str, "a class's name")
    if not allowed(module, name):
        shown = repr(f"{module}.{name}"[:80])
        raise InputError(
            f"it asks for {shown}, which is not on the list of names that checkpoints need "
            "(checkpoints/names.py); nothing was run"
        )
    stack.push(Name(module, name))


def _stack_global(stack: Stack) -> None:
    name, module = stack.pop(), stack.pop()
    _global(stack, module, name)


def _call(stack: Stack) -> None:
    arguments = expect(stack.pop(), tuple, "a call's arguments")
    stack.push(Call(expect(stack.pop(), Name, "what it calls"), arguments))


def _build(stack: Stack) -> None:
    state = stack.pop()
    target = expect(stack.top(), Call, "what it gives a state")
    if target.state is not None:
        raise InputError("it gives one object a state twice; it is damaged or hostile")
    target.state = state


def _reference(stack: Stack) -> None:
    if not stack.persistent:
        raise InputError("it refers to something outside the pickle; only torch's files do")
    reference = Persistent(stack.pop())
    stack.references.append(reference)
    stack.push(reference)


def _put(layout: str) -> Callable[[Stack], None]:
    def step(stack: Stack) -> None:
        stack.memo[stack.number(layout)] = stack.top()

    return step


def _memoize(stack: Stack) -> None:
    stack.memo[len(stack.memo)] = stack.top()


def _get(layout: str) -> Callable[[Stack], None]:
    return lambda stack: stack.recall(stack.number(layout))


EMPTY_SET = Name("builtins", "set")  # sets without a call, as protocol 4 writes them

OPCODES: dict[bytes, Callable[[Stack], None]] = {
    b"\x80": _protocol,
    b"\x95": _frame,
    b"(": Stack.mark,
    b"N": lambda stack: stack.push(None),
    b"\x88": lambda stack: stack.push(True),
    b"\x89": lambda stack: stack.push(False),
    b"J": _integer("<i"),
    b"K": _integer("<B"),
    b"M": _integer("<H"),
    b"\x8a": _long("<B"),
    b"\x8b": _long("<i"),
    b"G": _integer(">d"),
    b"\x8c": _text("<B"),
    b"X": _text("<I"),
    b"\x8d": _text("<Q"),
    b"C": _bytes("<B"),
    b"B": _bytes("<I"),
    b"\x8e": _bytes("<Q"),
    b"\x96": _bytes("<Q"),  # a bytearray, as NumPy writes arrays with protocol 5
    b")": _tuple(0),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"t": lambda stack: stack.push(tuple(stack.to_mark())),
    b"]": lambda stack: stack.push([]),
    b"a": lambda stack: _append(stack, [stack.pop()]),
    b"e": lambda stack: _append(stack, stack.to_mark()),
    b"}": lambda stack: stack.push(Pairs()),
    b"s": lambda stack: _set_items(stack, [stack.pop(), stack.pop()][::-1]),
    b"u": lambda stack: _set_items(stack, stack.to_mark()),
    b"\x8f": lambda stack: stack.push(Call(EMPTY_SET, ([],))),
    b"\x90": _add,
    b"c": lambda stack: _global(stack, stack.line(), stack.line()),
    b"\x93": _stack_global,
    b"R": _call,
    b"\x81": _call,
    b"b": _build,
    b"Q": _reference,
    b"q": _put("<B"),
    b"r": _put("<I"),
    b"\x94": _memoize,
    b"h": _get("<B"),
    b"j": _get("<I"),
}

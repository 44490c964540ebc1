"""Reads FLAME's pickles, most of them of Python 2, by the checkpoints' machine: nothing is called.

Beyond what checkpoints need there are the text opcodes of protocols 0 and 1, strings of bytes,
chumpy's arrays and SciPy's sparse matrices; names are on a list of their own. It runs in the
process of `bound`.
"""

from __future__ import annotations

import codecs
import mmap
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.generators.checkpoints.arrays import TensorRef
from mining.generators.checkpoints.converting import Converter, Rules
from mining.generators.checkpoints.names import DICTS, DTYPES, NUMPY, SETS, STORAGES
from mining.generators.checkpoints.nodes import Budget, Call, Name, Pairs, Slice
from mining.generators.checkpoints.opcodes import OPCODES
from mining.generators.checkpoints.rules import RULES
from mining.generators.checkpoints.stack import Stack
from mining.shape3d.readers.npz import MAGIC, npy_header
from schemas.errors import InputError

CHUMPY = "chumpy.ch.Ch"
RECREATE = {"copy_reg._reconstructor", "copyreg._reconstructor"}  # objects in protocols 0 and 1
SPARSE = {"scipy.sparse.csc.csc_matrix", "scipy.sparse._csc.csc_matrix"}
TORCH = {"torch._utils._rebuild_tensor_v2", "torch.storage._load_from_bytes"}  # DECA's embedding
OTHERS = {"_codecs.encode", "__builtin__.object", "builtins.object", "numpy.dtype", "numpy.ndarray"}
ALLOWED = frozenset(
    {CHUMPY, *RECREATE, *SPARSE, *TORCH, *OTHERS, *DICTS, *SETS, *NUMPY, *STORAGES, *DTYPES}
)
MODEL = ("v_template", "shapedirs", "f")
SKELETON = ("weights", "posedirs", "J_regressor")
EMBEDDING = (
    *("lmk_face_idx", "lmk_b_coords"),
    *("static_lmk_faces_idx", "static_lmk_bary_coords"),
    *("dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords"),
    *("full_lmk_faces_idx", "full_lmk_bary_coords"),
)
SHORT = 256  # bytes of a string of Python 2 that may be a name; longer ones are data
LONGEST_LINE = 4096  # characters of a number or of a memo's place


def model_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a FLAME model that a shape model needs."""
    return _arrays(path, MODEL)


def skeleton_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a FLAME model that turn its joints; a sparse one as the parts of its CSC."""
    return _arrays(path, SKELETON)


def embedding_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a landmark embedding, a pickle or an .npy around one."""
    return _arrays(path, EMBEDDING)


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    source = Slice(mapped, 0, len(mapped))
    at = _behind_npy(source)
    budget = Budget()
    root = _parsed(source.part(at, source.length - at), budget)
    converter = Converter(budget, {}, FLAME_RULES)
    found = {}
    for key, node in _entries(root):
        if key in names:
            value = converter.plain(node)
            if isinstance(value, Columns):
                found |= {f"{key}.{name}": part for name, part in value.parts.items()}
                continue
            if not isinstance(value, TensorRef):
                raise InputError(f"its {key} is a {type(value).__name__}; expected an array")
            found[key] = np.ascontiguousarray(value.read())
    return found


def _behind_npy(source: Slice) -> int:
    """Where the pickle begins: behind the header of an .npy of one object, or at once."""
    start = source.part(0, min(source.length, 4096)).bytes()
    if not start.startswith(MAGIC):
        return 0
    try:
        kind, _, shape, at = npy_header(start)
    except ValueError as error:
        raise InputError(f"it is a damaged .npy: {error}") from None
    if not kind.hasobject or shape != ():
        raise InputError(f"it is an array of {kind} of shape {shape}; expected one dict")
    return at


def _entries(root: Any) -> list[tuple[Any, Any]]:
    """The entries of the dict that a file holds, bare or as the one object of an array."""
    if isinstance(root, Call) and isinstance(root.state, tuple) and len(root.state) == 5:
        inside = root.state[4]
        root = inside[0] if isinstance(inside, list) and len(inside) == 1 else root
    if isinstance(root, Pairs | Call) and all(isinstance(key, str) for key, _ in root.entries):
        return root.entries
    raise InputError("it holds something other than a dict by names")


def _parsed(source: Slice, budget: Budget) -> Any:
    """The root node; as `machine.parse`, with the opcodes and names below."""
    stack = Stack(source, budget, False)
    while True:
        budget.spend_opcode()
        at = stack.position
        opcode = stack.take(1)
        if opcode == b".":
            return stack.result()
        step = STEPS.get(opcode)
        if step is None:
            raise InputError(f"the opcode 0x{opcode.hex()} at byte {at} is not one it may have")
        step(stack)


def _global(stack: Stack, module: Any, name: Any) -> None:
    full = f"{module}.{name}"
    if not (isinstance(module, str) and isinstance(name, str) and full in ALLOWED):
        raise InputError(
            f"it asks for {full[:80]!r}, which no FLAME model needs; nothing was run (arrays of "
            "chumpy other than Ch: save the model again with plain arrays, as .npz)"
        )
    stack.push(Name(module, name))


def _stack_global(stack: Stack) -> None:
    name, module = stack.pop(), stack.pop()
    _global(stack, module, name)


def _line(stack: Stack, longest: int = LONGEST_LINE) -> bytes:
    """The bytes up to the next line feed."""
    start, end = stack.source.offset + stack.position, stack.source.offset + stack.source.length
    at = stack.source.buffer.find(b"\n", start, min(end, start + longest))
    if at < 0:
        raise InputError("a line is cut short or too long; it is damaged")
    text = stack.take(at - start)
    stack.take(1)
    return text


def _whole(text: bytes) -> int:
    digits = text.removesuffix(b"L")
    if len(digits) > 40 or not digits.removeprefix(b"-").isdigit():
        raise InputError(f"{text[:40]!r} stands where a whole number is expected")
    return int(digits)


def _integer(stack: Stack) -> None:
    text = _line(stack)
    stack.push({b"00": False, b"01": True}.get(text) if text in (b"00", b"01") else _whole(text))


def _float(stack: Stack) -> None:
    try:
        stack.push(float(_line(stack)[:64]))
    except ValueError:
        raise InputError("a number is damaged") from None


def _bytes(stack: Stack, data: Slice) -> None:
    """A string of Python 2: text where it is short and plain, else bytes."""
    text = data.bytes() if data.length <= SHORT else b"\xff"
    stack.push(text.decode("ascii") if text.isascii() else data)


def _quoted(stack: Stack) -> None:
    """A string as Python 2 prints it, with escapes."""
    text = _line(stack, stack.source.length)
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise InputError("a text has no quotes (its line ends were changed?); it is damaged")
    try:  # as pickle itself does; no line is read twice, so the file's length bounds the work
        with warnings.catch_warnings(action="error"):
            data = codecs.escape_decode(text[1:-1])[0]  # type: ignore[attr-defined]
    except (ValueError, DeprecationWarning):
        raise InputError("a text has escapes that Python 2 does not write; it is damaged") from None
    _bytes(stack, Slice(data, 0, len(data)))


def _unicode(stack: Stack) -> None:
    text = _line(stack, stack.source.length)
    stack.budget.spend_text(len(text))
    try:
        stack.push(text.decode("raw-unicode-escape"))
    except UnicodeDecodeError:
        raise InputError("a text's escapes are damaged") from None


def _dict(stack: Stack) -> None:
    values = stack.to_mark()
    if len(values) % 2:
        raise InputError("a dict has a key without a value; it is damaged")
    stack.push(Pairs(list(zip(values[::2], values[1::2], strict=True))))


def _put(stack: Stack) -> None:
    stack.memo[_whole(_line(stack))] = stack.top()


STEPS: Mapping[bytes, Callable[[Stack], None]] = {
    **OPCODES,
    b"c": lambda stack: _global(stack, stack.line(), stack.line()),
    b"\x93": _stack_global,
    b"I": _integer,
    b"L": lambda stack: stack.push(_whole(_line(stack))),
    b"F": _float,
    b"S": _quoted,
    b"T": lambda stack: _bytes(stack, stack.skip(stack.number("<i"))),
    b"U": lambda stack: _bytes(stack, stack.skip(stack.number("<B"))),
    b"V": _unicode,
    b"d": _dict,
    b"l": lambda stack: stack.push(stack.to_mark()),
    b"p": _put,
    b"g": lambda stack: stack.recall(_whole(_line(stack))),
}


def _chumpy(converter: Converter, node: Call) -> Any:
    """chumpy's array: an object whose state keeps the numbers as `x`."""
    state = converter.state_of(node)
    if "x" not in state:
        raise InputError("an array of chumpy has no numbers of its own")
    return converter.plain(state["x"])


@dataclass(frozen=True)
class Columns:
    """A sparse matrix of SciPy by compressed columns."""

    parts: Mapping[str, NDArray[Any]]  # data, indices, indptr


def _sparse(converter: Converter, node: Call) -> Columns:
    """SciPy's csc_matrix: an object whose state keeps three arrays."""
    state, parts = converter.state_of(node), {}
    for name in ("data", "indices", "indptr"):
        value = converter.plain(state[name]) if name in state else None
        if not isinstance(value, TensorRef):
            raise InputError(f"a sparse matrix has no {name} of its own")
        parts[name] = np.ascontiguousarray(value.read())
    return Columns(parts)


def _recreated(converter: Converter, node: Call) -> Any:
    """_reconstructor(class, object, None), then the state: an object as protocols 0 and 1 write."""
    if len(node.arguments) != 3 or not isinstance(node.arguments[0], Name):
        raise InputError("an object is made in a way that chumpy's are not")
    return converter.made(Call(node.arguments[0], (), [], node.state))


def _array(converter: Converter, node: Call) -> Any:
    """NumPy's array, whose bytes may have come as a short text."""
    if isinstance(node.state, tuple) and len(node.state) == 5 and isinstance(node.state[4], str):
        data = node.state[4].encode("latin1")
        state = (*node.state[:4], Slice(data, 0, len(data)))
        node = Call(node.name, node.arguments, node.entries, state)
    return RULES[node.name.full](converter, node)


FLAME_RULES: Rules = {
    **{name: RULES[name] for name in (*TORCH, *DICTS, *SETS, "numpy.dtype", "_codecs.encode")},
    **{name: _array if name.endswith("_reconstruct") else RULES[name] for name in NUMPY},
    **dict.fromkeys(RECREATE, _recreated),
    **dict.fromkeys(SPARSE, _sparse),
    CHUMPY: _chumpy,
}

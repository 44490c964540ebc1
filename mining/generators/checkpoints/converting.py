"""From a pickle's nodes to plain containers; the names that it mentions have rules in rules.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mining.generators.checkpoints.arrays import Storage, TensorRef, shown
from mining.generators.checkpoints.names import DTYPES, is_module
from mining.generators.checkpoints.nodes import Budget, Call, Name, Pairs, Persistent, Slice
from mining.generators.checkpoints.plain import Module
from schemas.errors import InputError

DEEPEST = 100  # containers inside containers
MOST_VALUES = 5_000_000  # values in the file once everything shared is written out
LONGEST_BYTES = 1 << 16  # of bytes that are no tensor
LARGEST_KEY = 1 << 31  # larger ones can be chosen so that all of them hash alike
NOTHING = Pairs()
SCALARS = (type(None), bool, int, float, str)

Rules = Mapping[str, Callable[["Converter", Call], Any]]


class Converter:
    """Turns nodes into plain values. What is shared stays shared; a cycle is refused."""

    def __init__(
        self,
        budget: Budget,
        storages: Mapping[Persistent, Storage],
        rules: Rules,
        outer: Converter | None = None,
    ) -> None:
        self.budget = budget
        self.storages = storages
        self.rules = rules
        self.nested = outer is not None  # inside a torch file that is itself a byte string
        self.depth = outer.depth if outer else 0
        self.values = 0
        self.done: dict[int, tuple[Any, Any, int]] = {}  # by identity: node, value, values in it
        self.open: set[int] = set()

    def plain(self, node: Any) -> Any:
        """The plain value of one node.

        Raises:
            InputError: it is of a kind that no checkpoint needs, nests too deep or contains itself.
        """
        if isinstance(node, SCALARS):
            self.count(1)
            return node
        key = id(node)
        if key in self.done:
            _, value, values = self.done[key]
            self.count(values)
            return value
        if key in self.open:
            raise InputError("a value contains itself, as none of a checkpoint does")
        if self.depth >= DEEPEST:
            raise InputError(f"values nest deeper than {DEEPEST}")
        before = self.values
        self.count(1)
        self.open.add(key)
        self.depth += 1
        value = self.made(node)
        self.depth -= 1
        self.open.remove(key)
        self.done[key] = node, value, self.values - before
        return value

    def count(self, values: int) -> None:
        self.values += values
        if self.values > MOST_VALUES:
            raise InputError(f"it stands for more than {MOST_VALUES} values once written out")

    def made(self, node: Any) -> Any:
        match node:
            case list():
                return [self.plain(value) for value in node]
            case tuple():
                return tuple(self.plain(value) for value in node)
            case Pairs():
                return self.mapping(node.entries)
            case Slice():
                return _short(node)
            case Persistent():
                return self.storages[node]
            case Name() if node.full in DTYPES:
                return DTYPES[node.full]
            case Call() if node.name.full in self.rules:
                return self.rules[node.name.full](self, node)
            case Call() if is_module(node.name.full):
                return self.module(node.name.full, self.state_of(node))
        what = node.name.full if isinstance(node, Call) else shown(node)
        raise InputError(f"{what} stands where no checkpoint has it")

    def mapping(self, entries: list[tuple[Any, Any]]) -> dict[Any, Any]:
        """A dict; its keys are texts or small numbers."""
        return {self.key(key): self.plain(value) for key, value in entries}

    def key(self, key: Any) -> Any:
        small = isinstance(key, int) and abs(key) <= LARGEST_KEY
        if not (small or key is None or isinstance(key, str)):
            raise InputError(f"a {type(key).__name__} is a key; expected a text or a small number")
        self.count(1)
        return key

    def inner(self, state: Mapping[str, Any], name: str) -> dict[str, Any]:
        """One of a module's dicts, such as `_parameters`, by text."""
        found = self.plain(state.get(name, NOTHING))
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
            raise InputError(f"a module's {name} is not a dict by names")
        return found

    def state_of(self, node: Call) -> dict[str, Any]:
        """The state that an object was given: a dict by names."""
        if not isinstance(node.state, Pairs) or node.entries:
            raise InputError(f"an object of {node.name.full} has no state, expected a dict")
        return self.named(node.state)

    def named(self, node: Any) -> dict[str, Any]:
        """A dict by names whose values are still nodes; counted, as many may share it."""
        if not isinstance(node, Pairs):
            raise InputError("an object's state is not a dict by names")
        self.count(len(node.entries))
        if not all(isinstance(key, str) for key, _ in node.entries):
            raise InputError("an object's state is not a dict by names")
        return dict(node.entries)

    def module(self, class_name: str, state: Mapping[str, Any]) -> Module:
        """A torch module from what it keeps."""
        parameters, buffers = self.inner(state, "_parameters"), self.inner(state, "_buffers")
        modules = self.inner(state, "_modules")
        all_of(parameters | buffers, TensorRef)
        all_of(modules, Module)
        arguments = self.plain(state.get("_init_args", ()))
        return Module(
            class_name,
            arguments if isinstance(arguments, tuple) else (),
            self.inner(state, "_init_kwargs"),
            parameters,
            buffers,
            modules,
            {k: self.plain(v) for k, v in state.items() if not k.startswith("_")},
        )


def _short(node: Slice) -> bytes:
    if node.length > LONGEST_BYTES:
        raise InputError(f"{node.length} bytes stand where no checkpoint has that many")
    return node.bytes()


def all_of(values: Mapping[str, Any], kind: type) -> None:
    for name, value in values.items():
        if value is not None and not isinstance(value, kind):
            raise InputError(f"{name[:80]!r} is a {type(value).__name__}, not a {kind.__name__}")

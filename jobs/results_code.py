"""Which code a result hangs on: the module that computes it and all of ours that it imports."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

OURS = ("mining", "schemas", "storage", "jobs")
LISTS = "registry"  # modules of this name only say where things are, and grow with every new one


@functools.lru_cache(maxsize=256)
def code_digest(*modules: str) -> str:
    """SHA-256 over the sources of the modules, and of ours that they import, however deep.

    Imports within functions count, those for type checkers alone do not. What a registry names is
    not followed: name its module too.
    """
    found: dict[str, bytes] = {}
    waiting = [*modules]
    while waiting:
        name = waiting.pop()
        if name in found or (name.rpartition(".")[2] == LISTS and name not in modules):
            continue
        found[name] = _source(name)
        waiting += _imported(name)
    total = hashlib.sha256()
    for name, source in sorted(found.items()):
        total.update(name.encode() + b"\0" + hashlib.sha256(source).digest())
    return total.hexdigest()


def _source(module: str) -> bytes:
    """The bytes of a module's file; b"" where it is not to be found."""
    path = _file(module)
    return b"" if path is None else path.read_bytes()


@functools.lru_cache(maxsize=4096)
def _file(module: str) -> Path | None:
    """Where a module lies; nothing is imported to find out."""
    root, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not inner and spec.has_location and spec.origin:
        return Path(spec.origin)
    for folder in spec.submodule_search_locations or ():
        place = Path(folder, *inner)
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                return path
    return None


@functools.lru_cache(maxsize=4096)
def _imported(module: str) -> tuple[str, ...]:
    """The modules of ours, or of the module's own package, that a module imports."""
    try:
        tree = ast.parse(_source(module))
    except (SyntaxError, ValueError):  # compiled
        return ()
    roots = {*OURS, module.partition(".")[0]}
    found: list[str] = []
    for node in _statements(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found += [name for name in names if name.partition(".")[0] in roots]
    return tuple(name for name in found if _file(name) is not None)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        yield node
        yield from _statements(node)

"""Reads YAML from a file, a URL or an argument into values that JSON could hold."""

from __future__ import annotations

import json
from typing import Any

import yaml

from schemas.errors import InputError
from schemas.registry import missing_client
from schemas.remote import is_remote

MOST_BYTES = 1_000_000  # of a settings file
MOST_VALUES = 1_000_000  # more than so many bytes can write out


class _Loader(yaml.SafeLoader):
    """Plain YAML, less two traps.

    2024-01-01 is a string: JSON, which manifests are, knows no dates. A key that stands twice in
    one mapping is refused, where PyYAML would drop the first.
    """

    yaml_implicit_resolvers = {
        first: [(tag, shape) for tag, shape in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    # not when it is constructed: `<<` has put the keys of others into it by then
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        plain = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in plain:
            before = lines.get((key.tag, key.value))
            if before is not None:
                said = f"the key {key.value!r} stands twice, first in line {before}; keep one"
                raise yaml.MarkedYAMLError(problem=said, problem_mark=key.start_mark)
            lines[key.tag, key.value] = key.start_mark.line + 1
        return node


def read_yaml(path: str) -> dict[str, Any]:
    """The mapping in a YAML file or URL of at most 1 MB."""
    import fsspec

    try:
        with fsspec.open(path, "rb") as file:
            text = file.read(MOST_BYTES + 1)  # type: ignore[union-attr]
    except ImportError as error:
        raise missing_client(f"settings file {path}", error) from None
    except Exception as error:
        if not (isinstance(error, OSError | ValueError) or is_remote(error)):
            raise
        said = getattr(error, "strerror", None) or _one_line(error)  # without the path again
        raise InputError(f"settings file {path} cannot be read: {said.rstrip('.')}.") from None
    if len(text) > MOST_BYTES:
        raise InputError(f"settings file {path} is larger than {MOST_BYTES:,} bytes.")
    stored = parse_yaml(text, f"settings file {path}")
    if stored is None:
        return {}
    if not isinstance(stored, dict):
        raise InputError(f"settings file {path} holds a {type(stored).__name__}, not a mapping.")
    for key in stored:
        if not isinstance(key, str):
            raise InputError(f"settings file {path}: the key {key!r} is no string.")
    return stored


def parse_yaml(text: str | bytes, who: str) -> Any:
    """The plain value that YAML text stands for; InputError where JSON could not hold it."""
    try:
        value = yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        raise InputError(f"{who} is not YAML: {_place(error)}.") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # beside its own errors, PyYAML lets those of unfit tags through, as in `!!bool maybe`
        raise InputError(f"{who} is not YAML: {_one_line(error)}") from None
    try:
        _refuse_explosion(value, who)
        json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{who} holds what JSON does not know: {_one_line(error)}") from None
    return value


def _refuse_explosion(value: Any, who: str) -> None:
    """A few nested aliases stand for more values than any memory holds."""
    count, waiting = 0, [(value, ())]
    while waiting:
        inner, within = waiting.pop()
        count += 1
        if count > MOST_VALUES:
            raise InputError(f"{who} stands for more than {MOST_VALUES:,} values by its aliases.")
        if id(inner) in within:
            return  # it holds itself, which JSON refuses
        parts = inner.values() if isinstance(inner, dict) else inner
        if isinstance(inner, dict | list):
            waiting += [(part, (*within, id(inner))) for part in parts]


def _place(error: yaml.MarkedYAMLError) -> str:
    """The line that PyYAML means, and what it says about it."""
    said, mark, start = error.problem or "", error.problem_mark, error.context_mark
    if r"'\t'" in said:
        said = "a tab stands where YAML wants spaces; put spaces there"
    elif error.context:
        since = f" that begins in line {start.line + 1}" if start else ""
        said = f"{said} {error.context}{since}"
    return " ".join((f"line {mark.line + 1}: {said}" if mark else said).split())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

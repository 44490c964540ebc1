"""Turns arguments into what argparse understands: negative numbers, `--mapping.key value`."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.errors import InputError
from schemas.plain_yaml import parse_yaml


def join_numbers(words: Sequence[str]) -> list[str]:
    """Turn `--key -1,1` into `--key=-1,1`, since argparse takes -1,1 for an option."""
    result: list[str] = []
    for word in words:
        before = result[-1] if result else ""
        if re.match(r"-\.?\d", word) and before.startswith("--") and "=" not in before:
            result[-1] = f"{before}={word}"
        else:
            result.append(word)
    return result


def split_options(words: Sequence[str], mapping: str) -> tuple[dict[str, Any], list[str]]:
    """The options that `--mapping.key value` in the arguments give, and the other arguments.

    Raises:
        InputError: a value is missing, or is not YAML.
    """
    rest, joined = _parted(words, [mapping])
    return joined.get(mapping, {}), rest


def join_options(words: Sequence[str], mappings: Iterable[str]) -> list[str]:
    """Turn every `--mapping.key.sub value` into one `--mapping '{"key": {"sub": value}}'`."""
    result, joined = _parted(words, mappings)
    return result + [f"--{owner}={json.dumps(options)}" for owner, options in joined.items()]


def _parted(
    words: Sequence[str], mappings: Iterable[str]
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The words that set no key of these mappings, and what the others set in each of them."""
    result: list[str] = []
    joined: dict[str, dict[str, Any]] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        key, equals, value = word.removeprefix("--").partition("=")
        owner = next((m for m in mappings if key.startswith(f"{m}.")), None)
        if not word.startswith("--") or owner is None:
            result.append(word)
            continue
        if not equals:
            if not queue:
                raise InputError(f"arguments: {word} needs a value.")
            value = queue.pop(0)
        inner = parse_yaml(value, f"arguments: --{key} {reprlib.repr(value)}")
        for part in reversed(_parts(key[len(owner) + 1 :])):
            inner = {part: inner}
        joined[owner] = _merged(joined.get(owner, {}), inner)
    return result, joined


def _parts(key: str) -> list[str]:
    """The names in a dotted key; dots before a colon belong to "package.module:Class"."""
    module, colon, rest = key.rpartition(":")
    first, *others = rest.split(".")
    return [f"{module}{colon}{first}", *others]


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings, the second over the first, at every depth."""
    result = dict(one)
    for key, value in other.items():
        under = result.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            value = _merged(under, value)
        result[key] = value
    return result

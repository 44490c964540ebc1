"""The numbers and words of a dataclass beside its arrays, as JSON and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from schemas.errors import CorruptDataError

MOST_ENTRIES = 100_000  # of a loss curve
LONGEST = 10_000  # characters of a text


def facts_of(kept: Any) -> dict[str, Any]:
    """Field -> value of what `read_facts` reads back; NaN and infinity become None."""
    return {
        field.name: _plain(getattr(kept, field.name))
        for field in dataclasses.fields(kept)
        if field.type in _READERS
    }


def read_facts(kind: type, stored: Any, who: str) -> dict[str, Any]:
    """The arguments of a dataclass from what `facts_of` wrote, checked against its types.

    A field that came later and has a default may be missing; one that is unknown is left out.

    Raises:
        CorruptDataError: a value is of another type, or missing.
    """
    if not isinstance(stored, Mapping):
        raise CorruptDataError(f"its {who} is {str(stored)[:40]!r}, expected an object.")
    found = {}
    for field in dataclasses.fields(kind):
        if field.type not in _READERS:
            continue
        if field.name in stored:
            value = stored[field.name]
            try:
                found[field.name] = _READERS[field.type](value)
            except (TypeError, ValueError, OverflowError):
                raise CorruptDataError(
                    f"{who}.{field.name} is {str(value)[:40]!r}, expected {field.type}."
                ) from None
        elif field.default is dataclasses.MISSING:
            raise CorruptDataError(f"{who}.{field.name} is missing.")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def _text(value: Any) -> str:
    if type(value) is not str or len(value) > LONGEST:
        raise ValueError
    return value


def _numbers(value: Any) -> tuple[float, ...]:
    if type(value) is not list or len(value) > MOST_ENTRIES:
        raise ValueError
    return tuple(_number(each) for each in value)


def _wholes(value: Any) -> tuple[int, ...]:
    if type(value) is not list or len(value) > MOST_ENTRIES:
        raise ValueError
    return tuple(_whole(each) for each in value)


# by the annotation, a string since annotations are not evaluated; what is not here is an array
_READERS: Mapping[Any, Callable[[Any], Any]] = {
    "float": _number,
    "int": _whole,
    "bool": _flag,
    "str": _text,
    "tuple[float, ...]": _numbers,
    "tuple[int, ...]": _wholes,
}

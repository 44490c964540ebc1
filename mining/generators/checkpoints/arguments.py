"""A network's arguments as JSON values, whoever wrote the file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mining.generators.checkpoints.arrays import TensorRef, shown
from schemas.errors import InputError

MOST_NUMBERS = 64  # of a tensor that is an argument, such as a camera's pivot
LARGEST = 1 << 16  # of a whole number that says how many or how wide
LONGEST = 200  # characters of a text among the arguments
DEEPEST = 4  # containers inside containers
FLOATS = ("float16", "bfloat16", "float32", "float64")


def as_json(value: Any, what: str) -> Any:
    """The same value made of what JSON knows: tuples and short tensors become lists.

    Raises:
        InputError: it is of another kind, or no number.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, TensorRef) and math.prod(value.shape) <= MOST_NUMBERS:
        return as_json(value.read().tolist(), what)
    if isinstance(value, list | tuple):
        return [as_json(each, what) for each in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: as_json(each, f"{what}.{key[:40]}") for key, each in value.items()}
    raise InputError(f"its argument {what} is {value!r:.80}; expected plain values")


def check_bounds(config: Any, depth: int = 0) -> None:
    """Refuse JSON values that are larger than any network's arguments, or hurt a terminal.

    Raises:
        InputError: a number, a text or a container is.
    """
    match config:
        case dict() if len(config) <= MOST_NUMBERS and depth < DEEPEST:
            for each in (*config, *config.values()):
                check_bounds(each, depth + 1)
        case list() if len(config) <= MOST_NUMBERS and depth < DEEPEST:
            for each in config:
                check_bounds(each, depth + 1)
        case str() if len(config) <= LONGEST and config.isprintable():
            pass
        case bool() | None:
            pass
        case int() | float() if abs(config) <= LARGEST << 4:
            pass
        case _:
            raise InputError(f"its arguments hold {shown(config)}, more than a network needs")


def named(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by position and by name, all by name.

    Raises:
        InputError: there are more than names, or one came twice.
    """
    if len(args) > len(names) or set(names[: len(args)]) & set(kwargs):
        raise InputError(f"its network was made with {len(args)} arguments by position")
    return {**dict(zip(names, args, strict=False)), **kwargs}


def options(value: Any, what: str) -> dict[str, Any]:
    """Arguments inside an argument; none where it is None.

    Raises:
        InputError: it is no dict by names.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError(f"its argument {what} is {value!r:.80}; expected arguments by name")
    return dict(value)


def whole(value: Any, what: str, least: int = 0) -> int:
    """A whole number that is not absurd.

    Raises:
        InputError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
        raise InputError(f"its {what} is {value!r:.40}; expected a whole number from {least} on")
    return value


def resolutions(img_resolution: Any) -> list[int]:
    """4, 8, ... up to the image's width in pixels.

    Raises:
        InputError: it is no power of two from 4 on.
    """
    width = whole(img_resolution, "resolution", 4)
    if width & (width - 1):
        raise InputError(f"its resolution is {width}; expected a power of two")
    return [2**n for n in range(2, width.bit_length())]


def taps_of(value: Any) -> list[float]:
    """The numbers of a low-pass filter in one direction; their sum is not 0.

    Raises:
        InputError: it is something else.
    """
    plain = isinstance(value, list | tuple) and 0 < len(value) <= MOST_NUMBERS
    if not plain or not all(type(tap) in (int, float) and abs(tap) < LARGEST for tap in value):
        raise InputError(f"its filter is {value!r:.80}; expected a few numbers")
    if not abs(sum(value)) > 1e-6:
        raise InputError(f"its filter {value!r:.80} lets nothing through")
    return list(value)


def unless(features: Any, usual: int) -> int | None:
    """None where it says what None means: the same networks get the same arguments."""
    return None if features is None or features == usual else whole(features, "features", 1)

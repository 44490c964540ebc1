"""One object of a JSON document, read field by field: types, bounds, nothing left over.

The first thing that is wrong ends the reading, so that a hostile document costs no more than its
parsing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from typing import Any, NoReturn

from schemas.directions import Artefact, Calibration, DirectionCard, Provenance, Response
from schemas.errors import InputError

LONGEST_TEXT = 1 << 20  # characters
_WHOLE = 2**63


class Fields:
    """A JSON object; `done` after the last field."""

    def __init__(self, value: Any, who: str) -> None:
        if not isinstance(value, dict):
            raise InputError(f"{who}: {_shown(value)}; expected an object.")
        self._left = dict(value)
        self.who = who

    def done(self) -> None:
        """Refuse what no field asked for."""
        for name in self._left:
            raise InputError(
                f"{self.who}: unknown field {name[:60]!r}; a newer LatentLode may have written it: "
                "pip install --upgrade latentlode."
            )

    def take(self, name: str, *default: Any) -> Any:
        """The value of a field, unchecked."""
        if name not in self._left and not default:
            raise InputError(f"{self.who}: no field {name!r}.")
        return self._left.pop(name, *default)

    def text(self, name: str, *default: str) -> str:
        """A text that can be written again."""
        return _text(self.take(name, *default), f"{self.who}, {name}")

    def number(self, name: str, *default: None) -> float:
        """A float; null is NaN, what was not measured."""
        return _number(self.take(name, *default), f"{self.who}, {name}")

    def whole(self, name: str, low: int, *default: int | None) -> int:
        """A whole number from `low` that fits 64 bits."""
        value = self.take(name, *default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < _WHOLE:
            _wrong(f"{self.who}, {name}", value, f"a whole number from {low}, of 64 bits")
        return value

    def items(self, name: str, *default: Any) -> list[Any]:
        """A list, its items unchecked."""
        value = self.take(name, *default)
        return value if isinstance(value, list) else _wrong(f"{self.who}, {name}", value, "a list")

    def table(self, name: str) -> dict[str, Any]:
        """An object with names of its own, its values unchecked; {} where it is missing."""
        value = self.take(name, {})
        if not isinstance(value, dict):
            _wrong(f"{self.who}, {name}", value, "an object")
        return {_text(key, f"{self.who}, {name}"): item for key, item in value.items()}

    def part(self, name: str, *default: None) -> Fields | None:
        """An object within; None for null."""
        value = self.take(name, *default)
        return None if value is None else Fields(value, f"{self.who}, {name}")


def parse(data: bytes, who: str) -> Any:
    """JSON as Python has it; InputError where it is none."""
    try:
        return json.loads(data, parse_constant=_constant)
    except RecursionError:
        raise InputError(f"{who}: its lists or objects are nested too deep.") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, too many digits
        raise InputError(f"{who}: not JSON: {' '.join(str(error).split())[:200]}.") from None


def read_fields(value: Any, who: str) -> tuple[dict[str, Any], str, Fields]:
    """A card's fields but the vector; its id and its vector are left to the caller."""
    card = Fields(value, who)
    told, vector = card.text("direction_id"), card.part("vector")
    if vector is None:
        raise InputError(f"{who}: the vector is null.")
    read: dict[str, Any] = {"provenance": _provenance(card.part("provenance"), who)}
    for field in fields(DirectionCard):
        if field.type == "str":
            default = () if field.default is MISSING else (str(field.default),)
            read[field.name] = card.text(field.name, *default)
        elif field.type == "float":  # those have NaN as their default
            read[field.name] = card.number(field.name, None)
    if read["space"] not in ("z", "w", "w+", "s"):
        _wrong(f"{who}, space", read["space"], "z, w, w+ or s")
    read["layers"] = _layers(card.items("layers", []), who)
    read["tags"] = tuple(_text(tag, f"{who}, tags") for tag in card.items("tags", []))
    read["responses"] = tuple(_response(item, who) for item in card.items("responses", []))
    evidence = card.table("evidence").items()
    read["evidence"] = {key: _number(item, f"{who}, evidence") for key, item in evidence}
    read["calibration"] = _calibration(card.part("calibration", None))
    read["artefact"] = _artefact(card.part("artefact", None))
    cosine = card.number("truth_cosine", None)
    read["truth_cosine"] = None if math.isnan(cosine) else cosine
    version = card.take("version", None)
    read["version"] = (
        None if version is None else Fields({"version": version}, who).whole("version", 1)
    )
    card.done()
    return read, told, vector


def _response(value: Any, who: str) -> Response:
    item = Fields(value, f"{who}, responses")
    attribute, unit = item.text("attribute"), item.text("unit")
    per_step, low, high = item.number("per_step"), item.number("low"), item.number("high")
    read = Response(attribute, unit, per_step, low, high, item.number("spread"))
    item.done()
    return read


def _provenance(item: Fields | None, who: str) -> Provenance:
    if item is None:
        raise InputError(f"{who}: the provenance is null.")
    packages = item.table("packages").items()
    read = Provenance(
        item.text("dataset_id"),
        item.whole("seed", -_WHOLE),
        item.text("settings"),
        item.text("code_version"),
        {key: _text(value, f"{item.who}, packages") for key, value in packages},
        _time(item.take("created_at", None), item.who),
    )
    item.done()
    return read


def _calibration(item: Fields | None) -> Calibration | None:
    if item is None:
        return None
    read = Calibration(
        item.number("step"),
        item.number("low"),
        item.number("high"),
        _numbers(item, "values"),
        _numbers(item, "steps"),
        item.number("monotonic", None),
        item.number("error", None),
    )
    item.done()
    return read


def _numbers(item: Fields, name: str) -> tuple[float, ...]:
    return tuple(_number(each, f"{item.who}, {name}") for each in item.items(name, []))


def _artefact(item: Fields | None) -> Artefact | None:
    if item is None:
        return None
    read = Artefact(item.text("kind"), item.text("sha256"), item.whole("bytes", 0))
    if len(read.sha256) != 64 or not set(read.sha256) <= set("0123456789abcdef"):
        _wrong(f"{item.who}, sha256", read.sha256, "64 hexadecimal digits")
    item.done()
    return read


def _layers(items: list[Any], who: str) -> tuple[int, ...]:
    for layer in items:
        Fields({"layers": layer}, who).whole("layers", 0)
    return tuple(items)


def _time(value: Any, who: str) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(_text(value, who))
    except ValueError:
        _wrong(f"{who}, created_at", value, "a time as ISO 8601")


def _text(value: Any, who: str) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        _wrong(who, value, f"a text of {LONGEST_TEXT:,} characters at most")
    try:
        value.encode()
    except UnicodeEncodeError:
        _wrong(who, value, "Unicode, here is half a surrogate pair")
    return value


def _number(value: Any, who: str) -> float:
    if value is None:
        return math.nan
    if value in ("inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**1024:
        _wrong(who, value, "a number, null where it was not measured")
    try:
        return float(value)
    except OverflowError:
        _wrong(who, value, "a number of 64 bits")


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _wrong(who: str, value: Any, expected: str) -> NoReturn:
    raise InputError(f"{who}: {_shown(value)}; expected {expected}.")


def _shown(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, str):
        return repr(value[:60])
    return repr(value)[:60] if isinstance(value, float | bool) else f"a {type(value).__name__}"

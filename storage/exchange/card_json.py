"""Direction cards as JSON and back, every digit of them.

    {"latentlode": "cards", "version": 1, "cards": [{"direction_id": ..., "attribute": ..., ...}]}

- A number that was not measured is null, an infinite one "inf" or "-inf"; all others are written
  with as many digits as bring the same float64 back.
- A vector is {"shape": [512], "float32": "<base64 of the little-endian values, C order>"}; in a
  bundle {"shape": [512], "tensor": "<its name in vectors.safetensors>"}.
- `direction_id` repeats what the content hashes to, so that a damaged vector is noticed.

Who reads a document of another trusts nothing: its bytes and values are counted before it is
parsed, unknown fields and wrong types are refused, and so is a vector that is not the id's.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.directions import Artefact, Calibration, DirectionCard, Provenance, Response
from schemas.errors import CorruptDataError, InputError
from storage.exchange.card_fields import Fields, parse, read_fields

VERSION = 1
MOST_BYTES = 128 << 20  # of a document
MOST_VALUES = 2_000_000  # objects, lists and their items, which decide the memory: 10,000 cards
MOST_NUMBERS = 1 << 20  # of one vector

_HEAD = re.compile(rb'\s*\{\s*"latentlode"\s*:\s*"cards"')


def looks_like_cards(head: bytes) -> bool:
    """Whether a file that begins so is meant to hold cards; `from_json` checks the rest."""
    return _HEAD.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def to_json(cards: Sequence[DirectionCard], apart: bool = False) -> bytes:
    """The document of some cards.

    Args:
        apart: the vectors lie elsewhere, each under its direction_id.

    Raises:
        InputError: a text holds half a surrogate pair, or it is more than `from_json` would read.
    """
    document = {
        "latentlode": "cards",
        "version": VERSION,
        "cards": [card_document(card, apart) for card in cards],
    }
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    try:
        data = f"{text}\n".encode()
    except UnicodeEncodeError as error:
        raise InputError(f"export: a card holds text that is not Unicode: {error}.") from None
    check_size(data, f"export: {len(cards)} cards", "Export fewer at a time.")
    return data


def from_json(
    data: bytes, who: str = "cards", tensors: Mapping[str, NDArray[np.float32]] | None = None
) -> list[DirectionCard]:
    """The cards of a document, in its order.

    Args:
        who: what the document is, for messages: its path.
        tensors: the vectors that lie apart, by name.

    Raises:
        InputError: it is no such document, another version wrote it, or it is too large.
        CorruptDataError: a card's id is not that of its content.
    """
    check_size(data, who, "Split the file.")
    document = Fields(parse(data.removeprefix(b"\xef\xbb\xbf"), who), who)
    if document.take("latentlode", None) != "cards":
        raise InputError(f"{who}: no cards of LatentLode; expected what its export writes.")
    version = document.whole("version", 0)
    if version != VERSION:
        raise InputError(
            f"{who}: cards of version {version}, this LatentLode reads version {VERSION}; "
            "install a newer one: pip install --upgrade latentlode."
        )
    cards = document.items("cards")
    document.done()
    return [_card(item, f"{who}, card {at}", tensors or {}) for at, item in enumerate(cards)]


def card_document(card: DirectionCard, apart: bool) -> dict[str, Any]:
    """One card as plain values; see the module's docstring."""
    vector = np.ascontiguousarray(card.vector, "<f4")
    place = {"tensor": card.direction_id}
    if not apart:
        place = {"float32": base64.b64encode(vector.tobytes()).decode()}
    document = {"direction_id": card.direction_id}
    document |= {field.name: _plain(getattr(card, field.name)) for field in fields(card)}
    return document | {"vector": {"shape": list(card.vector.shape), **place}}


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Response | Provenance | Artefact | Calibration):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, float | np.floating):
        return _number(float(value))
    return value.item() if isinstance(value, np.generic) else value


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def _card(value: Any, who: str, tensors: Mapping[str, NDArray[np.float32]]) -> DirectionCard:
    """The card of one object."""
    read, told, vector = read_fields(value, who)
    card = DirectionCard(vector=_vector(vector, tensors), **read)
    if card.direction_id != told:
        raise CorruptDataError(
            f"{who}: direction {told[:32]!r} holds what hashes to {card.direction_id}; the file "
            "was damaged or edited. Export it again."
        )
    return card


def _vector(item: Fields, tensors: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    lengths = item.items("shape")
    shape = tuple(Fields({"shape": length}, item.who).whole("shape", 0) for length in lengths)
    if len(shape) not in (1, 2) or math.prod(shape) > MOST_NUMBERS:
        raise InputError(
            f"{item.who}: {len(shape)} axes of {math.prod(shape):,} numbers; expected 1 or 2 and "
            f"{MOST_NUMBERS:,} at most."
        )
    name = item.take("tensor", None)
    raw = b"" if name is not None else _unpacked(item.text("float32"), item.who)
    item.done()
    if name is not None:
        found = tensors.get(name) if isinstance(name, str) else None
        if found is None or found.shape != shape:
            came = "is missing" if found is None else f"has shape {found.shape}"
            raise InputError(f"{item.who}: its tensor {came}; expected {shape}.")
        return found
    if len(raw) != 4 * math.prod(shape):
        raise InputError(f"{item.who}: {len(raw)} bytes; expected {shape} numbers of 4.")
    return np.frombuffer(raw, "<f4").reshape(shape).astype(np.float32)


def _unpacked(text: str, who: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{who}: not base64: {error}.") from None


def check_size(data: bytes, who: str, then: str) -> None:
    """Refuse JSON that would take too much memory once it is parsed."""
    if len(data) > MOST_BYTES:
        raise InputError(f"{who}: {len(data):,} bytes of JSON, {MOST_BYTES:,} are read. {then}")
    values = sum(data.count(mark) for mark in (b",", b"[", b"{"))
    if values > MOST_VALUES:
        raise InputError(f"{who}: {values:,} values in JSON, {MOST_VALUES:,} are read. {then}")

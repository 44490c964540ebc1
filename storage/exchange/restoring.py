"""Cards that a catalogue of LatentLode exported, read back exactly: a bundle or a JSON document."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.directions import DirectionCard
from storage.exchange.bundle import CARDS, read_bundle
from storage.exchange.card_json import from_json, looks_like_cards

_ZIP, _NAME_AT = b"PK\x03\x04", 30  # where the first member's name stands
_HEAD = 4096  # bytes within which a document says what it is

Restored = tuple[list[DirectionCard], Mapping[str, bytes]]  # and the artefacts by SHA-256


def restored(data: bytes) -> Restored | None:
    """The cards of a bundle or of a document, None where the bytes are neither.

    Raises:
        InputError: it begins as one of them and is damaged, of another version or too large.
        CorruptDataError: a vector or an artefact is not what its hash says.
    """
    if data.startswith(_ZIP) and data[_NAME_AT : _NAME_AT + len(CARDS)] == CARDS.encode():
        return read_bundle(data)
    if looks_like_cards(data[:_HEAD]):
        return from_json(data, "its document"), {}
    return None

"""A bundle: one zip of cards that people can read and `lode catalog import` restores exactly.

    cards.json            the cards, see `card_json`; first, so that a bundle is known by its start
    vectors.safetensors   their vectors, float32, each under its direction_id
    artefacts/<sha256>.safetensors   what a card stands for instead of a vector
    licences.json         which licence each direction and its generator have
    README.md             tables and pictures, for whoever opens the folder
    pictures/<direction_id>/<row>_<column>.jpg

The same cards, artefacts and pictures give the same bytes: nothing is packed, times are 1980-01-01.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from schemas.directions import DirectionCard
from schemas.errors import CorruptDataError, InputError
from storage.exchange.bundle_page import page, picture_name
from storage.exchange.card_json import MOST_BYTES, from_json, to_json
from storage.exchange.licences import LICENCES, licences_json
from storage.exchange.safetensors_out import safetensors_bytes
from storage.exchange.zip_members import Members

CARDS, VECTORS, README = "cards.json", "vectors.safetensors", "README.md"
MOST_VECTORS = 256 << 20  # bytes
MOST_ARTEFACTS = 512 << 20  # bytes of all of them
MOST_MEMBERS, MOST_BUNDLE = 65_000, 2_000_000_000  # files and bytes of a zip without zip64
MOST_DIRECTORY = 8 << 20  # bytes of the list of so many files

_BEFORE = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can say
_NAME_AT = 30  # where a member's local header has its name


@dataclass(frozen=True)
class Pictures:
    """What one direction does: a row per identity, a column per step."""

    direction_id: str
    steps: tuple[float, ...]  # in sigma, ascending
    rows: tuple[tuple[bytes, ...], ...]  # JPEG files, each row as long as steps


def looks_like_bundle(path: str | os.PathLike[str]) -> bool:
    """Whether a local file starts as a bundle does; `read_bundle` checks the rest."""
    with Path(path).open("rb") as file:
        head = file.read(_NAME_AT + len(CARDS))
    return head.startswith(b"PK\x03\x04") and head[_NAME_AT:] == CARDS.encode()


def write_bundle(
    cards: Sequence[DirectionCard],
    artefacts: Mapping[str, bytes] | None = None,
    pictures: Sequence[Pictures] = (),
) -> bytes:
    """The zip of some cards, versions of a lineage from the oldest to the newest.

    Args:
        artefacts: SHA-256 -> bytes of the safetensors files that the cards name.
        pictures: of those cards that have some.

    Raises:
        InputError: an artefact is missing or is not its hash, or it is more than is read again.
    """
    cards = sorted(cards, key=_order)
    held = _artefacts(cards, artefacts or {})
    vectors = {card.direction_id: np.asarray(card.vector, np.float32) for card in cards}
    members = {CARDS: to_json(cards, apart=True), VECTORS: safetensors_bytes(vectors)}
    members |= {_artefact_name(sha256): data for sha256, data in sorted(held.items())}
    if len(members[VECTORS]) > MOST_VECTORS or sum(map(len, held.values())) > MOST_ARTEFACTS:
        raise InputError(f"export: {len(cards)} cards are too much for one bundle; export fewer.")
    shown = {strip.direction_id: strip for strip in pictures if strip.direction_id in vectors}
    members[LICENCES] = licences_json({card.direction_id: card for card in cards})
    members[README] = page(cards, shown).encode()
    for strip in (shown[name] for name in sorted(shown)):
        for row, line in enumerate(strip.rows):
            for column, jpeg in enumerate(line):
                members[picture_name(strip.direction_id, row, column)] = jpeg
    size = sum(map(len, members.values()))
    if len(members) > MOST_MEMBERS or size > MOST_BUNDLE:
        raise InputError(
            f"export: {len(members):,} files of {size:,} bytes, a bundle takes {MOST_MEMBERS:,} of "
            f"{MOST_BUNDLE:,}; export fewer cards, or without the pictures."
        )
    return _zipped(members)


def read_bundle(
    source: str | os.PathLike[str] | bytes,
) -> tuple[list[DirectionCard], dict[str, bytes]]:
    """The cards of a bundle in the order to publish them, and the artefacts that they name.

    Args:
        source: a local file, or the bytes of one.

    Raises:
        InputError: it is no bundle, is damaged, or holds more than is read.
        CorruptDataError: a vector or an artefact is not what its hash says.
    """
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), "bundle")
    try:
        with Path(source).open("rb") as file:
            return _read(file, f"bundle {os.fspath(source)}")
    except OSError as error:
        raise InputError(f"bundle {os.fspath(source)}: {error.strerror or error}.") from None


def _read(file: BinaryIO, who: str) -> tuple[list[DirectionCard], dict[str, bytes]]:
    try:
        return _checked(Members(file, MOST_MEMBERS, MOST_DIRECTORY), who)
    except InputError as error:
        said = str(error).removeprefix(f"{who}: ").rstrip(".")
        raise InputError(f"{who}: {said}.") from None


def _checked(archive: Members, who: str) -> tuple[list[DirectionCard], dict[str, bytes]]:
    tensors = _tensors(archive.read(VECTORS, MOST_VECTORS), f"{who}: {VECTORS}")
    cards = from_json(archive.read(CARDS, MOST_BYTES), f"{who}: {CARDS}", tensors)
    artefacts: dict[str, bytes] = {}
    for item in dict.fromkeys(card.artefact for card in cards if card.artefact):
        left = MOST_ARTEFACTS - sum(map(len, artefacts.values()))
        data = archive.read(_artefact_name(item.sha256), left)
        if hashlib.sha256(data).hexdigest() != item.sha256 or len(data) != item.bytes:
            raise CorruptDataError(
                f"{who}: the {item.kind} {item.sha256} is not what was exported."
            )
        artefacts[item.sha256] = data
    return cards, artefacts


def _tensors(data: bytes, who: str) -> dict[str, NDArray[np.float32]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{who}: {' '.join(str(error).split())[:200]}.") from None
    if any(tensor.dtype != np.float32 for tensor in tensors.values()):
        raise InputError(f"{who}: a vector is not float32; export it again.")
    return tensors


def _artefacts(cards: Sequence[DirectionCard], found: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those that the cards name, checked."""
    held = {}
    for item in (card.artefact for card in cards if card.artefact):
        data = found.get(item.sha256)
        if data is None or hashlib.sha256(data).hexdigest() != item.sha256:
            raise InputError(
                f"export: the {item.kind} {item.sha256} "
                f"{'is missing' if data is None else 'is not what its card says'}; export from the "
                "catalogue that holds it."
            )
        held[item.sha256] = data
    return held


def _artefact_name(sha256: str) -> str:
    return f"artefacts/{sha256}.safetensors"


def _order(card: DirectionCard) -> tuple[str | int, ...]:
    lineage = (card.attribute, card.method, card.space, card.generator_fingerprint)
    return (*lineage, card.version or 0, card.direction_id)


def _zipped(members: Mapping[str, bytes]) -> bytes:
    """Stored, not deflated: deflate's bytes change with the library's version."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _BEFORE)
            info.create_system = 3  # Unix, whichever system writes
            info.external_attr = 0o100644 << 16
            archive.writestr(info, data)
    return sink.getvalue()

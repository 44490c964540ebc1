"""licences.json beside exported files, read back: what a .npy or .pt does not say of itself.

It is a file of a stranger like any other: bounded before it is parsed, every field checked, and
it counts for a file only where it names the file's SHA-256. A direction keeps its id only where
its content hashes to it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from schemas.directions import DirectionCard, Provenance
from schemas.errors import InputError, LodeError
from storage.exchange.card_fields import Fields, parse
from storage.exchange.card_json import MOST_BYTES, check_size
from storage.exchange.found import MOST_ROWS, Found
from storage.exchange.licences import KIND, LICENCES, VERSION
from storage.exchange.notes_out import HEAD, README
from storage.exchange.source_files import Skipped, read_bytes, shown_path
from storage.exchange.suspicions import tied

_START = re.compile(rb'\s*\{\s*"latentlode"\s*:\s*"' + KIND.encode() + rb'"')
_SPACES = ("z", "w", "w+", "s")


@dataclass(frozen=True)
class Said:
    """What licences.json says of one direction."""

    direction_id: str  # that it had in the catalogue
    card: DirectionCard  # without its vector

    def told(self, found: Found) -> Found:
        """The direction with what is said of it in place of what its file and its names say.

        A vector of W that was repeated to rows of W+ is one row again.
        """
        card, vector = self.card, found.vector
        if card.space != "w+" and vector.ndim == 2:
            moved = [row for row in card.layers if row < len(vector)]
            row = tied(vector[moved] if moved else vector)
            vector = vector if row is None else row
        return replace(
            found,
            vector=vector,
            name=card.attribute,
            unit=card.unit,
            method=card.method,
            space_hint=card.space,
            layers=card.layers,
            generator_hint=card.generator,
            fingerprint_hint=card.generator_fingerprint,
            generator_licence_hint=card.generator_licence,
            licence_hint=card.licence,
            source_hint=card.source,
            sigma=card.sigma,
            notes=(),
        )

    def same(self, card: DirectionCard) -> DirectionCard | None:
        """An imported card as the very direction that was exported; None where it is another."""
        made = replace(card, provenance=self.card.provenance)
        return made if made.direction_id == self.direction_id else None


class Beside:
    """The licences.json files of an import; each is read once."""

    def __init__(self) -> None:
        self._wrong: dict[Path, str] = {}  # what is first wrong with those that were not used
        self._read: dict[Path, dict[str, Any] | None] = {}

    @property
    def skipped(self) -> list[Skipped]:
        """Those that are damaged or not about the files beside them."""
        return [Skipped(shown_path(path), said) for path, said in self._wrong.items()]

    def of(self, file: Path, content: bytes) -> dict[str, Said]:
        """What is said of a file: under "" or, of one with several directions, their entries."""
        for name in (f"{file.name}.{LICENCES}", LICENCES):
            path = file.with_name(name)
            entries = self._entries(path) or {}
            mine = {key: entries[key] for key in _keys(entries, file.name)}
            if mine:
                return self._checked(path, file, hashlib.sha256(content).hexdigest(), mine)
        return {}

    def is_about(self, file: Path) -> bool:
        """Whether a file is about others and no direction: licences.json, README.txt of ours."""
        if _ends(file.name, LICENCES):
            return self._entries(file) is not None
        return _ends(file.name, README) and _begins(file, HEAD.encode())

    def _checked(
        self, path: Path, file: Path, digest: str, entries: dict[str, Any]
    ) -> dict[str, Said]:
        """The entries of one file, if all are whole and of these very bytes."""
        try:
            said = {key: _said(key, entry, digest) for key, entry in entries.items()}
        except InputError as error:
            self._wrong.setdefault(path, str(error).rstrip("."))
            return {}
        return {key[len(file.name) + 1 :]: each for key, each in said.items()}

    def _entries(self, path: Path) -> dict[str, Any] | None:
        """File name -> what is said of it, unchecked; None where there is no such file of ours."""
        if path not in self._read:
            try:
                self._read[path] = _entries(path)
            except LodeError as error:
                self._read[path] = {}
                self._wrong[path] = str(error).rstrip(".")
        return self._read[path]


def _entries(path: Path) -> dict[str, Any] | None:
    if path.is_symlink() or not path.is_file() or not _START.match(_head(path)):
        return None
    data = read_bytes(path, lambda head: None, MOST_BYTES)
    check_size(data, LICENCES, "Split the folder.")
    document = Fields(parse(data, LICENCES), LICENCES)
    if document.take("version", None) != VERSION:
        raise InputError(f"it is of another version than {VERSION}; upgrade LatentLode to use it")
    return document.table("files")


def _said(key: str, value: Any, digest: str) -> Said:
    """One entry, every field checked."""
    entry = Fields(value, f"what it says of {key[:80]!r}")
    if entry.text("sha256") != digest:
        raise InputError(f"it is about another {key[:80]!r} than lies beside it; it was not used")
    text = ("attribute", "unit", "method", "space", "generator", "generator_fingerprint")
    text += ("generator_licence", "licence", "source")
    fields: dict[str, Any] = {name: entry.text(name) for name in text}
    if fields["space"] not in _SPACES:
        raise InputError(f"{entry.who} names the space {fields['space'][:20]!r}")
    layers = entry.items("layers")
    if len(layers) > MOST_ROWS or any(type(row) is not int or not 0 <= row < 256 for row in layers):
        raise InputError(f"{entry.who} has layers that are no rows of W+")
    made = Provenance(
        entry.text("dataset_id"),
        entry.whole("seed", -(2**63)),
        entry.text("settings"),
        entry.text("code_version"),
    )
    return Said(
        entry.text("direction_id"),
        DirectionCard(
            **fields,
            vector=np.zeros(0, np.float32),
            provenance=made,
            layers=tuple(layers),
            sigma=entry.number("sigma", None),
        ),
    )


def _keys(entries: dict[str, Any], name: str) -> list[str]:
    """A file's own key, or those of its directions: NAME#0, NAME#1 ..."""
    if name in entries:
        return [name]
    several = []
    while (key := f"{name}#{len(several)}") in entries:
        several.append(key)
    return several


def _ends(name: str, ending: str) -> bool:
    return name == ending or name.endswith(f".{ending}")


def _begins(file: Path, start: bytes) -> bool:
    return not file.is_symlink() and file.is_file() and _head(file).startswith(start)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(200)
    except OSError:
        return b""

"""What was found in a file as cards that could be published, and what is to be said of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np

from schemas.directions import DirectionCard, Provenance
from schemas.errors import InputError
from storage.card_checks import check_card
from storage.exchange import recognise
from storage.exchange.beside import Said
from storage.exchange.card_json import looks_like_cards
from storage.exchange.found import Found
from storage.exchange.restoring import restored
from storage.exchange.source_files import shown_path
from storage.exchange.suspicions import suspicions, tied

DATASET = "imported"  # the dataset_id of cards that no dataset of ours is behind
BY_NAME = "name:"  # before a generator's name, where its fingerprint is not known
SPACES = ("z", "w", "w+", "s")
_NAMED_FOLDERS = 5  # parts of a path that may say whose file it is
_WHOLE = 1e-6  # a norm that is as near to 1 is 1: the vector keeps its bits
_MEASURED = "Imported from a file: its measurements stayed where it was exported."
_AS_IT_WAS = "its cards are restored as they were published; what was given is not applied"


@dataclass(frozen=True)
class Given:
    """What the caller says of all files; empty means: as the files or their names say."""

    generator: str = ""
    fingerprint: str = ""
    generator_licence: str = ""
    space: str = ""
    attribute: str = ""
    unit: str = ""
    method: str = ""
    licence: str = ""
    source: str = ""
    layers: tuple[int, ...] = ()
    code_version: str = "unknown"


@dataclass(frozen=True)
class Draft:
    """A card that is about to be published, and what is to be said about it."""

    file: str
    card: DirectionCard
    warnings: tuple[str, ...] = ()
    restored: bool = False  # as a catalogue exported it: published as it is
    artefact: bytes = b""  # of a restored card that stands for a file


def drafts_of(
    file: Path, content: bytes, given: Given, beside: Mapping[str, Said] | None = None
) -> list[Draft]:
    """The cards of one file's bytes.

    Args:
        beside: what licences.json says of each of its directions, by entry.

    Raises:
        InputError: it is refused, its generator is neither said nor given, or a card of it could
            not be published.
    """
    drafts = _drafts(file, content, given, beside or {})
    for draft in drafts:
        check_card(draft.card)
    return drafts


def _drafts(file: Path, content: bytes, given: Given, beside: Mapping[str, Said]) -> list[Draft]:
    if (own := restored(content)) is not None:
        said = () if given == Given(code_version=given.code_version) else (_AS_IT_WAS,)
        cards, artefacts = own
        held = [artefacts.get(card.artefact.sha256) if card.artefact else b"" for card in cards]
        if None in held:
            raise InputError("it lacks the file of an artefact; export the directions as a bundle")
        both = zip(cards, held, strict=True)
        return [Draft(shown_path(file), card, said, True, data or b"") for card, data in both]
    named = PurePath(*file.absolute().parts[-_NAMED_FOLDERS:])
    digest = hashlib.sha256(content).hexdigest()
    several = recognise.found_in(named, content)
    alone = beside.get("") if len(several) == 1 else None
    return [
        _draft(file, digest, found, given, alone or beside.get(found.entry)) for found in several
    ]


def check_start(head: bytes) -> None:
    """Refuse a file by its first bytes: it is neither of others' formats nor of our own cards.

    Raises:
        InputError: no known format begins so.
    """
    if not looks_like_cards(head):
        recognise.check_start(head)


def _draft(file: Path, digest: str, found: Found, given: Given, said: Said | None) -> Draft:
    """One direction as a card; the very one that was exported where it is that still."""
    _norm(found.vector)
    found = said.told(found) if said else found
    vector, space, warnings = _placed(found, given)
    generator = given.generator or found.generator_hint
    if not generator:
        raise InputError("it does not say for which generator it is; name it with --generator")
    if found.generator_hint and found.generator_hint != generator:
        warnings.append(f"what it says of itself names generator {found.generator_hint}")
    method = given.method or found.method
    layers = given.layers or found.layers
    warnings += suspicions(found.vector, method, layers)
    norm = _norm(vector)
    settings = {"file": file.name, "sha256": digest, "entry": found.entry}
    card = DirectionCard(
        attribute=given.attribute or found.name or "unnamed",
        unit=given.unit or found.unit or "1",
        method=method,
        space=space,
        generator=generator,
        generator_fingerprint=given.fingerprint or found.fingerprint_hint or BY_NAME + generator,
        generator_licence=given.generator_licence or found.generator_licence_hint or "unknown",
        vector=(vector if abs(norm - 1) <= _WHOLE else vector / norm).astype(np.float32),
        provenance=Provenance(
            DATASET,
            0,
            json.dumps(settings | {"format": found.source_format}, sort_keys=True),
            given.code_version,
        ),
        layers=layers,
        sigma=found.sigma,
        evidence={"norm": norm, **found.evidence},
        source=given.source or found.source_hint or shown_path(file.name),
        licence=given.licence or found.licence_hint,
    )
    _check_layers(card)
    if said and (same := said.same(card)):
        return Draft(shown_path(file), replace(same, notes=_MEASURED), tuple(warnings))
    return noted(Draft(shown_path(file), replace(card, notes=_sentences(found.notes))), warnings)


def _norm(vector: np.ndarray) -> float:
    """The Frobenius norm, of numbers whose squares need not be within a float's range."""
    largest = float(np.abs(vector).max())
    norm = largest * float(np.linalg.norm(vector / largest))
    if not 1e-30 < norm < 1e30:
        raise InputError(f"its norm is {norm:g}, which leaves no direction")
    return norm


def _placed(found: Found, given: Given) -> tuple[np.ndarray, str, list[str]]:
    """The vector to store, its space, and what to say about the two."""
    row = tied(found.vector)
    if row is not None:
        space = given.space if given.space in ("z", "w") else "w"
        said = f"its {len(found.vector)} rows are all the same: no direction of W+, stored as one"
        return row, space, [f"{said} of {space.upper()}"]
    space = given.space or found.space_hint
    if found.vector.ndim == 2:
        if space not in ("", "w+"):
            raise InputError(
                f"its {len(found.vector)} rows differ, so it is of W+; space {space!r} came"
            )
        return found.vector, "w+", []
    if space:
        return found.vector, space, []
    return found.vector, "w", ["it does not say its space; taken for W (say it with --space)"]


def _check_layers(card: DirectionCard) -> None:
    rows = len(card.vector) if card.vector.ndim == 2 else None
    if rows is not None and any(layer >= rows for layer in card.layers):
        raise InputError(f"it has {rows} rows; layers up to {max(card.layers)} came")


def noted(draft: Draft, warnings: Sequence[str]) -> Draft:
    """The draft with more to say, in its notes too unless it is restored as it was."""
    told = (*draft.warnings, *warnings)
    if draft.restored or not warnings:
        return replace(draft, warnings=told)
    notes = " ".join(filter(None, (draft.card.notes, _sentences(warnings))))
    return replace(draft, card=replace(draft.card, notes=notes), warnings=told)


def _sentences(said: Sequence[str]) -> str:
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in said)

"""Whose directions these are: the licences that go with every file that leaves a catalogue."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.directions import DirectionCard
from storage.exchange.found import text

LICENCES = "licences.json"  # its name beside the files of an export and in a bundle
KIND, VERSION = "licences", 1
UNSTATED = "not stated"
_LONGEST = 1000  # characters of a line


def licences_json(
    files: Mapping[str, DirectionCard], sha256: Mapping[str, str] | None = None
) -> bytes:
    """What each file (or direction of a bundle) is, where it comes from and its licences.

    Args:
        sha256: of each file. With it all is said by which import makes the same card again; a
            bundle has cards.json for that.
    """
    found = {file: _entry(card) for file, card in files.items()}
    for file, digest in (sha256 or {}).items():
        found[file] |= {"sha256": digest, **_again(files[file])}
    document = {"latentlode": KIND, "version": VERSION, "files": found}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode(errors="replace")


def licence_lines(cards: Sequence[DirectionCard]) -> list[str]:
    """One line per generator and per source, with the licence of each, as a terminal shows it."""
    lines = {
        f"generator {card.generator}: {card.generator_licence or UNSTATED}": None for card in cards
    }
    for card in cards:
        if card.licence or card.source:
            what = f"directions from {card.source or 'elsewhere'}"
            lines[f"{what}: {card.licence or UNSTATED}"] = None
    return [text(line, _LONGEST) for line in lines]


def _entry(card: DirectionCard) -> dict[str, Any]:
    names = ("direction_id", "attribute", "method", "space", "generator", "generator_fingerprint")
    more = ("generator_licence", "licence", "source")
    return {name: getattr(card, name) for name in (*names, *more)}


def _again(card: DirectionCard) -> dict[str, Any]:
    """What else the id is made of, and the step."""
    made = card.provenance
    return {
        "unit": card.unit,
        "layers": list(card.layers),
        "sigma": card.sigma if math.isfinite(card.sigma) else None,
        "dataset_id": made.dataset_id,
        "seed": made.seed,
        "settings": made.settings,
        "code_version": made.code_version,
    }

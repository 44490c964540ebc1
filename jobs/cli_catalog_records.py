"""Cards as plain records: what `lode catalog` prints as JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from schemas.directions import DirectionCard
    from storage.tag_table import Tag

FIELDS = (  # of a record, of the card or its provenance
    *("direction_id", "attribute", "unit", "method", "space", "version", "truth_cosine"),
    *("effect_on", "effect", "effect_low", "effect_high", "effect_relative"),
    *("leak", "identity_cost", "slope", "sigma", "layers", "shape"),
    *("generator", "generator_fingerprint", "generator_licence"),
    *("dataset_id", "seed", "code_version", "publication_id", "created_at"),
    *("leak_low", "leak_high", "identity_cost_low", "identity_cost_high"),
    *("stability", "stability_low", "stability_high"),
    *("calibration_step", "calibration_low", "calibration_high"),
    *("calibration_monotonic", "calibration_error"),
    *("artefact_kind", "artefact_sha256", "artefact_bytes", "source", "licence", "tags"),
)
_PARTS = {  # fields of a part of the card that may not be there
    f"{part}_{name}": (part, name)
    for part, names in (
        ("calibration", ("step", "low", "high", "monotonic", "error")),
        ("artefact", ("kind", "sha256", "bytes")),
    )
    for name in names
}


def record(card: DirectionCard) -> dict[str, Any]:
    """What `list` tells about a card: one flat object, None for what was not measured."""
    return {name: plain(_value(card, name)) for name in FIELDS}


def full_record(card: DirectionCard) -> dict[str, Any]:
    """`record` and the responses, evidence, settings, packages and notes; not the vector."""
    names = ("attribute", "unit", "per_step", "low", "high", "spread", "relative")
    responses = [{k: plain(getattr(moved, k)) for k in names} for moved in card.responses]
    return record(card) | {
        "responses": responses,
        "evidence": {name: plain(value) for name, value in card.evidence.items()},
        "settings": card.provenance.settings,
        "packages": dict(card.provenance.packages),
        "notes": card.notes,
    }


def records(rows: pa.Table, tags: Mapping[str, Tag]) -> list[dict[str, Any]]:
    """`record` of many rows of a catalogue's table, whose vectors nobody needs to have read.

    Args:
        rows: as `Cards.table` gives them.
        tags: as `Catalog.tags` gives them.
    """
    import numpy as np

    from storage.card_table import to_card

    names: dict[tuple[str, int] | None, list[str]] = {}
    for name, tag in tags.items():
        names.setdefault(tag.target, []).append(name)
    found = []
    for row in rows.to_pylist():
        nothing = np.zeros(row["shape"], np.float32).ravel()
        card = to_card(row, nothing, names.get((row["direction_id"], row["version"]), ()))
        # the id is a hash of the vector, so the card without it has another
        found.append(record(card) | {"direction_id": row["direction_id"]})
    return found


def plain(value: Any) -> Any:
    """As JSON has it: neither NaN nor infinity, no tuples, times as ISO 8601."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, tuple):
        return list(value)
    return value.isoformat() if isinstance(value, datetime) else value


def to_json(content: Any) -> str:
    """Indented JSON without NaN."""
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)


def to_csv(fields: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """One line per row under a header; empty where not measured, lists separated by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    for row in rows:
        cells = (row[name] for name in fields)
        writer.writerow([" ".join(map(str, c)) if isinstance(c, list) else c for c in cells])
    return text.getvalue()


def _value(card: DirectionCard, name: str) -> Any:
    if name in _PARTS:
        part, within = _PARTS[name]
        return getattr(getattr(card, part), within, None)
    if name == "shape":
        return card.vector.shape
    return getattr(card if hasattr(card, name) else card.provenance, name, None)

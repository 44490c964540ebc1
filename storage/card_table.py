"""Direction cards as Arrow rows and back: the catalogue's columns.

What a reader without this code needs to know:

- One row is one card. A number that was not measured is null, in every column: SQL aggregates
  then skip it. The cards themselves hold NaN (None for `truth_cosine`).
- `vector` is flat, `shape` says how to fold it: Delta Lake keeps neither fixed-size lists nor
  tensors.
- `responses`, `evidence` and `packages` are lists of structs. pandas, DuckDB (UNNEST) and Polars
  (explode, unnest) read those alike; a map reaches pandas as tuples and Polars as key, value.
- `effect*` and `leak` repeat what `responses` says, so that no reader has to derive them.
- Versions are not stored; `storage.catalog` derives them from the order of commits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.directions import DirectionCard, Provenance, Response
from schemas.errors import InputError

SCHEMA_VERSION = 1  # raise it when a column changes its meaning, its type or its name
SPACES = ("z", "w", "w+", "s")

_text = pa.string()
_number = pa.float64()  # rows are few: scalars keep every digit, so cards survive the round trip
_MEASURED = ("per_step", "low", "high", "spread")  # of a Response
_response = pa.struct(
    [("attribute", _text), ("unit", _text)] + [(name, _number) for name in _MEASURED]
)


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


SCHEMA = pa.schema(
    [
        _required("direction_id", _text),  # 32 hex digits from the content
        _required("attribute", _text),
        _required("unit", _text),
        _required("method", _text),
        _required("space", _text),  # "z", "w", "w+" or "s"
        _required("generator", _text),
        _required("generator_fingerprint", _text),
        _required("generator_licence", _text),
        _required("vector", pa.list_(pa.float32())),  # norm 1, C order
        _required("shape", pa.list_(pa.int32())),  # [D] or [num_ws, D]
        _required("layers", pa.list_(pa.int32())),  # rows of W+; empty means all
        pa.field("slope", _number),  # as fitted, unit per step of norm 1
        pa.field("sigma", _number),  # standard deviation of the latents along the vector
        pa.field("effect", _number),  # as re-measured, unit per step of norm 1
        pa.field("effect_low", _number),  # 95 % bootstrap interval of effect
        pa.field("effect_high", _number),
        pa.field("effect_relative", _number),  # effect over the attribute's spread
        pa.field("leak", _number),  # RMS of the others' relative responses over the own one's
        pa.field("identity_cost", _number),  # face-descriptor distance after a step of sigma
        pa.field("truth_cosine", _number),  # where the generator's truth is known
        _required("responses", pa.list_(_response)),  # the row of the leak matrix
        _required("evidence", pa.list_(pa.struct([("name", _text), ("value", _number)]))),
        _required("dataset_id", _text),
        _required("seed", pa.int64()),
        _required("settings", _text),  # JSON of the method's settings
        _required("code_version", _text),
        _required("packages", pa.list_(pa.struct([("name", _text), ("version", _text)]))),
        _required("notes", _text),
        _required("publication_id", _text),  # what was published in one commit
        _required("position", pa.int32()),  # row within the publication, from 0
        _required("created_at", pa.timestamp("us", "UTC")),  # the publisher's clock
    ]
)

# columns that a card has an attribute of the same name for
_TEXTS = ("attribute", "unit", "method", "space", "generator", "generator_fingerprint")
_NUMBERS = tuple(field.name for field in SCHEMA if field.type == _number)


def check_card(card: DirectionCard) -> None:
    """Refuse a card that would mislead whoever finds it.

    Raises:
        InputError: a name is missing, the space is not one of SPACES, the vector is not (D,) or
            (num_ws, D) of norm 1, a layer is not one of its rows, or the seed exceeds 64 bits.
    """
    who = f"publish: card {card.attribute!r} by {card.method!r}"
    for name in _TEXTS:
        if not getattr(card, name):
            raise InputError(f"{who}: {name} is empty; every card names it.")
    if card.space not in SPACES:
        raise InputError(f"{who}: space {card.space!r}; expected one of {', '.join(SPACES)}.")
    norm = float(np.linalg.norm(np.asarray(card.vector, np.float64)))
    if card.vector.ndim not in (1, 2) or not abs(norm - 1) < 1e-3:  # so that NaN fails too
        raise InputError(
            f"{who}: the vector has shape {card.vector.shape} and norm {norm:g}; expected (D,) or "
            "(num_ws, D) and norm 1. Divide it by its norm and rescale slope and responses."
        )
    rows = len(card.vector) if card.vector.ndim == 2 else 2**31  # (D,) fits any number of layers
    if any(not 0 <= layer < rows for layer in card.layers):
        raise InputError(f"{who}: layers {card.layers} are outside 0..{rows - 1}.")
    if not -(2**63) <= card.provenance.seed < 2**63:
        raise InputError(f"{who}: seed {card.provenance.seed} does not fit 64 bits.")


def distinct_ids(cards: Sequence[DirectionCard]) -> tuple[str, ...]:
    """The ids of a publication's cards.

    Raises:
        InputError: there are no cards, or two are the same direction.
    """
    ids = tuple(card.direction_id for card in cards)
    if not ids:
        raise InputError("publish: no cards came; a publication holds at least one.")
    if len(set(ids)) < len(ids):
        twice = next(card for card in cards if ids.count(card.direction_id) > 1)
        raise InputError(
            f"publish: the direction {twice.direction_id} ({twice.attribute!r} by "
            f"{twice.method!r}) came twice; publish each once."
        )
    return ids


def _null(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _row(card: DirectionCard, position: int) -> dict[str, Any]:
    made = card.provenance
    return {
        "direction_id": card.direction_id,
        **{name: getattr(card, name) for name in _TEXTS},
        "generator_licence": card.generator_licence,
        "vector": np.ascontiguousarray(card.vector, np.float32).ravel(),
        "shape": list(card.vector.shape),
        "layers": list(card.layers),
        **{name: _null(getattr(card, name)) for name in _NUMBERS},
        "responses": [
            {"attribute": response.attribute, "unit": response.unit}
            | {name: _null(getattr(response, name)) for name in _MEASURED}
            for response in card.responses
        ],
        "evidence": [{"name": k, "value": _null(v)} for k, v in card.evidence.items()],
        "dataset_id": made.dataset_id,
        "seed": made.seed,
        "settings": made.settings,
        "code_version": made.code_version,
        "packages": [{"name": k, "version": v} for k, v in made.packages.items()],
        "notes": card.notes,
        "publication_id": card.publication_id,
        "position": position,
        "created_at": made.created_at,
    }


def to_table(cards: Iterable[DirectionCard], publication_id: str, created_at: datetime) -> pa.Table:
    """The cards as one publication: checked rows of SCHEMA, in the order given.

    Raises:
        InputError: a card is refused by `check_card`.
    """
    rows = []
    for position, card in enumerate(cards):
        check_card(card)
        made = replace(card.provenance, created_at=created_at)
        rows.append(_row(replace(card, provenance=made, publication_id=publication_id), position))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _card(row: Mapping[str, Any], vector: np.ndarray) -> DirectionCard:
    return DirectionCard(
        **{name: row[name] for name in _TEXTS},
        generator_licence=row["generator_licence"],
        vector=vector.reshape(row["shape"]),
        provenance=Provenance(
            dataset_id=row["dataset_id"],
            seed=row["seed"],
            settings=row["settings"],
            code_version=row["code_version"],
            packages={item["name"]: item["version"] for item in row["packages"]},
            created_at=row["created_at"].astimezone(UTC),
        ),
        layers=tuple(row["layers"]),
        slope=_nan(row["slope"]),
        sigma=_nan(row["sigma"]),
        responses=tuple(
            Response(item["attribute"], item["unit"], **{k: _nan(item[k]) for k in _MEASURED})
            for item in row["responses"]
        ),
        identity_cost=_nan(row["identity_cost"]),
        truth_cosine=row["truth_cosine"],
        evidence={item["name"]: _nan(item["value"]) for item in row["evidence"]},
        notes=row["notes"],
        publication_id=row["publication_id"],
        version=row.get("version"),
    )


def to_cards(table: pa.Table) -> list[DirectionCard]:
    """The cards of the rows; a `version` column, where there is one, becomes their version."""
    vectors = [row.values.to_numpy().copy() for row in table["vector"]]  # not a float at a time
    rows = table.drop_columns(["vector"]).to_pylist()
    return [_card(row, vector) for row, vector in zip(rows, vectors, strict=True)]

"""Direction cards as Arrow rows and back: the catalogue's columns.

What a reader without this code needs to know:

- One row is one card. A number that was not measured is null, in every column: SQL aggregates
  then skip it. The cards themselves hold NaN (None for `truth_cosine`).
- `vector` is flat, `shape` says how to fold it: Delta Lake keeps neither fixed-size lists nor
  tensors.
- `responses`, `evidence` and `packages` are lists of structs. pandas, DuckDB (UNNEST) and Polars
  (explode, unnest) read those alike; a map reaches pandas as tuples and Polars as key, value.
- `effect*` and `leak` repeat what `responses` says, so that no reader has to derive them.
- Tables of an earlier LatentLode lack columns at the end of SCHEMA; read them as null.
- Versions are not stored; `storage.catalog` derives them from the order of commits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.directions import Artefact, Calibration, DirectionCard, Provenance, Response
from schemas.errors import CorruptDataError
from storage.card_checks import NAMES, check_card

SCHEMA_VERSION = 1  # raise it when a column changes its meaning, its type or its name

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
        # Columns that came later are nullable and stand at the end: tables without them are read
        # as if every row had null, and get them with the next publication.
        pa.field("calibration_step", _number),  # steps of norm 1 for one unit of the attribute
        pa.field("calibration_low", _number),  # change, in that unit, down to which that holds
        pa.field("calibration_high", _number),  # and up to which
        pa.field("artefact_kind", _text),  # "matrix", "regressor" or "flow"; shape is then [0]
        pa.field("artefact_sha256", _text),  # _artefacts/<sha256>.safetensors
        pa.field("artefact_bytes", pa.int64()),
        pa.field("leak_low", _number),  # 95 % bootstrap interval of leak
        pa.field("leak_high", _number),
        pa.field("identity_cost_low", _number),  # 95 % bootstrap interval of identity_cost
        pa.field("identity_cost_high", _number),
        pa.field("stability", _number),  # mean cosine between directions of a dataset's halves
        pa.field("stability_low", _number),  # smallest and largest of them
        pa.field("stability_high", _number),
        pa.field("source", _text),  # file, repository or paper that it was imported from
        pa.field("licence", _text),  # of an imported direction itself
        pa.field("calibration_values", pa.list_(_number)),  # mean change of the attribute ...
        pa.field("calibration_steps", pa.list_(_number)),  # ... after these steps of norm 1
        pa.field("calibration_monotonic", _number),  # share of held-out identities, 0 to 1
        pa.field("calibration_error", _number),  # mean relative miss on held-out identities
    ]
)

# columns that a card has an attribute of the same name for
_CALIBRATION = {name: f"calibration_{name}" for name in ("step", "low", "high")}
_CURVE = {name: f"calibration_{name}" for name in ("values", "steps")}  # null where empty
_HELD_OUT = {name: f"calibration_{name}" for name in ("monotonic", "error")}  # null where NaN
_ARTEFACT = {name: f"artefact_{name}" for name in ("kind", "sha256", "bytes")}
_NUMBERS = tuple(
    field.name
    for field in SCHEMA
    if field.type == _number and not field.name.startswith("calibration_")
)
_SET = tuple(  # of the card itself; it derives the others
    name for name in _NUMBERS if name in DirectionCard.__dataclass_fields__
)


def _null(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _row(card: DirectionCard, position: int) -> dict[str, Any]:
    made = card.provenance
    return {
        "direction_id": card.direction_id,
        **{name: getattr(card, name) for name in NAMES},
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
        **_calibration_row(card.calibration),
        **{at: getattr(card.artefact, name, None) for name, at in _ARTEFACT.items()},
        "source": card.source,
        "licence": card.licence,
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


def to_card(
    row: Mapping[str, Any], vector: NDArray[np.float32], tags: Iterable[str] = ()
) -> DirectionCard:
    """The card of a row without its vector; `version`, where it has one, becomes its version.

    Args:
        row: columns of SCHEMA, None where null.
        vector: flat, as stored; the card keeps it.
        tags: that point at this version.

    Raises:
        CorruptDataError: the vector does not have the row's shape.
    """
    if vector.size != math.prod(row["shape"]):
        raise CorruptDataError(
            f"direction {row['direction_id']}: its vector has {vector.size} numbers and the shape "
            f"{row['shape']}; another program changed it. Publish the direction again."
        )
    artefact = {name: row[at] for name, at in _ARTEFACT.items()}
    numbers: dict[str, Any] = {name: _nan(row[name]) for name in _SET if name != "truth_cosine"}
    return DirectionCard(
        **{name: row[name] for name in NAMES},
        generator_licence=row["generator_licence"],
        vector=vector.reshape(row["shape"]),
        provenance=_provenance(row),
        layers=tuple(row["layers"]),
        responses=tuple(
            Response(item["attribute"], item["unit"], **{k: _nan(item[k]) for k in _MEASURED})
            for item in row["responses"]
        ),
        **numbers,
        truth_cosine=row["truth_cosine"],
        calibration=_calibration(row),
        artefact=None if None in artefact.values() else Artefact(**artefact),
        evidence={item["name"]: _nan(item["value"]) for item in row["evidence"]},
        notes=row["notes"],
        source=row["source"] or "",
        licence=row["licence"] or "",
        publication_id=row["publication_id"],
        version=row.get("version"),
        tags=tuple(sorted(tags)),
    )


def _calibration_row(known: Calibration | None) -> dict[str, Any]:
    """The calibration's columns; null where there is none, or nothing was measured."""
    if known is None:
        return dict.fromkeys([*_CALIBRATION.values(), *_CURVE.values(), *_HELD_OUT.values()])
    return {
        **{at: getattr(known, name) for name, at in _CALIBRATION.items()},
        **{at: list(getattr(known, name)) or None for name, at in _CURVE.items()},
        **{at: _null(getattr(known, name)) for name, at in _HELD_OUT.items()},
    }


def _calibration(row: Mapping[str, Any]) -> Calibration | None:
    found: dict[str, Any] = {name: row[at] for name, at in _CALIBRATION.items()}
    if None in found.values():
        return None
    found |= {name: tuple(map(_nan, row[at] or ())) for name, at in _CURVE.items()}
    found |= {name: _nan(row[at]) for name, at in _HELD_OUT.items()}
    return Calibration(**found)


def to_cards(table: pa.Table) -> list[DirectionCard]:
    """The cards of rows that hold every column."""
    vectors = [row.values.to_numpy().copy() for row in table["vector"]]  # not a float at a time
    rows = table.drop_columns(["vector"]).to_pylist()
    return [to_card(row, vector) for row, vector in zip(rows, vectors, strict=True)]


def _provenance(row: Mapping[str, Any]) -> Provenance:
    return Provenance(
        dataset_id=row["dataset_id"],
        seed=row["seed"],
        settings=row["settings"],
        code_version=row["code_version"],
        packages={item["name"]: item["version"] for item in row["packages"]},
        created_at=row["created_at"].astimezone(UTC),
    )

"""Store a report's data beside the run and read it back: JSON for numbers, Parquet for the rest.

report.json      numbers and texts; written last, so a folder with it is complete
vectors.parquet  the cards' vectors, one row a card
strips.parquet   the pictures, one row a JPEG
shape.parquet    sample images of the shape model, where there is one; see `shape_files`
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from jobs.report.data import (
    ArtefactFacts,
    DatasetFacts,
    LossCurve,
    Picture,
    ReportData,
    Stage,
    Strip,
)
from jobs.report.response_curves import ResponseCurve
from jobs.report.shape_files import SAMPLE_SCHEMA, read_shape, sample_rows, without_samples
from mining.evaluation.stability import Stability
from schemas.directions import Artefact, Calibration, DirectionCard, Provenance, Response
from schemas.errors import CorruptDataError, InputError
from storage.files import Store
from storage.shards import read_parquet

VERSION = 1
NUMBERS, VECTORS, STRIPS = "report.json", "vectors.parquet", "strips.parquet"
SHAPE = "shape.parquet"
PLAIN = (  # fields that go into report.json as they are
    "title", "created_at", "settings", "code_version", "packages", "failures", "skipped", "dataset",
    "curves", "stages", "response_curves", "stability", "identity", "artefacts",
)  # fmt: skip

VECTOR_SCHEMA = pa.schema(
    [
        pa.field("direction_id", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.int32()), nullable=False),
        pa.field("vector", pa.list_(pa.float32()), nullable=False),
    ],
    metadata={"table": "report_vectors", "version": "1"},
)
STRIP_SCHEMA = pa.schema(
    [
        pa.field("direction_id", pa.string(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),  # identity within the strip, from 0
        pa.field("step", pa.float64(), nullable=False),  # in sigma
        pa.field("value", pa.float64(), nullable=False),  # own attribute; NaN where unmeasured
        pa.field("distance", pa.float64(), nullable=False),  # face descriptor's; NaN if none
        pa.field("jpeg", pa.binary(), nullable=False),
    ],
    metadata={"table": "report_strips", "version": "1"},
)


def save(data: ReportData, folder: str) -> None:
    """Write the files under a folder or fsspec URL, over those of an earlier report.

    Raises:
        StorageError: the folder cannot be written: disk full, no permission.
    """
    document: dict[str, Any] = {"version": VERSION}
    for name in PLAIN:
        document[name] = _plain(getattr(data, name))
    document["cards"] = [_card_document(card) for card in data.cards]
    document["shape"] = None if data.shape is None else _plain(without_samples(data.shape))
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    store = Store(folder)
    store.remove(NUMBERS)  # no finished report while the others change
    store.replace(VECTORS, _parquet(_vectors(data), VECTOR_SCHEMA))
    store.replace(STRIPS, _parquet(_pictures(data), STRIP_SCHEMA))
    if data.shape is None:
        store.remove(SHAPE)
    else:
        store.replace(SHAPE, _parquet(sample_rows(data.shape), SAMPLE_SCHEMA))
    store.replace(NUMBERS, text.encode())


def load(folder: str) -> ReportData:
    """Read what `save` wrote.

    Raises:
        InputError: there is no report, or a newer version wrote it.
        StorageError: a file is missing or cannot be read.
        CorruptDataError: a file is damaged, or the files belong to different reports.
    """
    store = Store(folder)
    if not store.exists(NUMBERS):
        raise InputError(
            f"report: {folder} holds no finished report, no {NUMBERS}. Run the mining job first."
        )
    try:
        document = json.loads(store.read(NUMBERS))
        vectors = _rows(store.read(VECTORS))
        pictures = _rows(store.read(STRIPS))
        samples = _rows(store.read(SHAPE)) if document.get("shape") else []
    except (ValueError, pa.ArrowException) as error:
        raise CorruptDataError(f"report: {folder} cannot be read: {error}.") from error
    if document.get("version") != VERSION:
        raise InputError(
            f"report: {folder} has version {document.get('version')}; this code reads {VERSION}."
        )
    try:
        report = _report(document, vectors, pictures)
        if not document.get("shape"):
            return report
        return dataclasses.replace(report, shape=read_shape(document["shape"], samples))
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise CorruptDataError(f"report: {folder} is damaged: {error}.") from error


def _report(
    document: Mapping[str, Any], vectors: list[dict[str, Any]], pictures: list[dict[str, Any]]
) -> ReportData:
    """Put the three files together that every report has."""
    cards = tuple(_card(card, row) for card, row in zip(document["cards"], vectors, strict=True))
    return ReportData(
        title=document["title"],
        created_at=datetime.fromisoformat(document["created_at"]),
        settings=document["settings"],
        code_version=document["code_version"],
        dataset=TypeAdapter(DatasetFacts).validate_python(document["dataset"]),
        cards=cards,
        strips=_strips(pictures),
        curves=TypeAdapter(tuple[LossCurve, ...]).validate_python(document["curves"]),
        stages=TypeAdapter(tuple[Stage, ...]).validate_python(document["stages"]),
        packages=document["packages"],
        failures=document["failures"],
        **_measured(document),
    )


def _measured(document: Mapping[str, Any]) -> dict[str, Any]:
    """What reports of earlier versions lack."""
    curves = TypeAdapter(tuple[ResponseCurve, ...])
    stability = TypeAdapter(dict[str, Stability])
    identity = TypeAdapter(dict[str, tuple[float, float, float]])
    artefacts = TypeAdapter(tuple[ArtefactFacts, ...])
    read = curves.validate_python(document.get("response_curves", ()))
    _check_curves(read)
    return {
        "skipped": TypeAdapter(dict[str, str]).validate_python(document.get("skipped", {})),
        "response_curves": read,
        "stability": stability.validate_python(document.get("stability", {})),
        "identity": identity.validate_python(document.get("identity", {})),
        "artefacts": artefacts.validate_python(document.get("artefacts", ())),
    }


def _check_curves(curves: Sequence[ResponseCurve]) -> None:
    """CorruptDataError unless every step has its mean and its interval, or none has intervals."""
    for curve in curves:
        steps = len(curve.steps)
        if len(curve.mean) != steps or {len(curve.low), len(curve.high)} not in ({steps}, {0}):
            raise CorruptDataError(
                f"report: the response curve of {curve.direction_id} has {steps} steps, but "
                f"{len(curve.mean)} means, {len(curve.low)} lower and {len(curve.high)} upper ends."
            )


def _plain(value: Any) -> Any:
    """The JSON form of dataclasses, mappings and sequences; NaN and infinity become strings."""
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # "nan", "inf", "-inf": what float() and pydantic read back
    return value


def _card_document(card: DirectionCard) -> dict[str, Any]:
    """A card without its vector, with its id."""
    fields = [f.name for f in dataclasses.fields(card) if f.name != "vector"]
    document = {name: _plain(getattr(card, name)) for name in fields}
    return {**document, "direction_id": card.direction_id}


def _card(document: Mapping[str, Any], row: Mapping[str, Any]) -> DirectionCard:
    """A card from its document and its vector; the id proves that they belong together."""
    fields = dict(document)
    said = fields.pop("direction_id")
    for field in dataclasses.fields(DirectionCard):
        if isinstance(field.default, float) and field.name in fields:
            fields[field.name] = float(fields[field.name])
    if fields["truth_cosine"] is not None:
        fields["truth_cosine"] = float(fields["truth_cosine"])
    for name in ("layers", "tags"):
        fields[name] = tuple(fields.get(name, ()))
    for name, kind in (("calibration", Calibration), ("artefact", Artefact)):
        if fields.get(name) is not None:
            fields[name] = TypeAdapter(kind).validate_python(fields[name])
    made = fields.get("calibration")
    if made is not None and len(made.steps) != len(made.values):
        raise CorruptDataError(f"report: the calibration of direction {said} is of unequal parts.")
    fields["evidence"] = TypeAdapter(dict[str, float]).validate_python(fields["evidence"])
    fields["provenance"] = TypeAdapter(Provenance).validate_python(fields["provenance"])
    fields["responses"] = TypeAdapter(tuple[Response, ...]).validate_python(fields["responses"])
    card = DirectionCard(vector=np.asarray(row["vector"], "<f4").reshape(row["shape"]), **fields)
    if not said == card.direction_id == row["direction_id"]:
        raise CorruptDataError(f"report: the vector of direction {said} is not the one published.")
    return card


def _vectors(data: ReportData) -> list[dict[str, Any]]:
    return [
        {
            "direction_id": card.direction_id,
            "shape": list(card.vector.shape),
            "vector": np.asarray(card.vector, np.float32).ravel(),
        }
        for card in data.cards
    ]


def _pictures(data: ReportData) -> list[dict[str, Any]]:
    return [
        {
            "direction_id": strip.direction_id,
            "row": row,
            "step": step,
            "value": picture.value,
            "distance": picture.distance,
            "jpeg": picture.jpeg,
        }
        for strip in data.strips
        for row, line in enumerate(strip.rows)
        for step, picture in zip(strip.steps, line, strict=True)
    ]


def _strips(pictures: list[dict[str, Any]]) -> tuple[Strip, ...]:
    """Group the pictures again, in the order in which they were stored."""
    strips: dict[str, dict[int, dict[float, Picture]]] = {}
    for row in pictures:
        line = strips.setdefault(row["direction_id"], {}).setdefault(row["row"], {})
        line[row["step"]] = Picture(row["jpeg"], row["value"], row["distance"])
    return tuple(
        Strip(
            direction_id,
            tuple(lines[0]),
            tuple(tuple(line.values()) for _, line in sorted(lines.items())),
        )
        for direction_id, lines in strips.items()
    )


def _parquet(rows: list[dict[str, Any]], schema: pa.Schema) -> bytes:
    """One Parquet file; JPEGs do not shrink, so nothing is compressed."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), sink, compression="none")
    return sink.getvalue()


def _rows(data: bytes) -> list[dict[str, Any]]:
    return read_parquet(data).to_pylist()

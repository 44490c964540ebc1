"""Store and read back what a report says of the shape model.

The numbers are a part of report.json; shape.parquet holds one row per sample image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from jobs.report.shape_data import Rows, ShapeFacts, ShapeSample
from schemas.errors import CorruptDataError

SAMPLE_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # of the dataset
        pa.field("error", pa.float64(), nullable=False),  # rms, in fractions of the image
        pa.field("measured", pa.list_(pa.float32()), nullable=False),  # (L, 2), y down, flat
        pa.field("predicted", pa.list_(pa.float32()), nullable=False),
        pa.field("jpeg", pa.binary(), nullable=False),  # empty where there is no thumbnail
    ],
    metadata={"table": "report_shape_samples", "version": "1"},
)


def without_samples(shape: ShapeFacts) -> ShapeFacts:
    """What goes into report.json."""
    return replace(shape, samples=())


def sample_rows(shape: ShapeFacts) -> list[dict[str, Any]]:
    """Rows of SAMPLE_SCHEMA."""
    return [
        {
            "row": sample.row,
            "error": sample.error,
            "measured": np.ravel(sample.measured),
            "predicted": np.ravel(sample.predicted),
            "jpeg": sample.jpeg,
        }
        for sample in shape.samples
    ]


def read_shape(document: Mapping[str, Any], rows: list[dict[str, Any]]) -> ShapeFacts:
    """Put both parts together.

    Raises:
        CorruptDataError: their sizes disagree.
        ValueError: a value is not what it should be.
    """
    shape = TypeAdapter(ShapeFacts).validate_python(document)
    samples = tuple(
        ShapeSample(
            row["row"], _pairs(row["measured"]), _pairs(row["predicted"]), row["error"], row["jpeg"]
        )
        for row in rows
    )
    _check(shape, samples)
    return replace(shape, samples=samples)


def _pairs(flat: list[float]) -> Rows:
    return tuple(tuple(pair) for pair in np.reshape(flat, (-1, 2)).tolist())


def _check(shape: ShapeFacts, samples: tuple[ShapeSample, ...]) -> None:
    """CorruptDataError unless all parts are of the same L and K."""
    points, modes = shape.landmarks, shape.components
    wide = {len(row) for row in (*shape.mean_shape, *shape.basis)}
    wide |= {len(part) for sample in samples for part in (sample.measured, sample.predicted)}
    deep = {len(shape.modes), len(shape.spreads)}
    if len(shape.mean_shape) != 3 or wide != {points} or deep != {modes}:
        raise CorruptDataError(
            f"report: its shape model has {modes} modes of {points} landmarks, but a part of "
            f"{sorted(deep)} modes or {sorted(wide)} landmarks."
        )
    if any(len(mode) != 3 for mode in shape.modes):
        raise CorruptDataError("report: a mode of its shape model is no direction in 3-D.")
    epochs = max(len(shape.held_out), 1)
    if not set(shape.rigid) <= set(range(points)) or shape.best_epoch not in range(epochs):
        raise CorruptDataError("report: its shape model names a landmark or an epoch beyond all.")

"""A small dataset with every kind of column: tensors, nulls, pictures, odd names and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from schemas.samples import Field, to_column
from storage.dataset import Dataset
from storage.files import Store
from storage.manifest import Manifest, claim
from storage.shards import commit

ROWS, SHARD = 25, 10
ODD = 'odd |`name`, "ü" 日本'
BLIND = np.arange(ROWS) % 7 == 3  # rows without a face
REASONS = ("kein Gesicht: zu dunkel", "顔なし 🙂", 'a,"b"|c\nd')
# what a detour through text would change; row 3 has no face
EDGES = np.float32([-0.0, 1e-45, np.finfo(np.float32).max, 0, 1 / 3, 0.1, -np.inf])
SECRET = "/home/somebody/checkpoints"  # a path of the machine that made it


def columns() -> dict[str, tuple[Field, Any]]:
    """Name -> field and values: (N, *shape), or a list with None for null."""
    rng = np.random.default_rng(7)

    def tensor(*shape: int) -> np.ndarray:
        return rng.normal(size=(ROWS, *shape)).astype(np.float32)

    def measured(values: np.ndarray) -> list[Any]:
        return [None if blind else value for value, blind in zip(values, BLIND, strict=True)]

    yaw = tensor()
    yaw[: len(EDGES)] = EDGES
    reasons = [REASONS[k % 3] if blind else None for k, blind in enumerate(BLIND)]
    made = [
        (Field("sample_id", "string", text="unique for ever"), [""] * ROWS),
        (Field("index", "int64", text="0 .. samples - 1"), np.arange(ROWS)),
        (Field("w", "float32", (8,), "1", "the first row of W+, truncated"), tensor(8)),
        (Field("w_plus", "float32", (3, 8), "1", "the rows of W+"), tensor(3, 8)),
        (Field("volume", "float32", (2, 3, 4), "1", "numbers in a box"), tensor(2, 3, 4)),
        (Field("truth", "float32", (2,), "see names", "a|b", ("yaw", "smile")), tensor(2)),
        (Field("thumbnail", "binary", text="JPEG, 16 px"), pictures()),
        (Field("points_status", "string", text="ok, no_face"), statuses()),
        (Field("points_reason", "string", text="why", nullable=True), reasons),
        (
            Field("points_landmarks", "float32", (68, 2), "fraction", "x, y", nullable=True),
            measured(tensor(68, 2)),
        ),
        (Field("points_box", "float32", (4,), "fraction", "corners", nullable=True),
         measured(tensor(4))),
        (Field("points_yaw", "float32", (), "degrees", "positive: right", nullable=True),
         measured(yaw)),
        (Field("points_faces", "int32", (), "faces", "how many"), np.arange(ROWS, dtype=np.int32)),
        (Field(ODD, "float32", (), "µm", "an <odd> | name"), tensor()),
    ]  # fmt: skip
    return {field.name: (field, values) for field, values in made}


def manifest(licence: str = "Apache-2.0 (part of LatentLode)") -> Manifest:
    """Of the whole dataset; made by a generator that knows a path of its machine."""
    named = {"fingerprint": "0" * 64, "licence": licence}
    model = {"name": "points.onnx", "sha256": "1" * 64, "licence": "MIT"}
    content = {
        "format": 1,
        "dataset": {"samples": ROWS, "shard_size": SHARD, "seed": 3, "space": "w"},
        "generator": {"name": "planted", "options": {"checkpoint": SECRET}, **named},
        "extractors": [
            {**named, "name": "points", "load": "points", "options": {"model": SECRET},
             "models": [model]}
        ],
        "fields": [field.to_json() for field, _ in columns().values()],
        "made_with": {"numpy": "2.4.6"},
    }  # fmt: skip
    return Manifest(content)


@cache
def truth() -> dict[str, tuple[Field, list[Any]]]:
    """Name -> field and cells, in the order of the rows; None for null."""
    found = {name: (field, list(values)) for name, (field, values) in columns().items()}
    made = manifest()
    ids = [each for shard in range(made.shards) for each in made.sample_ids(shard)]
    return found | {"sample_id": (found["sample_id"][0], ids)}


def write(
    folder: Path | str, shards: Sequence[int] | None = None, licence: str | None = None
) -> Dataset:
    """Write and open it; all shards, or only those."""
    made = manifest(licence) if licence else manifest()
    store = Store(str(folder))
    claim(store, made)
    ids = [each for shard in range(made.shards) for each in made.sample_ids(shard)]
    table = pa.table({name: _column(field, values) for name, (field, values) in columns().items()})
    table = table.set_column(0, "sample_id", pa.array(ids))
    for shard in range(made.shards) if shards is None else shards:
        part = made.rows(shard)
        commit(store, made, shard, table.slice(part.start, len(part)))
    return Dataset(str(folder))


def statuses() -> list[str]:
    return ["no_face" if blind else "ok" for blind in BLIND]


def pictures() -> list[bytes]:
    rng = np.random.default_rng(8)
    drawn = rng.integers(0, 255, (ROWS, 16, 16, 3), np.uint8)
    return [cv2.imencode(".jpg", image)[1].tobytes() for image in drawn]


def _column(field: Field, values: Any) -> pa.Array:
    if field.dtype in ("string", "binary"):
        return pa.array(values, field.to_arrow().type)
    missing = np.array([value is None for value in values])
    empty = np.zeros(field.shape, field.dtype)
    filled = [empty if value is None else value for value in values]
    return to_column(np.asarray(filled, field.dtype).reshape(-1, *field.shape), missing)

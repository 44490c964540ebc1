"""A dataset of given columns, written without a generator, an extractor or Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mining.extractors.base import NO_FACE, OK
from schemas.samples import Field, to_column
from storage.dataset import Dataset
from storage.files import Store
from storage.manifest import Manifest, claim
from storage.shards import commit


@dataclass
class Made:
    """One extractor's columns over all rows."""

    columns: Mapping[str, NDArray]  # name -> (N, ...)
    status: NDArray[np.bool_] | None = None  # (N,) true where measured; None means everywhere
    units: Mapping[str, str] = field(default_factory=dict)
    licence: str = "Apache-2.0"
    options: Mapping[str, str] = field(default_factory=dict)
    load: str = ""  # as the settings name it; else as the dataset does


def write_dataset(
    folder: Path | str,
    extractors: Mapping[str, Made],
    rows: int,
    truth: Mapping[str, NDArray] | None = None,
    others: Mapping[str, tuple[Field, NDArray]] | None = None,
    made_shards: Sequence[int] | None = None,
    shard_size: int = 500,
    generator: str = "planted",
) -> Dataset:
    """Write and open it.

    Args:
        folder: a path or URL.
        truth: name -> (N,), for truth_parameters.
        others: further columns by name.
        made_shards: only these shards; None makes all.
    """
    columns: dict[str, tuple[Field, pa.Array]] = {
        "sample_id": (Field("sample_id", "string"), pa.array([""] * rows)),
        "index": (Field("index", "int64"), pa.array(range(rows), pa.int64())),
    }
    if truth is not None:
        stacked = np.column_stack(list(truth.values())).astype(np.float32)
        made = Field("truth_parameters", "float32", (len(truth),), "see names", "", tuple(truth))
        columns[made.name] = made, to_column(stacked)
    for name, (about, values) in (others or {}).items():
        columns[name] = about, to_column(values.astype(np.float32))
    for name, extractor in extractors.items():
        ok = np.ones(rows, bool) if extractor.status is None else extractor.status
        status = pa.array([OK if found else NO_FACE for found in ok])
        columns[f"{name}_status"] = Field(f"{name}_status", "string"), status
        for column, values in extractor.columns.items():
            full, unit = f"{name}_{column}", extractor.units.get(column, "1")
            about = Field(full, "float32", values.shape[1:], unit, nullable=True)
            columns[full] = about, to_column(values.astype(np.float32), ~ok)
    named = {"fingerprint": "0" * 64, "licence": "Apache-2.0"}
    content = {
        "format": 1,
        "dataset": {"samples": rows, "shard_size": shard_size, "space": "w"},
        "generator": {"name": generator, "options": {}, **named},
        "extractors": [
            {**named, "name": name, "load": one.load or name, "options": dict(one.options),
             "licence": one.licence}
            for name, one in extractors.items()
        ],
        "fields": [about.to_json() for about, _ in columns.values()],
    }  # fmt: skip
    manifest, store = Manifest(content), Store(str(folder))
    claim(store, manifest)
    table = pa.table({name: values for name, (_, values) in columns.items()})
    for shard in range(manifest.shards) if made_shards is None else made_shards:
        part = manifest.rows(shard)
        commit(store, manifest, shard, table.slice(part.start, len(part)))
    return Dataset(str(folder))

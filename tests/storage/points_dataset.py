"""Small true datasets of the points generator, made in this process without Ray."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mining.description import describe, describe_extension
from mining.extending import make_renderer
from mining.sampling import Measurer
from schemas.samples import from_column
from schemas.settings import RunSettings
from storage.dataset import Dataset
from storage.files import Store
from storage.manifest import Manifest, claim
from storage.shards import commit

POINTS = "tests.examples.points"
EXTRACTOR = f"{POINTS}:PointsExtractor"
BRIGHTNESS = "tests.examples.brightness:Brightness"
GEOMETRY = {"geometry": {"source": "points"}}
SHAPE = {"shape3d": {"source": "points", "identities": 4, "expressions": 2}}
SOME_BLIND = {EXTRACTOR: {"blind_every": 7}}


def settings(
    extractors: Mapping[str, Any] | None = None,
    generator: str = f"{POINTS}:PointsGenerator",
    **dataset: Any,
) -> RunSettings:
    """Of 45 samples in 5 shards, a seventh of them without a face."""
    sizes = {"samples": 45, "shard_size": 10, "batch_size": 4, "thumbnail": 16, **dataset}
    told = {"generator": {"name": generator}, "extractors": extractors or SOME_BLIND}
    return RunSettings.model_validate({**told, "dataset": sizes})


def make(folder: Path | str, manifest: Manifest, shards: Sequence[int] | None = None) -> Dataset:
    """Every shard of the dataset, sampled or extended, or only those shards."""
    store = Store(str(folder))
    claim(store, manifest)
    render, measure = make_renderer(manifest), Measurer(manifest)
    for shard in range(manifest.shards) if shards is None else shards:
        commit(store, manifest, shard, measure(render(shard)))
    return Dataset(str(folder))


def sampled(
    folder: Path | str, extractors: Mapping[str, Any] | None = None, **told: Any
) -> Dataset:
    """A dataset as `settings` has it."""
    return make(folder, describe(settings(extractors, **told)))


def extended(
    folder: Path | str, parent: Dataset, extractors: Mapping[str, Any], images: str = "auto"
) -> Dataset:
    """A dataset with more extractors' columns."""
    return make(folder, describe_extension(parent.manifest, parent.url, extractors, images))


def column_bytes(dataset: Dataset) -> dict[str, str]:
    """Column -> digest of its type, its values to the last bit, and its nulls."""
    table = dataset.read([field.name for field in dataset.manifest.fields])
    found = {}
    for name in table.column_names:
        column = table.column(name)
        digest = hashlib.sha256(str(table.schema.field(name)).encode())
        digest.update(np.asarray(column.is_valid()).tobytes())
        plain = dataset.field(name).dtype in ("string", "binary")
        values = repr(column.to_pylist()).encode() if plain else from_column(column).tobytes()
        digest.update(values)
        found[name] = digest.hexdigest()
    return found


def file_digests(folder: Path | str) -> dict[str, str]:
    """Relative path -> SHA-256 of manifest, shards and receipts."""
    root = Path(folder)
    names = [root / "manifest.json", *root.glob("data/*"), *root.glob("receipts/*")]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in names}

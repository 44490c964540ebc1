"""How far the backends of a dataset agree, and which to trust for what: numbers and a page.

Reads every finished shard once and keeps 4 bytes per row of each quantity of each source, and 1 byte
per row and backend; comparing takes some 100 bytes per row on top, and is freed after each pair.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.publish import code_version
from jobs.report.agreement_charts import Scatter, scatter
from mining.evaluation.agreement import (
    AngleBin,
    Comparison,
    Series,
    compare,
    failures_by_angle,
)
from mining.evaluation.landmark_agreement import (
    LandmarkComparison,
    compare_landmarks,
    landmark_distances,
)
from mining.evaluation.quantities import READS, TRUE_UNITS, Reading, readings, said
from mining.evaluation.trust import Trust, trust_by_agreement, trust_by_truth
from mining.extractors.base import MEASURED
from schemas.errors import ConflictError, InputError
from schemas.samples import Field, from_column
from storage.dataset import CAMERA, Dataset
from storage.files import Store
from storage.manifest import Manifest

TABLE = "agreement"  # what agreement.json says that it is
MARK = "LatentLode agreement of dataset"  # what agreement.html says that it is
PARAMETERS, TRUTH, CAMERA_SOURCE = "truth_parameters", "truth", "camera"
IN_IMAGE = "fraction of the image"


@dataclass(frozen=True)
class Backend:
    """One extractor of the dataset."""

    name: str
    licence: str
    measured: int  # rows
    statuses: Mapping[str, int]


@dataclass(frozen=True)
class Quantity:
    """One quantity as all its sources tell it."""

    name: str
    read: Mapping[str, str]  # source -> its columns, in words; the truth or camera comes first
    units: Mapping[str, str]
    coverage: Mapping[str, float]  # source -> share of all rows that it has
    comparisons: tuple[Comparison, ...]
    trust: Trust


@dataclass(frozen=True)
class Agreement:
    """What `lode dataset agreement` finds."""

    dataset_id: str
    url: str
    generator: str
    rows: int
    shards_done: int
    shards: int
    reference: str  # "truth", "camera" or "" where neither is known
    backends: tuple[Backend, ...]
    quantities: tuple[Quantity, ...]
    landmarks: tuple[LandmarkComparison, ...]
    failures: tuple[AngleBin, ...]  # by |yaw| of the reference
    notes: tuple[str, ...]


Pictures = Mapping[tuple[str, str, str], Scatter]  # (quantity, first, second)


@dataclass(frozen=True)
class Columns:
    """What is read of a dataset, all of N rows."""

    series: Mapping[str, Mapping[str, Series]]  # quantity -> source -> values
    measured: Mapping[str, NDArray[np.bool_]]  # backend -> whether its status says so
    angle: NDArray[np.floating]  # |yaw| is read off it; () where no reference has it
    distances: Mapping[tuple[str, str], NDArray[np.floating]]  # landmark columns
    known: Mapping[str, NDArray[np.bool_]]  # landmark column -> rows that have it
    sizes: Mapping[tuple[str, str], str]  # landmark columns -> what a distance of 1 is


def agreement(dataset: Dataset) -> tuple[Agreement, Pictures]:
    """Compare all backends of a dataset with each other and with what is known of the images.

    Raises:
        InputError: no shard is finished, or the dataset has no extractor.
    """
    manifest = dataset.manifest
    if not dataset.receipts:
        raise InputError(f"agreement: {dataset.url} has no finished shard yet.")
    if not manifest.extractors:
        raise InputError(f"agreement: {dataset.url} has no extractor, so nothing was measured.")
    columns = read_columns(dataset)
    options = {about["name"]: about["options"] for about in manifest.extractors}
    kin = {name: str(made.get("source", READS.get(name, name))) for name, made in options.items()}
    quantities, pictures = [], {}
    for name, sources in columns.series.items():
        pairs = list(combinations(sources.values(), 2))
        comparisons = [compare(*pair) for pair in pairs]
        for pair, found in zip(pairs, comparisons, strict=True):
            drawn = scatter(pair[0].values, pair[1].values, found)
            if drawn is not None:
                pictures[name, found.first, found.second] = drawn
        quantities.append(_quantity(name, sources, comparisons, manifest, kin))
    found = Agreement(
        dataset_id=dataset.dataset_id,
        url=dataset.url,
        generator=manifest.generator["name"],
        rows=dataset.rows,
        shards_done=len(dataset.receipts),
        shards=manifest.shards,
        reference=_reference(manifest),
        backends=_backends(dataset, columns),
        quantities=tuple(quantities),
        landmarks=tuple(
            compare_landmarks(
                pair,
                _field(manifest, pair[0]).shape[0],
                columns.sizes[pair],
                distances,
                (columns.known[pair[0]], columns.known[pair[1]]),
            )
            for pair, distances in columns.distances.items()
        ),
        failures=failures_by_angle(columns.angle, columns.measured) if len(columns.angle) else (),
        notes=(),
    )
    return Agreement(**{**vars(found), "notes": _notes(found, kin)}), pictures


def _quantity(
    name: str,
    sources: Mapping[str, Series],
    comparisons: Sequence[Comparison],
    manifest: Manifest,
    kin: Mapping[str, str],
) -> Quantity:
    known = [source for source in (TRUTH, CAMERA_SOURCE) if source in sources]
    measured = [one for source, one in sources.items() if source not in known]
    trust = (
        trust_by_truth(name, measured, sources[known[0]])
        if known
        else trust_by_agreement(name, measured, kin)
    )
    read = _plan(manifest)[name]
    return Quantity(
        name,
        {source: said(read[source]) for source in sources},
        {source: one.unit for source, one in sources.items()},
        {source: float(np.isfinite(one.values).mean()) for source, one in sources.items()},
        tuple(comparisons),
        trust,
    )


def _backends(dataset: Dataset, columns: Columns) -> tuple[Backend, ...]:
    statuses = dataset.statuses()
    return tuple(
        Backend(
            about["name"],
            about["licence"],
            int(columns.measured[about["name"]].sum()),
            dict(statuses.get(about["name"], {})),
        )
        for about in dataset.manifest.extractors
    )


def _notes(found: Agreement, kin: Mapping[str, str]) -> tuple[str, ...]:
    """What a reader has to know before the numbers."""
    notes = []
    if found.shards_done < found.shards:
        notes.append(f"Only {found.shards_done:,} of {found.shards:,} shards are finished.")
    if not found.quantities:
        notes.append("No two backends measure the same, and no truth is known: nothing to compare.")
    elif all(len(set(one.read) - {found.reference}) < 2 for one in found.quantities):
        notes.append(
            "No two backends measure the same quantity: they are held against the "
            f"{found.reference} alone."
        )
    if found.reference == CAMERA_SOURCE:
        notes.append(
            "The camera is what was asked of the generator; the face in the image may be turned "
            "otherwise, so what all backends miss alike may be the generator's."
        )
    for root in dict.fromkeys(kin.values()):
        readers = [name for name, reads in kin.items() if reads == root != name]
        if len(readers) > 1:
            notes.append(
                f"{' and '.join(readers)} read the landmarks of {root}: they fail together, and "
                "their agreement is not that of independent measurements."
            )
    return tuple(notes)


def _reference(manifest: Manifest) -> str:
    names = {field.name for field in manifest.fields}
    if PARAMETERS in names:
        return TRUTH
    return CAMERA_SOURCE if set(CAMERA) <= names else ""

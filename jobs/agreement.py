"""How far the backends of a dataset agree, and which to trust for what: numbers and a page.

Of each row, 4 bytes are kept per quantity and source; comparing takes some 100 bytes a row on top:
395 MB in all for a million rows, four backends and five quantities.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from jobs.agreement_columns import (
    CAMERA_SOURCE,
    TRUTH,
    Columns,
    plan,
    read_columns,
    reference_of,
)
from jobs.agreement_notes import notes_on
from jobs.report.agreement_charts import Scatter, scatter
from mining.evaluation.agreement import AngleBin, Comparison, Series, compare, failures_by_angle
from mining.evaluation.landmark_agreement import LandmarkComparison, compare_landmarks
from mining.evaluation.quantities import root_of, said
from mining.evaluation.trust import Trust, trust_by_agreement, trust_by_truth
from schemas.errors import ConflictError, CorruptDataError, InputError
from storage.dataset import Dataset
from storage.files import Store

TABLE, VERSION = "agreement", 1  # what agreement.json says that it is
MARK = "LatentLode agreement of dataset"  # what agreement.html says that it is
JSON, PAGE = "agreement.json", "agreement.html"


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
    read: Mapping[str, str]  # source -> its columns, in words; the truth or the camera first
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
    reference: str  # "truth", "camera", or "" where neither is known
    backends: tuple[Backend, ...]
    quantities: tuple[Quantity, ...]
    landmarks: tuple[LandmarkComparison, ...]
    failures: tuple[AngleBin, ...]  # by |yaw| of the reference
    notes: tuple[str, ...]  # what to know before the numbers


@dataclass(frozen=True)
class Advice:
    """Whom to trust for one quantity."""

    quantity: str
    basis: str
    backends: tuple[str, ...]
    reason: str


Pictures = Mapping[tuple[str, str, str], Scatter]  # quantity, first, second


def compare_backends(dataset: Dataset) -> tuple[Agreement, Pictures]:
    """Compare the backends of a dataset with each other and with what is known of its images.

    Raises:
        InputError: no shard is finished, or the dataset has no extractor.
    """
    manifest = dataset.manifest
    if not dataset.receipts:
        raise InputError(f"agreement: {dataset.url} has no finished shard yet.")
    if not manifest.extractors:
        raise InputError(f"agreement: {dataset.url} has no extractor, so nothing was measured.")
    kin = {
        about["name"]: root_of(about["load"], about["name"], about["options"])
        for about in manifest.extractors
    }
    columns = read_columns(dataset)
    quantities, pictures = [], {}
    for name, ways in plan(manifest).items():
        sources = columns.series[name]
        comparisons = []
        for first, second in combinations(sources.values(), 2):
            found = compare(first, second)
            comparisons.append(found)
            drawn = scatter(first.values, second.values, found)
            if drawn is not None:
                pictures[name, first.source, second.source] = drawn
        read = {source: said(way) for source, way in ways.items()}
        quantities.append(_quantity(name, read, sources, comparisons, kin))
    reference = reference_of(manifest)
    return Agreement(
        dataset_id=dataset.dataset_id,
        url=dataset.url,
        generator=manifest.generator["name"],
        rows=dataset.rows,
        shards_done=len(dataset.receipts),
        shards=manifest.shards,
        reference=reference,
        backends=_backends(dataset, columns),
        quantities=tuple(quantities),
        landmarks=_landmarks(dataset, columns),
        failures=failures_by_angle(columns.angle, columns.measured) if len(columns.angle) else (),
        notes=notes_on(dataset, reference, quantities, kin),
    ), pictures


def _quantity(
    name: str,
    read: Mapping[str, str],
    sources: Mapping[str, Series],
    comparisons: Sequence[Comparison],
    kin: Mapping[str, str],
) -> Quantity:
    known = [source for source in (TRUTH, CAMERA_SOURCE) if source in sources]
    measured = [one for source, one in sources.items() if source not in known]
    if known:
        trust = trust_by_truth(name, measured, sources[known[0]])
    else:
        trust = trust_by_agreement(name, measured, kin)
    coverage = {source: float(np.isfinite(s.values).mean()) for source, s in sources.items()}
    units = {source: one.unit for source, one in sources.items()}
    return Quantity(name, read, units, coverage, tuple(comparisons), trust)


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


def _landmarks(dataset: Dataset, columns: Columns) -> tuple[LandmarkComparison, ...]:
    known = columns.known
    return tuple(
        compare_landmarks(
            pair, dataset.field(pair[0]).shape[0], distances, (known[pair[0]], known[pair[1]])
        )
        for pair, distances in columns.distances.items()
    )


def document(found: Agreement) -> dict[str, Any]:
    """The findings as plain JSON; null where a number is not known."""
    return {"table": TABLE, "version": VERSION, **_plain(asdict(found))}


def read_advice(folder: str, dataset_id: str) -> tuple[Advice, ...]:
    """Whom to trust, as an earlier `write` left it; () where it did not, or for another dataset.

    Raises:
        CorruptDataError: the file is not as it was written.
    """
    from pydantic import TypeAdapter, ValidationError

    store = Store(folder)
    data = store.read(JSON) if store.exists(JSON) else b""
    if not _is_our_json(data, dataset_id):
        return ()
    try:
        told = [one["trust"] for one in json.loads(data)["quantities"]]
        return TypeAdapter(tuple[Advice, ...]).validate_python(told)
    except (ValidationError, KeyError, TypeError) as error:
        raise CorruptDataError(
            f"agreement: {store.path(JSON)} is damaged: {' '.join(str(error).split())} "
            "Delete it and run `lode dataset agreement` again."
        ) from None


def write(found: Agreement, page: str, folder: str, replace: bool = False) -> tuple[str, str]:
    """Write agreement.html and agreement.json into a folder or URL; their places.

    Those of an earlier run over the same dataset are replaced.

    Args:
        replace: those over other datasets too.

    Raises:
        ConflictError: files of these names are there that are something else's.
        StorageError: the folder cannot be written.
    """
    store = Store(folder)
    check_target(store, found.dataset_id, replace)
    text = json.dumps(document(found), indent=1, allow_nan=False, ensure_ascii=False)
    store.replace(PAGE, page.encode())
    store.replace(JSON, text.encode())
    return f"{folder}/{PAGE}", f"{folder}/{JSON}"


def check_target(store: Store, dataset_id: str, replace: bool = False) -> None:
    """Raise ConflictError where files of our names are not this dataset's agreement.

    Args:
        replace: that of any dataset will do.
    """
    wanted = None if replace else dataset_id
    for name, mine in ((JSON, _is_our_json), (PAGE, _is_our_page)):
        if store.exists(name) and not mine(store.read(name), wanted):
            whose = "an agreement" if replace else f"the agreement of dataset {dataset_id}"
            raise ConflictError(
                f"agreement: {store.path(name)} is not {whose}; move it away, or choose another "
                "--out. Nothing was changed."
            )


def _is_our_json(data: bytes, dataset_id: str | None) -> bool:
    """Whether it is the agreement of this dataset, or of any."""
    try:
        content = json.loads(data)
    except ValueError:
        return False
    if not isinstance(content, dict) or content.get("table") != TABLE:
        return False
    found = content.get("dataset_id")
    return isinstance(found, str) if dataset_id is None else found == dataset_id


def _is_our_page(data: bytes, dataset_id: str | None) -> bool:
    begins = f'<meta name="generator" content="{MARK} '
    return (begins if dataset_id is None else f'{begins}{dataset_id}">').encode() in data


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""What comparing backends reads of a dataset: shard by shard, and landmarks are never all held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mining.evaluation.agreement import PLAIN, Series
from mining.evaluation.landmark_agreement import landmark_distances
from mining.evaluation.quantities import QUANTITIES, TRUE_UNITS, Reading, readings
from mining.extractors.base import MEASURED
from schemas.samples import Field, from_column
from storage.dataset import CAMERA, Dataset
from storage.manifest import Manifest

TRUTH, CAMERA_SOURCE = "truth", "camera"  # the sources that are no backend
PARAMETERS = "truth_parameters"
IN_IMAGE = "fraction of the image"
Pair = tuple[str, str]


@dataclass(frozen=True)
class Columns:
    """N rows of a dataset: 4 bytes a value, 1 byte a yes or no."""

    series: Mapping[str, Mapping[str, Series]]  # quantity -> source -> values, the truth first
    measured: Mapping[str, NDArray[np.bool_]]  # backend -> whether its status says so
    angle: NDArray[np.float32]  # degrees of yaw as the truth or the camera has it; (0,) unknown
    known: Mapping[str, NDArray[np.bool_]]  # landmark column -> rows that have it
    distances: Mapping[Pair, NDArray[np.float32]]  # landmark columns -> as `landmark_distances`


def reference_of(manifest: Manifest) -> str:
    """What is known of the images beside measurements: "truth", "camera" or ""."""
    names = {field.name for field in manifest.fields}
    if PARAMETERS in names:
        return TRUTH
    return CAMERA_SOURCE if set(CAMERA) <= names else ""


def plan(manifest: Manifest) -> dict[str, dict[str, Reading]]:
    """Quantity -> source -> its columns, of what two sources have and a backend is one of.

    The truth, or the camera, comes first of the sources; pose comes first of the quantities.
    """
    columns = {source: list(fields) for source, fields in scalars(manifest).items()}
    found = readings(columns)
    order = dict.fromkeys([*TRUE_UNITS, *QUANTITIES, *found])
    return {name: found[name] for name in order if len(found.get(name, ())) > 1}


def scalars(manifest: Manifest) -> dict[str, dict[str, tuple[Field, int | None]]]:
    """Source -> name -> its field, and where in it the number lies if it holds several."""
    fields = {field.name: field for field in manifest.fields}
    found: dict[str, dict[str, tuple[Field, int | None]]] = {}
    reference = reference_of(manifest)
    if reference == TRUTH:
        names = fields[PARAMETERS].names
        found[TRUTH] = {name: (fields[PARAMETERS], k) for k, name in enumerate(names)}
    if reference == CAMERA_SOURCE:
        found[CAMERA_SOURCE] = {name[7:]: (fields[name], None) for name in CAMERA}
    for about in manifest.extractors:
        found[about["name"]] = {}
    for field in manifest.fields:
        owner = _owner(field.name, manifest)
        if owner and field.dtype == "float32" and not field.shape:
            found[owner][field.name.removeprefix(f"{owner}_")] = (field, None)
    return found


def landmark_pairs(manifest: Manifest) -> list[Pair]:
    """Landmark columns of as many points in the image, of two extractors or the truth and one."""
    sets = [
        (_owner(field.name, manifest) or TRUTH, field)
        for field in manifest.fields
        if field.unit == IN_IMAGE and len(field.shape) == 2 and field.shape[1] == 2
    ]
    return [
        (first.name, second.name)
        for (one, first), (two, second) in combinations(sets, 2)
        if one != two and first.shape == second.shape
    ]


def read_columns(dataset: Dataset) -> Columns:
    """Read all finished shards once."""
    manifest = dataset.manifest
    known, planned, pairs = scalars(manifest), plan(manifest), landmark_pairs(manifest)
    sets = list(dict.fromkeys(name for pair in pairs for name in pair))
    backends = [about["name"] for about in manifest.extractors]
    yaw = known.get(reference_of(manifest), {}).get("yaw")
    wanted = [(quantity, source) for quantity, ways in planned.items() for source in ways]
    used = [
        known[source][name.removeprefix("-")][0].name
        for quantity, source in wanted
        for name in planned[quantity][source]
    ]
    used += [yaw[0].name] if yaw else []
    names = dict.fromkeys([*(f"{name}_status" for name in backends), *used, *sets])
    parts: list[_Part] = []
    for table in dataset.tables(list(names)):
        shard = _Shard(table, manifest, known)
        parts.append(
            _Part(
                [shard.read(source, planned[quantity][source]) for quantity, source in wanted],
                [shard.measured(name) for name in backends],
                shard.number(yaw).astype(np.float32) if yaw else np.empty(0, np.float32),
                [shard.has(name) for name in sets],
                [shard.distances(pair) for pair in pairs],
            )
        )
    series: dict[str, dict[str, Series]] = {}
    for k, (quantity, source) in enumerate(wanted):
        values = np.concatenate([part.values[k] for part in parts])
        unit = _unit(known[source], source, planned[quantity][source])
        series.setdefault(quantity, {})[source] = Series(source, values, unit)
        for part in parts:
            part.values[k] = np.empty(0, np.float32)  # held once, not twice
    return Columns(
        series,
        {n: np.concatenate([part.measured[k] for part in parts]) for k, n in enumerate(backends)},
        np.concatenate([part.angle for part in parts]),
        {name: np.concatenate([part.known[k] for part in parts]) for k, name in enumerate(sets)},
        {p: np.concatenate([part.distances[k] for part in parts]) for k, p in enumerate(pairs)},
    )


@dataclass(frozen=True)
class _Part:
    """One shard's rows of `Columns`."""

    values: list[NDArray[np.float32]]
    measured: list[NDArray[np.bool_]]
    angle: NDArray[np.float32]
    known: list[NDArray[np.bool_]]
    distances: list[NDArray[np.float32]]


class _Shard:
    """One shard; every column is taken apart once."""

    def __init__(
        self,
        table: pa.Table,
        manifest: Manifest,
        known: Mapping[str, Mapping[str, tuple[Field, int | None]]],
    ):
        self._table, self._manifest, self._known = table, manifest, known
        self._arrays: dict[str, NDArray] = {}
        self._measured: dict[str, NDArray[np.bool_]] = {}

    def read(self, source: str, reading: Reading) -> NDArray[np.float32]:
        """(n,) the mean of the signed columns; NaN where one is missing or the status says so."""
        total = np.zeros(self._table.num_rows)
        for name in reading:
            sign = -1.0 if name.startswith("-") else 1.0
            total += sign * self.number(self._known[source][name.removeprefix("-")])
        total /= len(reading)
        usable = np.isfinite(total)
        if source not in (TRUTH, CAMERA_SOURCE):
            usable &= self.measured(source)
        return np.where(usable, total, np.nan).astype(np.float32)

    def number(self, place: tuple[Field, int | None]) -> NDArray[np.float64]:
        """(n,) one scalar column, or one entry of a vector column."""
        field, entry = place
        values = self._array(field.name)
        return np.asarray(values if entry is None else values[:, entry], np.float64)

    def measured(self, backend: str) -> NDArray[np.bool_]:
        """(n,) whether the backend's status says that it measured."""
        if backend not in self._measured:
            statuses = np.array(self._table.column(f"{backend}_status").to_pylist(), str)
            self._measured[backend] = np.isin(statuses, sorted(MEASURED))
        return self._measured[backend]

    def has(self, name: str) -> NDArray[np.bool_]:
        """(n,) whether a landmark column has all its points."""
        found = np.asarray(np.isfinite(self._array(name)).all(axis=(1, 2)), bool)
        owner = _owner(name, self._manifest)
        return found & self.measured(owner) if owner else found

    def distances(self, pair: Pair) -> NDArray[np.float32]:
        """(n,) as `landmark_distances`; NaN where one of the two is missing."""
        both = self.has(pair[0]) & self.has(pair[1])
        found = np.full(len(both), np.nan, np.float32)
        found[both] = landmark_distances(*(self._array(name)[both] for name in pair))
        return found

    def _array(self, name: str) -> NDArray:
        if name not in self._arrays:
            self._arrays[name] = from_column(self._table.column(name))
        return self._arrays[name]


def _unit(known: Mapping[str, tuple[Field, int | None]], source: str, reading: Reading) -> str:
    """The unit of the columns; plain where they differ."""
    names = [name.removeprefix("-") for name in reading]
    if source == TRUTH:
        return TRUE_UNITS.get(names[0], PLAIN)
    units = {known[name][0].unit for name in names}
    return units.pop() if len(units) == 1 else PLAIN


def _owner(name: str, manifest: Manifest) -> str | None:
    """The extractor that filled a column: the longest whose name it begins with."""
    owners = [about["name"] for about in manifest.extractors]
    return max((made for made in owners if name.startswith(f"{made}_")), key=len, default=None)

"""A dataset as its readers see it: a manifest and the shards that have a receipt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import InputError
from schemas.registry import unknown
from schemas.samples import Field, from_column
from storage.files import Store
from storage.manifest import Manifest, load
from storage.shards import Receipt, finished, read_shard, tally

CAMERA = ("camera_yaw", "camera_pitch", "camera_roll")  # columns where the condition is a camera
SEQUENCE, FRAME = "sequence", "frame"  # columns where frames of one identity were sampled


class Dataset:
    """Opens a dataset folder or URL for reading.

    Raises:
        InputError: there is no dataset at the URL.
    """

    def __init__(self, url: str):
        self.url = url
        self.store = Store(url)
        self.manifest = load(self.store)
        self.receipts: dict[int, Receipt] = finished(self.store, self.manifest)

    @property
    def dataset_id(self) -> str:
        """16 hex digits that name the dataset."""
        return self.manifest.dataset_id

    @property
    def rows(self) -> int:
        """Rows of all finished shards."""
        return sum(receipt.rows for receipt in self.receipts.values())

    @property
    def complete(self) -> bool:
        """Whether every shard is finished."""
        return len(self.receipts) == self.manifest.shards

    def statuses(self) -> dict[str, dict[str, int]]:
        """Extractor -> status -> rows."""
        return tally(self.receipts)

    def field(self, name: str) -> Field:
        """One column's description; InputError names the nearest where there is none."""
        fields = {field.name: field for field in self.manifest.fields}
        if name not in fields:
            raise unknown("column", name, fields)
        return fields[name]

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The finished shards in order, each checked against its receipt."""
        names = None if columns is None else [self.field(name).name for name in columns]
        for shard in sorted(self.receipts):
            yield read_shard(self.store, self.receipts[shard], names)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Columns of all finished shards as one table."""
        if not self.receipts:
            raise InputError(f"dataset: {self.url} has no finished shard yet.")
        return pa.concat_tables(self.tables(columns))

    def arrays(self, columns: Sequence[str]) -> dict[str, NDArray]:
        """Columns as NumPy arrays (N, *shape); unmeasured rows are NaN."""
        table = self.read(columns)
        return {name: from_column(table.column(name)) for name in columns}

    def attributes(self) -> dict[str, Field]:
        """As `attribute_fields` of the manifest."""
        return attribute_fields(self.manifest)

    def attribute(self, name: str) -> tuple[NDArray[np.float64], Field]:
        """(N,) values of one attribute, NaN where unmeasured, and its field."""
        known = self.attributes()
        if name not in known:
            raise unknown("attribute", name, known)
        values = self.arrays([known[name].name])[known[name].name]
        return values.astype(np.float64), known[name]


def image_size(manifest: Manifest) -> int:
    """The edge in pixels of the images that the extractors read."""
    return manifest.settings.get("image_size") or manifest.generator["resolution"]


def attribute_fields(manifest: Manifest) -> dict[str, Field]:
    """The scalar float columns of the extractors, by their names without the prefix.

    Where two extractors share a name, the one that runs first keeps it; the other is reached by
    its full column name. The camera's angles, where the generator has one, come last.
    """
    found: dict[str, Field] = {}
    for extractor in manifest.extractors:
        prefix = f"{extractor['name']}_"
        for field in manifest.fields:
            if field.name.startswith(prefix) and field.dtype == "float32" and not field.shape:
                found.setdefault(field.name.removeprefix(prefix), field)
                found[field.name] = field
    for field in manifest.fields:
        if field.name in CAMERA:
            found.setdefault(field.name, field)
    return found

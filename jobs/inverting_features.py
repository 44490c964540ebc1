"""What an encoder reads of two datasets: small images, landmarks, face descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mining.extending import decode
from mining.rendering import downscale
from mining.stored import thumbnail_size
from schemas.errors import InputError
from schemas.registry import unknown
from schemas.samples import from_column
from storage.manifest import Manifest

EDGE = 16  # pixels of the small images; more of them read no better, and take the square as long
AT_ONCE = 512  # thumbnails that are decoded together
PIXELS, THUMBNAIL = "pixels", "thumbnail"
ENDS = (
    "_landmarks",
    "_descriptor",
    "_embedding",
)  # of the columns that are read where none is named
WHO = "lode dataset invert"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """What an encoder reads of the rows of datasets."""

    columns: tuple[str, ...]
    edge: int  # 0: no pixels

    def of(self, table: pa.Table, size: int) -> dict[str, Floats]:
        """Kind -> (N, F) of a table's rows; `size` is that of its thumbnails."""
        found = {name: flat(from_column(table.column(name))) for name in self.columns}
        if self.edge:
            found[PIXELS] = flat(_small(table, size, self.edge))
        return found

    @property
    def stored(self) -> list[str]:
        """The columns that they are read from."""
        return [*self.columns, *([THUMBNAIL] if self.edge else [])]


def shared_features(
    images: Manifest, teacher: Manifest, columns: Sequence[str] | None, edge: int
) -> Features:
    """What both datasets hold.

    Args:
        columns, edge: as `jobs.inverting.invert` takes them.

    Raises:
        InputError: a dataset lacks a column, or they share nothing.
    """
    fields = [{field.name: field for field in about.fields} for about in (images, teacher)]
    if columns is None:
        names = [name for name in _alike(images, teacher) if name.endswith(ENDS)]
    else:
        names = list(dict.fromkeys(columns))
    for name in names:
        for known in fields:
            if name not in known:
                raise unknown(f"{WHO}: column", name, known)
        one, other = (known[name] for known in fields)
        if one.dtype != "float32" or one.shape != other.shape:
            raise InputError(
                f"{WHO}: column {name} holds {one.dtype} {one.shape} here and {other.dtype} "
                f"{other.shape} there; expected float32 of one shape."
            )
    pixels = all(THUMBNAIL in known for known in fields) and edge <= min(
        thumbnail_size(about) for about in (images, teacher)
    )
    if not names and not (pixels and edge):
        raise InputError(
            f"{WHO}: the datasets share nothing to read: expected thumbnails of {edge or EDGE} "
            "pixels at least, or landmarks or descriptors of the same extractors. Add those with "
            "lode dataset extend."
        )
    return Features(tuple(names), edge if pixels else 0)


def _alike(images: Manifest, teacher: Manifest) -> list[str]:
    """Columns that extractors of one name and fingerprint measured in both."""
    made = [
        {(a["name"], a["fingerprint"]) for a in about.extractors} for about in (images, teacher)
    ]
    prefixes = tuple(f"{name}_" for name, _ in sorted(made[0] & made[1]))
    there = {field.name for field in teacher.fields}
    names = [field.name for field in images.fields if field.dtype == "float32" and field.shape]
    return [name for name in names if name.startswith(prefixes) and name in there]


def _small(table: pa.Table, size: int, edge: int) -> Floats:
    """(N, edge, edge, 3) in -1..1 of the thumbnails, a bounded number of them decoded at once."""
    starts = range(0, len(table), AT_ONCE)
    parts = [downscale(decode(table.slice(k, AT_ONCE), size), edge) for k in starts]
    return np.concatenate(parts).astype(np.float32) / 127.5 - 1


def flat(values: NDArray) -> Floats:
    """(N, ...) as float32 (N, F)."""
    return np.asarray(values, np.float32).reshape(len(values), -1)

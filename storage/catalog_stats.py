"""What a catalogue holds, in numbers: counts, what was not measured, near-duplicates, size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from storage import artefacts, delta
from storage.duplicates import LIMIT, Duplicates, within

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from storage.catalog import Catalog
    from storage.snapshots import State
    from storage.tag_table import Tag


@dataclass(frozen=True)
class Stats:
    """A catalogue in numbers; what is counted by or without something are the newest versions."""

    url: str
    commit: int  # the newest one
    publications: int
    first: datetime  # UTC, the publishers' clocks
    last: datetime
    versions: int  # of all lineages together
    directions: int  # different ids among them
    lineages: int
    fingerprints: int  # of generators
    generators: Mapping[str, int]  # name -> lineages, the most frequent first; so the next three
    spaces: Mapping[str, int]
    methods: Mapping[str, int]
    attributes: Mapping[str, int]
    without_responses: int
    without_stability: int
    without_calibration: int
    artefacts: int  # lineages whose newest version is no vector
    bytes: int  # of the table's data files
    artefact_bytes: int  # of all files of artefacts, those that no card names included
    tags: Mapping[str, Tag]
    duplicates: Duplicates | None  # None where nobody asked


def stats(catalog: Catalog, limit: float | None = LIMIT) -> Stats:
    """Count what a catalogue holds, as of the commit or time at which it was opened.

    Args:
        catalog: which one.
        limit: of |cosine|, beyond which two directions are near-duplicates; None not to look,
            which is the only slow part where one space of one generator has many directions.

    Raises:
        InputError: nothing was published yet.
        StorageError: the catalogue cannot be read.
    """
    from storage import opening, snapshots

    state = snapshots.current(catalog.url, catalog.as_of)
    if not len(state):
        raise opening.empty(catalog.url)
    rows = state.table()
    newest, times = rows.filter(rows["latest"]), rows["created_at"].to_numpy()
    return Stats(
        url=catalog.url,
        commit=state.commit,
        publications=_different(rows["publication_id"]),
        first=_time(times.min()),
        last=_time(times.max()),
        versions=rows.num_rows,
        directions=_different(rows["direction_id"]),
        lineages=newest.num_rows,
        fingerprints=_different(newest["generator_fingerprint"]),
        **{f"{name}s": _counts(newest[name]) for name in _COUNTED},
        without_responses=_empty(newest["responses"]),
        without_stability=newest["stability"].null_count,
        without_calibration=newest["calibration_step"].null_count,
        artefacts=newest.num_rows - newest["artefact_sha256"].null_count,
        bytes=_bytes(catalog.url, state.commit),
        artefact_bytes=sum(artefacts.kept(catalog.url).values()),
        tags=catalog.tags(),
        duplicates=None if limit is None else _duplicates(state, limit),
    )


_COUNTED = ("generator", "space", "method", "attribute")


def _duplicates(state: State, limit: float) -> Duplicates:
    from storage import nearest

    return within(nearest.with_vectors(state, nearest.groups(state)), limit)


def _counts(values: pa.ChunkedArray) -> dict[str, int]:
    pairs = [(item["values"], item["counts"]) for item in values.value_counts().to_pylist()]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _different(values: pa.ChunkedArray) -> int:
    return len(values.unique())


def _empty(lists: pa.ChunkedArray) -> int:
    lengths = lists.combine_chunks().value_lengths().to_numpy()
    return int((lengths == 0).sum())


def _time(stamp: np.datetime64) -> datetime:
    return stamp.astype("datetime64[us]").item().replace(tzinfo=UTC)


def _bytes(url: str, commit: int) -> int:
    """Of the data files that a reader of this commit reads."""
    import pyarrow as pa

    table = delta.open_table(url, commit)
    if table is None:
        return 0
    return int(pa.table(table.get_add_actions(flatten=True))["size_bytes"].to_numpy().sum())

"""The table of tags: a Delta table in the catalogue's folder, to which changes are appended.

Readers of the catalogue pass it over, as every folder whose name begins with an underscore. Each
row is one change; nothing is overwritten, so every move can be looked up.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from schemas.errors import InputError, StorageError
from storage import delta

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

FOLDER = "_tags"  # below the catalogue
SCHEMA_VERSION = 1  # raise it when a column changes its meaning, its type or its name

_SCHEMA_KEY = "latentlode.tagsVersion"


class Target(NamedTuple):
    """One version of a direction."""

    direction_id: str
    version: int

    def __str__(self) -> str:
        return f"{self.direction_id}@{self.version}"


@dataclass(frozen=True)
class Tag:
    """One change of a tag; the newest of a name says where it points."""

    name: str
    target: Target | None  # None where the tag was removed
    previous: Target | None  # None where it was not there before
    moved_at: datetime  # UTC, the mover's clock
    commit: int  # the catalogue's newest commit when it was moved
    number: int  # orders the changes of all tags: the commit of this table that holds it
    change: str  # 32 hex digits of its own


def open_(url: str) -> DeltaTable | None:
    """The tags of the catalogue at this URL as they are now; None where nothing was ever tagged.

    Raises:
        InputError: a newer LatentLode wrote them.
        StorageError: they cannot be read.
    """
    table = delta.open_table(f"{url}/{FOLDER}")
    if table is None:
        return None
    stored = table.metadata().configuration.get(_SCHEMA_KEY, "")
    if not stored.isdecimal() or int(stored) > SCHEMA_VERSION:
        raise InputError(
            f"{url}/{FOLDER} has version {stored or 'none'} of the tags, this LatentLode reads up "
            f"to {SCHEMA_VERSION}; install a newer one: pip install --upgrade latentlode."
        )
    return table


def open_or_create(url: str) -> DeltaTable:
    """As `open_`; where there is no table, it is made."""
    table = open_(url)
    if table is None:
        configuration = {_SCHEMA_KEY: str(SCHEMA_VERSION), **delta.KEEP_HISTORY}
        delta.create_table(f"{url}/{FOLDER}", schema(), "latentlode tags", configuration)
        table = open_(url)
    if table is None:
        raise StorageError(f"{url}/{FOLDER} vanished while it was being created; run it again.")
    return table


def read(table: DeltaTable) -> tuple[Tag, ...]:
    """Every change that the table holds as it was opened, oldest first.

    Raises:
        StorageError: a data file is missing or broken.
    """
    state = (table.metadata().id, table.version())
    known = _READ.get(table.table_uri)
    if known is not None and known[0] == state:
        return known[1]
    rows = delta.scan(table, schema()).sort_by("number").to_pylist()
    _READ[table.table_uri] = (state, tuple(_tag(row) for row in rows))
    return _READ[table.table_uri][1]


def append(table: DeltaTable, tag: Tag) -> Exception | None:
    """Write a change as the commit right after the one opened; the error where that failed."""
    import pyarrow as pa
    from deltalake import CommitProperties, write_deltalake

    rows = pa.Table.from_pylist([_row(tag)], schema=schema())
    only = CommitProperties(max_commit_retries=0)  # a retry would come after another's change
    try:
        write_deltalake(table, rows, mode="append", commit_properties=only)
    except delta.delta_errors() as error:
        return error
    return None


def tidy(table: DeltaTable) -> None:
    """Join the files of many changes into one, so that reading stays quick; harmless to fail at."""
    with contextlib.suppress(*delta.delta_errors()):
        table.optimize.compact()


def schema() -> pa.Schema:
    """The columns. A target is null where a tag was removed, a previous one where it is new."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("tag", pa.string(), nullable=False),
            pa.field("direction_id", pa.string()),
            pa.field("version", pa.int32()),  # rank within the direction's lineage, from 1
            pa.field("previous_direction_id", pa.string()),
            pa.field("previous_version", pa.int32()),
            pa.field("moved_at", pa.timestamp("us", "UTC"), nullable=False),  # the mover's clock
            pa.field("commit", pa.int64(), nullable=False),  # the catalogue's newest one
            pa.field("number", pa.int64(), nullable=False),  # the newest of a tag counts
            pa.field("change", pa.string(), nullable=False),
        ]
    )


def _row(tag: Tag) -> dict[str, object]:
    target, previous = tag.target or (None, None), tag.previous or (None, None)
    return {
        **{"tag": tag.name, "direction_id": target[0], "version": target[1]},
        **{"previous_direction_id": previous[0], "previous_version": previous[1]},
        **{name: getattr(tag, name) for name in ("moved_at", "commit", "number", "change")},
    }


def _tag(row: dict[str, object]) -> Tag:
    def target(which: str) -> Target | None:
        name, version = row[f"{which}direction_id"], row[f"{which}version"]
        return None if name is None else Target(str(name), int(str(version)))

    return Tag(
        name=str(row["tag"]),
        target=target(""),
        previous=target("previous_"),
        moved_at=row["moved_at"].astimezone(UTC),  # pyright: ignore[reportAttributeAccessIssue]
        **{name: row[name] for name in ("commit", "number", "change")},  # pyright: ignore[reportArgumentType]
    )


# the changes as last read, by the table's place; a table that was made anew has another id
_READ: dict[str, tuple[tuple[object, int], tuple[Tag, ...]]] = {}

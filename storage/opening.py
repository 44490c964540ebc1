"""The catalogue's Delta table: opened, created, and given the columns that came later."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING

from schemas.errors import ConflictError, InputError, StorageError
from storage import delta
from storage.card_table import SCHEMA, SCHEMA_VERSION
from storage.files import Store

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

_FIRST = "run `make demo` or `python jobs/mine_directions.py` first, or name another catalogue"
_SCHEMA_KEY = "latentlode.schemaVersion"
_ATTEMPTS = 20  # at adding columns while others write
_LOG = "_delta_log"
_OURS = ("_artefacts", "_tags")  # which may stand before the first card does


def open_or_none(url: str, version: int | None = None) -> DeltaTable | None:
    """The catalogue at its newest (or the given) commit; None where nothing was published.

    Raises:
        InputError: there is a file, another table, another schema version, or no such commit.
        StorageError: the place cannot be read.
    """
    if os.path.isfile(url):  # which Delta Lake calls missing
        raise InputError(f"{url} is a file and holds no catalogue; expected a folder or a URL.")
    table = delta.open_table(url, version)
    if table is not None:
        check(url, table)
    return table


def open_(url: str, version: int | None = None) -> DeltaTable:
    """As `open_or_none`, and an InputError where nothing was published."""
    table = open_or_none(url, version)
    if table is not None:
        return table
    if os.path.exists(url):
        raise InputError(f"{url} holds no catalogue; {_FIRST}.")
    raise InputError(f"there is no catalogue at {url}; {_FIRST}.")


def empty(url: str) -> InputError:
    """The error for a catalogue that holds no card."""
    return InputError(f"the catalogue {url} is empty; {_FIRST}.")


def check_folder(url: str) -> None:
    """Refuse a folder that holds something else, or cannot be written, before any work.

    Raises:
        ConflictError: there are files, and none of a catalogue.
        InputError: nothing can be written there.
    """
    store = Store(url)
    store.check_writable()
    _refuse_strangers(url, store.names())


def _refuse_strangers(url: str, names: Collection[str]) -> None:
    strangers = [name for name in names if not name.startswith((".", *_OURS))]
    if strangers and _LOG not in names:
        raise ConflictError(
            f"catalog: {url} holds {', '.join(sorted(strangers)[:3])} but no catalogue; choose an "
            "empty folder or an existing catalogue. Nothing was changed."
        )


def check(url: str, table: DeltaTable) -> None:
    """Refuse a table that this code would misread.

    Raises:
        InputError: it is no catalogue, its schema version is another, or a column's type is.
    """
    import pyarrow as pa

    stored = table.metadata().configuration.get(_SCHEMA_KEY, "")
    if not stored.isdecimal():
        raise InputError(f"{url} is a Delta table, but not a catalogue of LatentLode.")
    if int(stored) != SCHEMA_VERSION:
        raise InputError(
            f"{url} has schema version {stored}, this LatentLode reads up to {SCHEMA_VERSION}; "
            "install a newer one: pip install --upgrade latentlode."
            if int(stored) > SCHEMA_VERSION
            else f"{url} has schema version {stored}, which no LatentLode wrote; expected "
            f"{SCHEMA_VERSION}. Read it with any Delta reader and publish its cards anew."
        )
    for field in pa.schema(table.schema().to_arrow()):
        if field.name in SCHEMA.names and field.type != SCHEMA.field(field.name).type:
            raise InputError(
                f"{url}: the column {field.name!r} is {field.type}; expected "
                f"{SCHEMA.field(field.name).type}. Another program changed it; name another "
                "catalogue."
            )


def open_for_writing(url: str) -> DeltaTable:
    """The catalogue with every column of SCHEMA; created where it is missing.

    Columns are added in a commit of their own, as those that write at that moment are refused.

    Raises:
        InputError: as `open_or_none`, or a column has another type than in SCHEMA.
        ConflictError: the folder holds something else.
        StorageError: it cannot be read or written.
    """
    table = open_or_none(url)
    if table is None:
        if os.path.isdir(url):
            _refuse_strangers(url, os.listdir(url))
        configuration = {_SCHEMA_KEY: str(SCHEMA_VERSION), **delta.KEEP_HISTORY}
        delta.create_table(url, SCHEMA, "latentlode catalogue", configuration)
        table = open_or_none(url)
    said = "it vanished while it was being created"
    for _ in range(_ATTEMPTS):
        if table is None:
            break
        said = _add_columns(table)
        if not said:
            return table
        table = open_or_none(url)  # with the columns, where another process was first
    raise StorageError(f"{url} cannot be opened for writing: {said}; run it again.")


def fitted(rows: pa.Table, table: DeltaTable) -> pa.Table:
    """Rows of SCHEMA in the table's order, null in columns that a later LatentLode added.

    Raises:
        InputError: such a column may not be null.
    """
    import pyarrow as pa

    columns = {}
    for field in pa.schema(table.schema().to_arrow()):
        if field.name in rows.schema.names:
            columns[field.name] = rows[field.name]
            continue
        if not field.nullable:
            raise InputError(
                f"publish: {table.table_uri} needs a column {field.name!r}, which this LatentLode "
                "does not know; install a newer one: pip install --upgrade latentlode."
            )
        columns[field.name] = pa.nulls(rows.num_rows, field.type)
    fields = [
        SCHEMA.field(n) if n in SCHEMA.names else pa.field(n, c.type) for n, c in columns.items()
    ]
    return pa.table(list(columns.values()), schema=pa.schema(fields))


def _add_columns(table: DeltaTable) -> str:
    """Add what the table lacks; what went wrong, or "" where it lacks nothing any more."""
    from deltalake import Schema

    stored = {field.name for field in table.schema().fields}
    missing = [field.name for field in SCHEMA if field.name not in stored]
    if not missing:
        return ""
    fields = [field for field in Schema.from_arrow(SCHEMA).fields if field.name in missing]
    if not all(field.nullable for field in fields):
        return f"it lacks columns that no version of this table is without: {', '.join(missing)}"
    try:
        table.alter.add_columns(fields)
    except delta.delta_errors() as error:
        return delta.one_line(error)
    return ""

"""Delta Lake tables by URL: opened, created and read with errors that say what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import InputError, StorageError

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable

Equal = str | Collection[str]

RETRIES = 200  # with the default 15, busy publishers are refused (measured: 113 rows of 800)
# As-of queries and the order of commits need the whole log.
KEEP_HISTORY = {
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.enableExpiredLogCleanup": "false",
    "delta.appendOnly": "true",
}


def place(url: str) -> str:
    """The URL or the absolute local path that deltalake takes; file:// becomes a path.

    Raises:
        InputError: it holds a character that deltalake loses.
    """
    remote = re.match(r"[a-z][a-z0-9+.-]+://", url) and not url.startswith("file://")
    if not remote:
        url = str(Path(url.removeprefix("file://")).expanduser().absolute())
    # deltalake 1.6.6 decodes "%" once too often, finds no log behind "#" and "?", dies of "[]^|"
    odd = re.search(r"[%#?\[\]^|\\\x00-\x1f]", url)
    if odd:
        raise InputError(
            f"{url!r}: Delta Lake cannot keep {odd[0]!r} in a path; name another folder."
        )
    return url.rstrip("/")


def delta_errors() -> tuple[type[Exception], ...]:
    """What deltalake raises when storage fails: its own root, the system's and Arrow's."""
    import pyarrow as pa
    from deltalake.exceptions import DeltaError

    return (DeltaError, OSError, pa.ArrowException)


def one_line(error: BaseException) -> str:
    """The message of one of `delta_errors` in one line, without colours and backtrace."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).replace("↳", ":")
    return " ".join(re.split(r"\n +0: ", plain)[0].split())


def open_table(url: str, version: int | None = None) -> DeltaTable | None:
    """The table at its newest (or the given) commit; None where there is no table.

    Raises:
        InputError: there is no such commit.
        StorageError: the place cannot be read.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    try:
        table = DeltaTable(url, storage_options=_options(url))
    except TableNotFoundError:
        return None
    except delta_errors() as error:
        raise StorageError(f"{url} cannot be opened: {one_line(error)}") from error
    if version is None:
        return table
    if not 0 <= version <= table.version():
        raise InputError(f"{url} has the commits 0 to {table.version()}; {version} came.")
    try:
        table.load_as_version(version)
    except delta_errors() as error:
        raise StorageError(f"{url} at commit {version}: {one_line(error)}") from error
    return table


def create_table(url: str, schema: pa.Schema, name: str, configuration: Mapping[str, str]) -> None:
    """Create an empty table, unless another process does so first.

    Raises:
        StorageError: the place cannot be written.
    """
    from deltalake import CommitProperties, DeltaTable

    try:
        DeltaTable.create(
            url,
            schema,
            mode="ignore",
            name=name,
            configuration=configuration,
            storage_options=_options(url),
            # a retry would commit a second creation on top of another process's first
            commit_properties=CommitProperties(max_commit_retries=0),
            raise_if_key_not_exists=False,
        )
    except delta_errors() as error:
        if open_table(url) is None:
            raise StorageError(f"{url} cannot be created: {one_line(error)}") from error


def once(transaction: str, **metadata: str) -> CommitProperties:
    """Properties of a commit that retries, and conflicts with a second one of its transaction."""
    from deltalake import CommitProperties, Transaction

    return CommitProperties(
        max_commit_retries=RETRIES,
        app_transactions=[Transaction(transaction, 1)],
        custom_metadata=metadata,
    )


def scan(table: DeltaTable, schema: pa.Schema, **equal: Equal) -> pa.Table:
    """The schema's columns of the rows whose columns `equal` the values, in no certain order.

    A nullable column that the table lacks is null; columns beyond the schema are passed over. A
    value is a text, or several of which one must equal.

    Raises:
        StorageError: a data file is missing or broken, or a column is missing or of another type.
    """
    import pyarrow as pa

    return pa.Table.from_batches(list(stream(table, schema, **equal)), schema)


def stream(table: DeltaTable, schema: pa.Schema, **equal: Equal) -> Iterator[pa.RecordBatch]:
    """As `scan`, a batch at a time.

    Read by delta-rs itself: with deltalake 1.6.6 and pyarrow 26, `to_pyarrow_table` and
    `to_pandas` abort the interpreter at its exit, three times of four (a thread of pyarrow's
    outlives the Python file system that it reads through; see pola-rs/polars#24169).
    """
    import pyarrow as pa

    stored = {field.name for field in table.schema().fields}
    missing = [field.name for field in schema if field.name not in stored and not field.nullable]
    if missing:
        raise StorageError(f"{table.table_uri} lacks the columns {', '.join(missing)}.")
    columns = [name for name in schema.names if name in stored]
    predicate = " AND ".join(_condition(name, value) for name, value in equal.items()) or None
    try:
        found = table.scan(columns=columns, predicate=predicate)
        for batch in pa.RecordBatchReader.from_stream(found):
            yield _with_all(batch, schema)
    except (*delta_errors(), ValueError) as error:  # ValueError: a null where none may be
        raise StorageError(f"{table.table_uri} cannot be read: {one_line(error)}") from error


def _condition(name: str, value: Equal) -> str:
    values = [value] if isinstance(value, str) else value
    quoted = ["'" + each.replace("'", "''") + "'" for each in values]
    return f"{name} IN ({', '.join(quoted)})"


def _with_all(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The schema's columns of its types, null where the batch has none."""
    import pyarrow as pa

    columns = []
    for field in schema:
        known = field.name in batch.schema.names
        column = batch[field.name].cast(field.type) if known else pa.nulls(len(batch), field.type)
        if column.null_count and not field.nullable:
            raise ValueError(f"column {field.name} holds null.")
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def commits(table: DeltaTable, key: str) -> dict[str, int]:
    """Commit number by the `key` of the commits' metadata, for those that carry one.

    Raises:
        StorageError: the log cannot be read.
    """
    try:
        history = table.history()[::-1]
    except delta_errors() as error:
        raise StorageError(f"{table.table_uri}: its log is broken: {one_line(error)}") from error
    if not history:
        raise StorageError(f"{table.table_uri}: its log lists no commit, so there is no order.")
    # deltalake 1.6.6 lists the newest log and numbers it down from the commit this table was
    # opened at, which is too low when others have committed since; a log with its creation
    # starts at 0
    whole = history[0]["operation"].startswith("CREATE")
    first = 0 if whole else history[0]["version"]
    return {commit[key]: first + at for at, commit in enumerate(history) if key in commit}


def _options(url: str) -> dict[str, str]:
    """What deltalake needs told beyond the environment: s3fs takes plain http as it comes."""
    endpoints = (os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"))
    plain = url.startswith("s3") and any(end.startswith("http://") for end in endpoints)
    return {"AWS_ALLOW_HTTP": "true"} if plain else {}

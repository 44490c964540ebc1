"""Rows of any number of tables as Parquet files of bounded size, for readers of every kind."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 10_000


def packed(tables: Iterator[pa.Table], most: int) -> Iterator[pa.Table]:
    """The same rows in tables of `most` bytes at most, or of one row; some are half as large.

    Holds one such table, and one of those that come.
    """
    waiting: list[pa.Table] = []
    held = 0
    for table in tables:
        for part in _slices(table, most):
            if waiting and held + part.nbytes > most:
                yield pa.concat_tables(waiting).combine_chunks()
                waiting, held = [], 0
            waiting.append(part)
            held += part.nbytes
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def parquet(table: pa.Table) -> bytes:
    """A table as Parquet whose bytes depend on its rows alone; statistics of the plain columns."""
    plain = [f.name for f in table.schema if not (pa.types.is_nested(f.type) or _is_binary(f.type))]
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=3,
        row_group_size=GROUP_ROWS,
        use_dictionary=False,
        write_statistics=plain,  # type: ignore[arg-type]  # a list is allowed
        version="2.6",
        data_page_version="1.0",
        write_page_checksum=True,
    )
    return sink.getvalue()


def _slices(table: pa.Table, most: int) -> Iterator[pa.Table]:
    """The rows of a table in parts of `most` bytes at most, halved until they fit."""
    if len(table) > 1 and table.nbytes > most:
        half = len(table) // 2
        yield from _slices(table.slice(0, half), most)
        yield from _slices(table.slice(half), most)
    elif len(table):
        yield table


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

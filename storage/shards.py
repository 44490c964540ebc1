"""Shards of a dataset: written once, then vouched for by a receipt.

A shard's bytes depend on its rows and its manifest alone: no time, host, path or pandas metadata.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import CorruptDataError
from schemas.samples import from_column, samples_schema, to_column
from storage.files import Store
from storage.manifest import Manifest
from storage.sample_rows import check_indices

AT_ONCE = 500  # receipts that an object store is asked for together


@dataclass(frozen=True)
class Receipt:
    """What is known of a finished shard."""

    dataset_id: str
    shard: int
    file: str
    rows: int
    bytes: int
    sha256: str
    statuses: Mapping[str, Mapping[str, int]]  # extractor -> status -> rows

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Receipt:
        """Read a receipt; CorruptDataError where it is none."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError) as error:
            raise CorruptDataError(f"{where} is not a receipt: {error}") from None


def encode(table: pa.Table, manifest: Manifest) -> bytes:
    """One shard as Parquet.

    Raises:
        CorruptDataError: the rows are not those of the manifest's schema.
    """
    schema = samples_schema(manifest.fields, manifest.dataset_id)
    try:
        columns = [_renamed(table.column(field.name), field.type) for field in schema]
        table = pa.table(columns, schema.names).cast(schema).combine_chunks()
    except (KeyError, pa.ArrowInvalid, ValueError) as error:
        raise CorruptDataError(f"a shard does not fit its manifest: {error}") from None
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=3,
        row_group_size=max(len(table), 1),
        use_dictionary=False,
        write_statistics=["index"],  # type: ignore[arg-type]  # a list is allowed
        version="2.6",
        data_page_version="1.0",
        write_page_checksum=True,
    )
    return sink.getvalue()


def _renamed(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    """A column that was read from Parquet, which renames the items of lists, made to be cast.

    Arrow refuses that where a row is null, though it calls the two types equal.
    """
    renamed = pa.types.is_fixed_size_list(kind) and str(column.type) != str(kind)
    if not renamed or not column.null_count:
        return column
    return to_column(from_column(column), np.asarray(column.is_null()))


def commit(store: Store, manifest: Manifest, shard: int, table: pa.Table) -> Receipt:
    """Write one shard and its receipt, each create-if-absent.

    Where another process was faster, what stands is checked and vouched for instead.

    Raises:
        CorruptDataError: the rows are not the shard's.
        StorageError: writing failed; nothing half-written is visible.
    """
    check_indices(manifest, shard, table)
    name = manifest.shard_file(shard)
    data = encode(table, manifest)
    if not store.create(name, data):
        standing = store.read(name)
        if standing != data:
            other = _whole(standing, manifest, table.column("index"))
            if other is None:
                store.replace(name, data)
            else:
                data, table = standing, other
    receipt = _receipt(manifest, shard, data, table)
    if not store.create(manifest.receipt_file(shard), receipt.to_bytes()):
        receipt = read_receipt(store, manifest, shard)
    return receipt


def read_receipt(store: Store, manifest: Manifest, shard: int) -> Receipt:
    """The receipt of a shard.

    Raises:
        CorruptDataError: it is damaged or belongs to another dataset.
    """
    data = store.read(manifest.receipt_file(shard))
    return _checked_receipt(store, manifest, shard, data)


def _checked_receipt(store: Store, manifest: Manifest, shard: int, data: bytes) -> Receipt:
    name = manifest.receipt_file(shard)
    receipt = Receipt.from_bytes(data, store.path(name))
    if receipt.dataset_id != manifest.dataset_id or receipt.shard != shard:
        raise CorruptDataError(
            f"{store.path(name)} is of dataset {receipt.dataset_id} shard {receipt.shard}; "
            f"expected {manifest.dataset_id} shard {shard}."
        )
    return receipt


def finished(store: Store, manifest: Manifest) -> dict[int, Receipt]:
    """Shard -> receipt for every shard that has one."""
    numbers = sorted(
        int(stem)
        for stem, dot, ending in (name.partition(".") for name in store.names("receipts"))
        if dot and ending == "json" and stem.isdigit() and int(stem) < manifest.shards
    )
    found: dict[int, Receipt] = {}
    for start in range(0, len(numbers), AT_ONCE):
        part = numbers[start : start + AT_ONCE]
        contents = store.read_many([manifest.receipt_file(shard) for shard in part])
        for shard, data in zip(part, contents, strict=True):
            found[shard] = _checked_receipt(store, manifest, shard, data)
    return found


def check_files(store: Store, receipts: Mapping[int, Receipt]) -> None:
    """Look once whether every receipt's file is there and as long as it was.

    Raises:
        CorruptDataError: files are missing or have another length.
    """
    sizes = store.sizes("data")
    wrong = [
        receipt
        for receipt in receipts.values()
        if sizes.get(receipt.file.rpartition("/")[2]) != receipt.bytes
    ]
    if wrong:
        first = wrong[0]
        raise CorruptDataError(
            f"{store.url}: {len(wrong)} shards are missing or have another length than their "
            f"receipt says, first {first.file}; make them again with: "
            f"lode dataset repair {store.url}"
        )


def read_shard(
    store: Store, receipt: Receipt, columns: list[str] | None = None, verify: bool = True
) -> pa.Table:
    """The rows of one finished shard.

    Raises:
        CorruptDataError: the bytes are not those that the receipt vouches for.
    """
    data = store.read(receipt.file)
    where = store.path(receipt.file)
    if len(data) != receipt.bytes or (
        verify and hashlib.sha256(data).hexdigest() != receipt.sha256
    ):
        raise CorruptDataError(
            f"{where}: {len(data)} bytes do not match the receipt's checksum; make it again with: "
            f"lode dataset repair {store.url}"
        )
    try:
        return read_parquet(data, columns)
    except (pa.ArrowException, OSError) as error:
        raise CorruptDataError(f"{where} is not a Parquet file: {error}") from None


def read_parquet(data: bytes, columns: list[str] | None = None) -> pa.Table:
    """Parquet bytes as a table, every page's checksum verified.

    In this thread alone: a thread of Arrow's pool that drops the last reference to a Python
    buffer while the interpreter ends aborts the process (seen once in eight short programs).
    """
    with open_parquet(data) as file:
        return file.read(columns=columns, use_threads=False)


def open_parquet(data: bytes) -> pq.ParquetFile:
    """Parquet bytes, to be read with `use_threads=False`; see `read_parquet`."""
    source = pa.BufferReader(pa.py_buffer(data))
    return pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)


def tally(receipts: Mapping[int, Receipt]) -> dict[str, dict[str, int]]:
    """Extractor -> status -> rows over many receipts."""
    total: dict[str, Counter[str]] = {}
    for receipt in receipts.values():
        for extractor, counts in receipt.statuses.items():
            total.setdefault(extractor, Counter()).update(counts)
    return {extractor: dict(sorted(counts.items())) for extractor, counts in total.items()}


def _receipt(manifest: Manifest, shard: int, data: bytes, table: pa.Table) -> Receipt:
    statuses: dict[str, Any] = {}
    for extractor in manifest.extractors:
        counts = Counter(table.column(f"{extractor['name']}_status").to_pylist())
        statuses[extractor["name"]] = dict(sorted(counts.items()))
    return Receipt(
        manifest.dataset_id,
        shard,
        manifest.shard_file(shard),
        len(table),
        len(data),
        hashlib.sha256(data).hexdigest(),
        statuses,
    )


def _whole(data: bytes, manifest: Manifest, indices: pa.ChunkedArray) -> pa.Table | None:
    """Standing bytes as the rows with these indices, every page's checksum verified, else None."""
    schema = samples_schema(manifest.fields, manifest.dataset_id)
    try:
        table = read_parquet(data)
    except (pa.ArrowException, OSError):
        return None
    if not table.schema.equals(schema) or table.schema.metadata != schema.metadata:
        return None
    return table if table.column("index").to_pylist() == indices.to_pylist() else None

"""Whether a dataset is whole: every shard against its manifest, its receipt and itself.

Holds one shard at a time and writes nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from schemas.errors import CorruptDataError, StorageError
from schemas.samples import samples_schema
from storage.derived import check_derived
from storage.files import Store
from storage.manifest import NAME, Manifest, load
from storage.quarantine import quarantined
from storage.sample_rows import Indices, check_samples
from storage.shards import Receipt, open_parquet

UNMADE = "neither receipt nor file: the shard is not made"
STRANGER = "no shard of this dataset owns it"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and the file in which it shows."""

    shard: int | None  # None where no shard owns the file
    file: str
    what: str
    unmade: bool = False  # there is nothing of the shard at all


@dataclass(frozen=True)
class Findings:
    """What a check of a whole dataset found."""

    dataset_id: str
    shards: int  # that the manifest asks for
    rows: int  # of the shards that are whole
    problems: tuple[Problem, ...]

    @property
    def broken(self) -> list[int]:
        """The shards that have a problem, missing ones too, in order."""
        return sorted({found.shard for found in self.problems if found.shard is not None})


def verify(url: str, watch: Callable[[Sequence[Problem]], None] | None = None) -> Findings:
    """Check every file of the dataset at a URL.

    Args:
        url: the dataset's folder or URL.
        watch: told the problems of each shard as it is done, [] for a whole one.

    Raises:
        InputError: there is no dataset, or a later version of LatentLode wrote it.
        CorruptDataError: the manifest is damaged, so that nothing can be checked against it.
        StorageError: the store cannot be listed, or an object store does not answer.
    """
    store = Store(url)
    manifest = readable_manifest(store)
    standing = [f"{folder}/{n}" for folder in ("data", "receipts") for n in store.names(folder)]
    present, owned = frozenset(standing), set[str]()
    problems: list[Problem] = []
    reasons = quarantined(store, manifest)
    rows, seen = 0, Indices()
    for shard in range(manifest.shards):
        owned |= {manifest.shard_file(shard), manifest.receipt_file(shard)}
        found = _check_shard(store, manifest, shard, present, seen)
        if shard in reasons and [problem.what for problem in found] == [UNMADE]:
            found = [replace(found[0], what=f"quarantined: {reasons[shard]}")]
        problems += found
        rows += 0 if found else len(manifest.rows(shard))
        if watch is not None:
            watch(found)
    problems += [Problem(None, name, STRANGER) for name in standing if name not in owned]
    problems += _other_rows(manifest, seen)
    if not rows:
        problems = [*_other_manifest(store, manifest, present & owned), *problems]
    return Findings(manifest.dataset_id, manifest.shards, rows, tuple(problems))


def readable_manifest(store: Store) -> Manifest:
    """The manifest, with everything in it that a check needs.

    Raises:
        InputError, CorruptDataError: as `storage.manifest.load`, or a part of it is missing.
    """
    manifest = load(store)
    try:
        samples_schema(manifest.fields, manifest.dataset_id)
        names = [extractor["name"] for extractor in manifest.extractors]
        columns = {field.name for field in manifest.fields}
        check_derived(manifest)
        whole = manifest.shards > 0 and columns.issuperset(f"{name}_status" for name in names)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise CorruptDataError(f"{store.path(NAME)} is damaged: {error!r}") from None
    if not whole:
        raise CorruptDataError(f"{store.path(NAME)} is damaged: no shards, or no status columns.")
    return manifest


def _check_shard(
    store: Store, manifest: Manifest, shard: int, present: Collection[str], seen: Indices
) -> list[Problem]:
    file, receipt_file = manifest.shard_file(shard), manifest.receipt_file(shard)
    if file not in present and receipt_file not in present:
        return [Problem(shard, receipt_file, UNMADE, unmade=True)]
    problems: list[Problem] = []
    receipt = None
    try:
        receipt = _receipt(store, manifest, shard, present)
    except CorruptDataError as error:
        problems.append(Problem(shard, receipt_file, str(error)))
    try:
        if file not in present:
            raise CorruptDataError("missing")
        counted = _check_file(_read(store, file), manifest, shard, receipt, seen)
    except CorruptDataError as error:
        return [*problems, Problem(shard, file, str(error))]
    if receipt is not None and receipt.statuses != counted:
        what = f"says statuses {receipt.statuses}, the file holds {counted}"
        problems.append(Problem(shard, receipt_file, what))
    return problems


def _receipt(store: Store, manifest: Manifest, shard: int, present: Collection[str]) -> Receipt:
    """The shard's receipt; CorruptDataError says what is wrong with it."""
    name = manifest.receipt_file(shard)
    if name not in present:
        raise CorruptDataError("missing, though the shard's file is there")
    receipt = Receipt.from_bytes(_read(store, name), "it")
    claims = {
        "dataset": (receipt.dataset_id, manifest.dataset_id),
        "shard": (receipt.shard, shard),
        "file": (receipt.file, manifest.shard_file(shard)),
        "rows": (receipt.rows, len(manifest.rows(shard))),
    }
    for key, (came, expected) in claims.items():
        if came != expected:
            raise CorruptDataError(f"says {key} {came}, expected {expected}")
    return receipt


def _check_file(
    data: bytes, manifest: Manifest, shard: int, receipt: Receipt | None, seen: Indices
) -> dict[str, dict[str, int]]:
    """The statuses counted in a shard's bytes; CorruptDataError says what is wrong with them.

    Args:
        seen: takes the indices of a shard whose rows are right.
    """
    if receipt is not None:
        if len(data) != receipt.bytes:
            raise CorruptDataError(f"{len(data)} bytes, the receipt says {receipt.bytes}")
        digest = hashlib.sha256(data).hexdigest()
        if digest != receipt.sha256:
            said = str(receipt.sha256)[:12]
            raise CorruptDataError(f"SHA-256 {digest[:12]}..., the receipt says {said}...")
    table = _table(data, manifest)
    rows = manifest.rows(shard)
    if len(table) != len(rows):
        raise CorruptDataError(f"{len(table)} rows, expected {len(rows)}")
    check_samples(manifest, shard, table)
    seen.take(table.column("index").to_numpy())
    statuses = {}
    for extractor in manifest.extractors:
        counts = Counter(table.column(f"{extractor['name']}_status").to_pylist())
        statuses[extractor["name"]] = dict(sorted(counts.items()))
    return statuses


def _table(data: bytes, manifest: Manifest) -> pa.Table:
    """The rows of a Parquet file of this dataset, the checksum of every page verified."""
    expected = samples_schema(manifest.fields, manifest.dataset_id)
    try:
        with open_parquet(data) as file:
            schema = file.schema_arrow
            if not schema.equals(expected):
                raise CorruptDataError(_difference(schema, expected))
            dataset_id = (schema.metadata or {}).get(b"dataset", b"none").decode(errors="replace")
            if dataset_id != manifest.dataset_id:
                raise CorruptDataError(
                    f"is of dataset {dataset_id}, expected {manifest.dataset_id}"
                )
            table = file.read(use_threads=False)
        table.validate(full=True)  # offsets and UTF-8
    except (pa.ArrowException, OSError) as error:
        said = " ".join(str(error).split())
        raise CorruptDataError(f"cannot be read as Parquet: {said}") from None
    return table


def _difference(schema: pa.Schema, expected: pa.Schema) -> str:
    """The first column in which two schemas differ."""
    for came, wanted in zip(schema, expected, strict=False):
        if not came.equals(wanted):
            return f"column {_described(came)} came, expected {_described(wanted)}"
    return f"{len(schema)} columns, expected {len(expected)}"


def _described(column: pa.Field) -> str:
    return f"{column.name}: {column.type}{'' if column.nullable else ' not null'}"


def _other_rows(manifest: Manifest, seen: Indices) -> list[Problem]:
    """Whether all shards of a filtered dataset together hold other samples than were picked."""
    if manifest.picked is None or seen.count < manifest.settings["samples"]:
        return []
    if seen.ordered and seen.hexdigest() == manifest.picked:
        return []
    order = "" if seen.ordered else ", and their indices do not rise from shard to shard"
    return [Problem(None, NAME, f"the shards hold other samples than it names{order}")]


def _other_manifest(store: Store, manifest: Manifest, names: Collection[str]) -> list[Problem]:
    """Whether all receipts agree on another dataset: then it is the manifest that was changed."""
    ids = set()
    for name in (name for name in names if name.startswith("receipts/")):
        try:
            ids.add(str(Receipt.from_bytes(_read(store, name), name).dataset_id))
        except CorruptDataError:
            continue
    if len(ids) != 1 or ids == {manifest.dataset_id}:
        return []
    what = f"makes dataset {manifest.dataset_id}, all receipts are of dataset {ids.pop()}"
    return [Problem(None, NAME, what)]


def _read(store: Store, name: str) -> bytes:
    """A file that was listed. One that a disk cannot give is damaged; a network may be down."""
    try:
        return store.read(name)
    except StorageError as error:
        if not store.local:
            raise
        raise CorruptDataError(f"cannot be read: {error}") from None

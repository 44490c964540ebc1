"""Export of a dataset: its shards as they stand, or a part of it elsewhere, with card and metadata.

In place, README.md and croissant.json are written beside data/: the shards are the export. Into
another folder the chosen rows and columns are written as Parquet first, croissant.json last.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import chain

import pyarrow as pa

from schemas.errors import ConflictError, InputError
from schemas.samples import Field, samples_schema
from storage import croissant, dataset_card
from storage.dataset import Dataset
from storage.exported import SPLIT, Chosen, Exported, ExportedFile, origin
from storage.files import SCRATCH, Store, absolute
from storage.packing import packed, parquet
from storage.runs import runs
from storage.selecting import choose, select
from storage.shards import check_files

METADATA = (dataset_card.NAME, croissant.NAME)
_FILE = re.compile(rf"{SPLIT}-\d{{5,}}\.parquet")  # ours


@dataclass(frozen=True)
class ExportConfig:
    """What does not choose rows."""

    partial: bool = False  # also a dataset that lacks shards
    force: bool = False  # over an earlier export
    creator: str = ""
    homepage: str = ""  # a URL
    published: str = ""  # ISO date; else that of the last run, else today
    file_bytes: int = 128 * 2**20  # most bytes of one file before compression


def export_here(dataset: Dataset, config: ExportConfig | None = None) -> Exported:
    """Write README.md and croissant.json into the dataset's own folder.

    Raises:
        InputError: the dataset lacks shards, or its folder cannot be written.
        ConflictError: one of the files stands there and says something else.
        CorruptDataError: a shard is missing or has another length than its receipt says.
    """
    config = config or ExportConfig()
    _check(dataset, config)
    check_files(dataset.store, dataset.receipts)
    receipts = [dataset.receipts[shard] for shard in sorted(dataset.receipts)]
    files = tuple(ExportedFile(r.file, r.rows, r.bytes, r.sha256) for r in receipts)
    fields = tuple(dataset.manifest.fields)
    exported = _exported(dataset, config, fields, files, dataset.statuses(), None)
    dataset.store.check_writable()
    texts = _texts(exported)
    for name, text in texts.items():
        _refuse_other(dataset.store, name, text, config.force)
    for name, text in texts.items():
        dataset.store.replace(name, text)
    return exported


def export_to(
    dataset: Dataset,
    out: str,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    sample: int | None = None,
    seed: int = 0,
    config: ExportConfig | None = None,
) -> Exported:
    """Write the chosen rows and columns into another folder or URL; see `storage.selecting.select`.

    The same dataset, choice and settings give the same bytes. croissant.json comes last: a folder
    without it is not whole.

    Raises:
        InputError: no row matches, the dataset lacks shards, the folder lies in the dataset's own,
            or a name or setting does not fit.
        ConflictError: the folder is not empty; or, with `force`, holds what is no export.
    """
    config = config or ExportConfig()
    _check(dataset, config)
    choice = choose(dataset.manifest, where, columns, sample, seed)
    text = None if choice.where is None else choice.where.text
    chosen = Chosen(text, None if columns is None else choice.columns, sample, seed)
    tables = packed(select(dataset, where, columns, sample, seed), config.file_bytes)
    store = Store(absolute(out))
    _refuse_inside(dataset, store)
    store.check_writable()
    standing = _standing(store, config.force)
    first = next(tables, None)
    if first is None:
        which = f"no row with {text}" if text else "no rows"
        raise InputError(f"export: {dataset.url} has {which}. Nothing was written.")
    for name in standing:
        store.remove(name)
    by_name = {field.name: field for field in dataset.manifest.fields}
    fields = tuple(by_name[name] for name in choice.columns)
    files, statuses = _write(store, dataset, fields, chain([first], tables))
    exported = _exported(dataset, config, fields, files, statuses, chosen)
    for name, content in _texts(exported).items():
        _create(store, name, content)
    return exported


def _write(
    store: Store, dataset: Dataset, fields: tuple[Field, ...], tables: Iterable[pa.Table]
) -> tuple[tuple[ExportedFile, ...], dict[str, dict[str, int]]]:
    """Write each table as a file; the files, and the statuses of whose columns are among them."""
    schema = samples_schema(fields, dataset.dataset_id)
    names = [extractor["name"] for extractor in dataset.manifest.extractors]
    counts = {name: Counter[str]() for name in names if f"{name}_status" in schema.names}
    files = []
    for number, table in enumerate(tables):
        for name, counted in counts.items():
            counted.update(table.column(f"{name}_status").to_pylist())
        # not cast: Parquet gives nested columns back under other inner names, which a cast minds
        content = parquet(pa.Table.from_arrays(table.columns, schema=schema))
        name = f"data/{SPLIT}-{number:05d}.parquet"
        _create(store, name, content)
        digest = hashlib.sha256(content).hexdigest()
        files.append(ExportedFile(name, len(table), len(content), digest))
    statuses = {name: dict(sorted(counted.items())) for name, counted in counts.items()}
    return tuple(files), statuses


def _check(dataset: Dataset, config: ExportConfig) -> None:
    """Refuse what cannot be exported, and settings that do not fit."""
    missing = dataset.manifest.shards - len(dataset.receipts)
    if not dataset.receipts:
        raise InputError(f"export: {dataset.url} has no finished shard yet.")
    if missing and not config.partial:
        raise InputError(
            f"export: {dataset.url} lacks {missing:,} of {dataset.manifest.shards:,} shards; make "
            "them first (`lode dataset repair`), or take what there is with --partial."
        )
    if config.file_bytes < 1:
        raise InputError(f"export: file_bytes {config.file_bytes} came; expected 1 or more.")
    if config.homepage and not re.match(r"https?://\S+$", config.homepage):
        raise InputError(f"export: homepage {config.homepage!r} came; expected an https URL.")
    try:
        date.fromisoformat(config.published or "2000-01-01")
    except ValueError:
        raise InputError(
            f"export: date {config.published!r} came; expected a day such as 2026-03-01."
        ) from None


def _exported(
    dataset: Dataset,
    config: ExportConfig,
    fields: tuple[Field, ...],
    files: tuple[ExportedFile, ...],
    statuses: dict[str, dict[str, int]],
    chosen: Chosen | None,
) -> Exported:
    return Exported(
        manifest=dataset.manifest,
        fields=fields,
        files=files,
        statuses=statuses,
        missing=dataset.manifest.shards - len(dataset.receipts),
        published=config.published or _day(dataset),
        chosen=chosen,
        creator=config.creator,
        homepage=config.homepage,
        steps=origin(dataset.manifest),
    )


def _day(dataset: Dataset) -> str:
    """The day of the last run over the dataset, as ISO date; today where no run left a record."""
    last = max((run.updated for run in runs(dataset.store)), default=None)
    at = datetime.now(UTC) if not last else datetime.fromtimestamp(last, UTC)
    return at.date().isoformat()


def _texts(exported: Exported) -> dict[str, bytes]:
    """Name -> bytes, in the order of writing."""
    return {
        dataset_card.NAME: dataset_card.card(exported).encode(),
        croissant.NAME: croissant.croissant(exported).encode(),
    }


def _refuse_inside(dataset: Dataset, store: Store) -> None:
    """Refuse a folder in the dataset's own: readers of data/ would find the rows twice."""
    if store.url.startswith(f"{absolute(dataset.url).rstrip('/')}/"):
        raise InputError(
            f"export: {store.url} lies in the dataset itself, {dataset.url}; choose a folder of "
            "its own. Nothing was changed."
        )


def _refuse_other(store: Store, name: str, content: bytes, force: bool) -> None:
    if not force and store.exists(name) and store.read(name) != content:
        raise ConflictError(
            f"export: {store.path(name)} stands there and says something else; --force writes "
            "over it. Nothing was changed."
        )


def _standing(store: Store, force: bool) -> list[str]:
    """The files of an earlier export.

    Raises:
        ConflictError: there are some without `force`; or files that no export wrote.
    """
    top = [name for name in store.names() if name != SCRATCH]
    data = store.names("data") if "data" in top else []
    strangers = [name for name in top if name not in ("data", *METADATA)]
    strangers += [f"data/{name}" for name in data if not _FILE.fullmatch(name)]
    if strangers:
        raise ConflictError(
            f"export: {store.url} holds {', '.join(strangers[:3])}, which no export wrote; choose "
            "an empty folder. Nothing was changed."
        )
    # without croissant.json it is not whole: that goes first
    mine = [*(name for name in reversed(METADATA) if name in top), *(f"data/{n}" for n in data)]
    if mine and not force:
        raise ConflictError(
            f"export: {store.url} holds {mine[0]}; --force writes over an earlier export. "
            "Nothing was changed."
        )
    return mine


def _create(store: Store, name: str, content: bytes) -> None:
    if not store.create(name, content):
        raise ConflictError(
            f"export: {store.path(name)} was written by somebody else meanwhile; choose another "
            "--out."
        )

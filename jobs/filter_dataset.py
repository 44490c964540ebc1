"""Filter a dataset: some rows and columns of it as a dataset of its own, in shards as large.

It reads one shard at a time, in this process; a rerun makes only the shards that are missing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from jobs.generate_dataset import prepare_folder
from jobs.parents import check_out, open_made, open_whole
from jobs.progress import Progress
from mining.made_with import made_with
from schemas.errors import CorruptDataError, InputError, StorageError
from schemas.samples import Field
from storage.dataset import FRAME, SEQUENCE, Dataset
from storage.derived import filtered, open_parent
from storage.files import Store
from storage.manifest import Manifest, claim
from storage.regrouping import Chosen, Survey, survey
from storage.runs import BEAT, DONE, FAILED, STOPPED, RunRecord
from storage.selecting import ID, INDEX, Choice, choose
from storage.shards import commit


def filter_dataset(
    url: str,
    out: str,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Make the dataset of what is chosen, or what is missing of it, and open it.

    Args:
        url: the parent, complete.
        out: folder or URL of the new dataset.
        where, columns, sample, seed: as `storage.selecting.select` takes them. Ids and indices,
            the places of frames in their sequences, and each extractor's status and reason, are
            kept whatever the columns.

    Raises:
        InputError: nothing, or nothing that fits, is asked for; no row matches; the target holds
            something else.
        CorruptDataError: a file of the parent is damaged.
    """
    if where is None and columns is None and sample is None:
        raise InputError("filter: nothing is asked for; expected --where, --columns or --sample.")
    parent = open_whole(url)
    target = check_out(parent, out)
    asked = choose(parent.manifest, where, columns, sample, seed)
    kept = kept_fields(parent.manifest, asked, columns is None)
    choice = _with_columns(asked, kept)
    found = _survey(parent, choice)
    if not found.rows:
        raise InputError(f"filter: no row of {parent.url} matches {where!r}. Nothing was written.")
    told = {
        "where": None if asked.where is None else asked.where.text,
        "columns": None if columns is None else _values(asked, kept),
        "sample": sample,
        "seed": None if sample is None else seed,
    }
    manifest = filtered(
        parent.manifest, parent.url, told, kept, found.rows, found.indices, made_with()
    )
    manifest, missing = prepare_folder(target, manifest, out)
    if missing:
        make_filtered(target, manifest, Chosen(parent, choice, found), missing)
    return open_made(target)


def kept_fields(manifest: Manifest, choice: Choice, every: bool) -> list[Field]:
    """The columns of the new dataset, in the parent's order."""
    always = {ID, INDEX, SEQUENCE, FRAME}
    for about in manifest.extractors:
        always |= {f"{about['name']}_status", f"{about['name']}_reason"}
    wanted = always.union(choice.columns)
    return [field for field in manifest.fields if every or field.name in wanted]


def _values(choice: Choice, kept: Sequence[Field]) -> list[str]:
    return [field.name for field in kept if field.name in choice.columns]


def _with_columns(choice: Choice, kept: Sequence[Field]) -> Choice:
    names = tuple(field.name for field in kept)
    return Choice(choice.where, names, choice.sample, choice.seed)


def _survey(parent: Dataset, choice: Choice) -> Survey:
    with Progress("survey", parent.manifest.shards, "shards") as progress:
        return survey(parent, choice, lambda: progress.advance(1))


def chosen_again(manifest: Manifest) -> Chosen:
    """What a filtered dataset's manifest chooses of its parent, for a repair.

    Raises:
        InputError: the parent is no longer there.
        CorruptDataError: the parent gives other rows than it did.
    """
    store, _ = open_parent(manifest)
    parent = open_whole(store.url)
    told: Any = manifest.derived
    asked = choose(parent.manifest, told["where"], None, told["sample"], told["seed"] or 0)
    choice = _with_columns(asked, manifest.fields)
    found = _survey(parent, choice)
    if found.indices != manifest.picked:
        raise CorruptDataError(
            f"dataset {manifest.dataset_id}: its parent at {parent.url} gives {found.rows:,} other "
            "rows than it did; the manifest of one of both was changed. Nothing was changed."
        )
    return Chosen(parent, choice, found)


def make_filtered(url: str, manifest: Manifest, rows: Chosen, missing: Sequence[int]) -> None:
    """Make the missing shards of a filtered dataset at an absolute URL.

    Raises:
        CorruptDataError: a shard of the parent is damaged; what is done stays done.
        StorageError: a shard cannot be written.
    """
    store = Store(url)
    claim(store, manifest)
    total = sum(len(manifest.rows(shard)) for shard in missing)
    with Progress("filter", total, "rows") as progress, _recorded(store, manifest) as record:
        for shard in missing:
            places = manifest.rows(shard)
            receipt = commit(store, manifest, shard, rows.rows(places.start, places.stop))
            record.shards, record.rows = record.shards + 1, record.rows + receipt.rows
            record.bytes += receipt.bytes
            progress.advance(receipt.rows)
            if time.time() - record.updated > BEAT:
                with suppress(StorageError):  # the next one will do
                    record.save(store)


@contextmanager
def _recorded(store: Store, manifest: Manifest) -> Iterator[RunRecord]:
    """The record of this run, in which its end is told."""
    record = RunRecord(manifest.dataset_id)
    record.save(store)

    def end(state: str, said: str = "") -> None:
        record.seconds = round(time.time() - record.started, 3)
        record.state, record.error = state, said
        with suppress(StorageError):
            record.save(store)

    try:
        yield record
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        end(STOPPED if stopped else FAILED, f"{type(error).__name__}: {error}".strip(": "))
        raise
    end(DONE)

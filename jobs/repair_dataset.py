"""Repair a dataset: move what is broken aside, make it again, look again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobs.cluster import ray_session
from jobs.description import check_loads
from jobs.extend_dataset import fitted
from jobs.filter_dataset import chosen_again, make_filtered
from jobs.generate_dataset import check_run, make_shards, refuse_relative
from jobs.parents import open_whole
from jobs.progress import Progress
from mining.extractors.base import FAILURES
from schemas.errors import ConflictError, CorruptDataError, InputError
from schemas.settings import EngineSettings
from storage.derived import FILTERED, open_parent, with_parent
from storage.files import Store, absolute
from storage.manifest import NAME, Manifest
from storage.runs import FRESH, going_on
from storage.shards import read_receipt
from storage.verify import Findings, Problem, readable_manifest, verify

ASIDE = ".broken"  # keeps what was moved; readers never look there


@dataclass(frozen=True)
class Repair:
    """What a repair did, and how the dataset is now."""

    made: tuple[int, ...]  # shards
    moved: tuple[str, ...]  # files of theirs
    aside: str  # the folder that took them
    after: Findings


def verify_dataset(url: str) -> Findings:
    """`storage.verify.verify` with progress."""
    url = absolute(url)
    total = readable_manifest(Store(url)).shards
    with Progress("verify", total, "shards") as progress:

        def watch(problems: Sequence[Problem]) -> None:
            progress.advance(1, {"problems": len(problems)} if problems else None)

        return verify(url, watch)


def repair(
    url: str,
    engine: EngineSettings,
    failed: bool = False,
    generator: Mapping[str, Any] | None = None,
    extractors: Mapping[str, Mapping[str, Any]] | None = None,
    parent: str | None = None,
) -> Repair:
    """Make the broken and the missing shards again, from the manifest's own settings.

    Their files are moved into <url>/.broken/<time>/, never deleted, and only once the generator,
    the extractors and Ray are there. Files that no shard owns are left where they are.

    Args:
        failed: also make again what is whole but holds rows that failed, crashed or hung.
        generator: options of the generator, where its checkpoint lies elsewhere than it did.
        extractors: name in the settings -> options, where their model files do.
        parent: where the dataset lies that this one was made of, if elsewhere than it did.

    Raises:
        InputError: there is no dataset, it cannot be written, its options are fixed, or it was
            made of another dataset that is not there.
        ConflictError: a run is making the dataset at this moment.
        CorruptDataError: the manifest is damaged or another dataset's.
        RunError: the generator or an extractor is another version; or workers keep dying.
    """
    refuse_relative("the dataset", url)
    url = absolute(url)
    store = Store(url)
    manifest = readable_manifest(store)
    if generator or extractors:
        manifest = manifest.moved(generator or {}, extractors or {})
    if parent:
        manifest = with_parent(manifest, absolute(parent))
    _refuse_beside_a_run(store)
    before = verify_dataset(url)
    aside = f"{ASIDE}/{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    whole = with_failures(store, before.broken) if failed else []
    wanted = sorted({*before.broken, *whole})
    if not wanted:
        return Repair((), (), aside, before)
    for found in before.problems:
        if found.file == NAME:
            raise CorruptDataError(
                f"{store.path(NAME)} {found.what}: put back the manifest that they were made "
                "with. Nothing was changed."
            )
    store.check_writable()
    with _maker(engine, manifest, url) as make:  # before anything is moved
        _refuse_beside_a_run(store)  # the check may have taken hours
        moved = move_aside(store, manifest, standing(before.problems, whole), aside)
        try:
            make(wanted)
        finally:
            put_back(store, manifest, whole, aside)
    return Repair(tuple(wanted), tuple(moved), aside, verify_dataset(url))


@contextmanager
def _maker(
    engine: EngineSettings, manifest: Manifest, url: str
) -> Iterator[Callable[[Sequence[int]], None]]:
    """What makes shards again, once all that it needs is there."""
    if manifest.derived.get("kind") == FILTERED:
        rows = chosen_again(manifest)
        yield lambda shards: make_filtered(url, manifest, rows, shards)
        return
    if manifest.derived:
        store, _ = open_parent(manifest)
        open_whole(store.url)
    engine = fitted(engine, manifest)
    _check_loads(engine, manifest)
    with ray_session(engine):
        check_run(engine, manifest)
        yield lambda shards: make_shards(url, manifest, shards, engine, judge=False)


def _check_loads(engine: EngineSettings, manifest: Manifest) -> None:
    try:
        check_loads(engine, manifest)
    except InputError as error:
        if not manifest.movable():
            raise
        told = " or ".join(f"--{setting} PLACE" for setting in manifest.movable())
        raise InputError(f"{error} If it lies elsewhere now: {told}.") from None


def with_failures(store: Store, broken: Sequence[int]) -> list[int]:
    """The whole shards with rows whose status says something of the code, not the image."""
    manifest = readable_manifest(store)
    found = []
    for shard in sorted(set(range(manifest.shards)) - set(broken)):
        receipt = read_receipt(store, manifest, shard)
        if any(FAILURES & set(counts) for counts in receipt.statuses.values()):
            found.append(shard)
    return found


def standing(problems: Sequence[Problem], whole: Sequence[int]) -> list[int]:
    """The shards of which there is something to move: who makes a missing one now owns it."""
    there = {p.shard for p in problems if p.shard is not None and not p.unmade}
    return sorted({*there, *whole})


def put_back(store: Store, manifest: Manifest, shards: Sequence[int], aside: str) -> None:
    """Of shards that were whole, put back what was not made again before the repair ended."""
    for shard in shards:
        names = (manifest.shard_file(shard), manifest.receipt_file(shard))
        if not any(store.exists(name) for name in names):
            for name in names:  # the receipt last
                store.move(f"{aside}/{name}", name)


def _refuse_beside_a_run(store: Store) -> None:
    others = going_on(store)
    if others:
        raise ConflictError(
            f"repair: run {others[0].run_id} is making {store.url}, or was {FRESH:.0f} s ago; wait "
            "until it is done, or stop it and wait as long. Nothing was changed."
        )


def move_aside(store: Store, manifest: Manifest, shards: Sequence[int], aside: str) -> list[str]:
    """Move the shards' files into a folder; their names.

    Receipts go first: a shard without one does not exist, wherever this may be stopped.
    """
    present = {f"{folder}/{n}" for folder in ("data", "receipts") for n in store.names(folder)}
    moved = []
    for shard in shards:
        for name in (manifest.receipt_file(shard), manifest.shard_file(shard)):
            if name in present:
                store.move(name, f"{aside}/{name}")
                moved.append(name)
    return moved

"""Repair a dataset: move what is broken aside, make it again, look again.

Do not run it while another process makes the same dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from jobs.cluster import ray_session
from jobs.generate_dataset import make_shards, refuse_relative
from jobs.progress import Progress
from mining.sampling import Measurer, Renderer
from schemas.errors import CorruptDataError
from schemas.settings import EngineSettings
from storage.files import Store, absolute
from storage.manifest import NAME, Manifest
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


def repair(url: str, engine: EngineSettings) -> Repair:
    """Make the broken and the missing shards again, from the manifest's own settings.

    Their files are moved into <url>/.broken/<time>/, never deleted, and only once the generator,
    the extractors and Ray are there. Files that no shard owns are left where they are.

    Raises:
        InputError: there is no dataset, or it cannot be written.
        CorruptDataError: the manifest is damaged or another dataset's.
        RunError: the generator or an extractor is another version; or workers keep dying.
    """
    refuse_relative("the dataset", url)
    url = absolute(url)
    store = Store(url)
    before = verify_dataset(url)
    aside = f"{ASIDE}/{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    if not before.broken:
        return Repair((), (), aside, before)
    for found in before.problems:
        if found.file == NAME:
            raise CorruptDataError(
                f"{store.path(NAME)} {found.what}: put back the manifest that they were made "
                "with. Nothing was changed."
            )
    manifest = readable_manifest(store)
    store.check_writable()
    for load in (Renderer, Measurer):
        load(manifest)  # refuses other versions, before anything is moved
    with ray_session(engine):
        moved = move_aside(store, manifest, before.broken, aside)
        make_shards(url, manifest, before.broken, engine)
    return Repair(tuple(before.broken), tuple(moved), aside, verify_dataset(url))


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

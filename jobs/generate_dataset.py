"""Generate a dataset: sample latents, render them, measure the images, keep the rows.

A rerun makes only the shards that are missing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.cluster import on_cluster
from jobs.progress import Progress
from mining.sampling import describe
from schemas.config import load_settings
from schemas.errors import (
    CorruptDataError,
    InputError,
    LostWorkerError,
    RunError,
    StorageError,
)
from schemas.settings import EngineSettings, RunSettings
from storage.dataset import Dataset
from storage.files import Store, absolute, is_absolute
from storage.manifest import Manifest, claim
from storage.shards import Receipt, check_files, finished

DEMO = str(Path(__file__).parent / "configs" / "demo.yaml")


# rounds in which workers died and no shard was finished, after which the run gives up
IDLE_ROUNDS = 2


def dataset_url(settings: RunSettings) -> str:
    """Where the run's dataset lies."""
    return f"{settings.out.rstrip('/')}/dataset"


def prepare(settings: RunSettings, manifest: Manifest) -> list[int]:
    """Check the target before any work, put the manifest there; the shards that are missing.

    Raises:
        InputError: the target holds another run's dataset, or cannot be written.
        CorruptDataError: a receipt there is damaged.
    """
    refuse_relative("out", settings.out)
    store = Store(absolute(dataset_url(settings)))
    try:
        claim(store, manifest)
    except CorruptDataError:
        raise
    except StorageError as error:
        raise InputError(f"out {settings.out!r} cannot be used: {error}") from error
    done = finished(store, manifest)
    check_files(store, done)
    missing = [shard for shard in range(manifest.shards) if shard not in done]
    if missing:
        store.check_writable()
    return missing


def refuse_relative(what: str, url: str) -> None:
    """InputError where a submitted job is told a relative path."""
    if on_cluster() and not is_absolute(url):
        raise InputError(
            f"{what} {url!r} is a relative path, and a submitted job works in a temporary "
            "copy of its folder; expected an absolute path on a shared disk, or a URL."
        )


def generate(settings: RunSettings) -> Dataset:
    """Make what is missing of the run's dataset and open it."""
    from jobs.cluster import ray_session

    manifest = describe(settings)
    missing = prepare(settings, manifest)
    if missing:
        with ray_session(settings.engine):
            make_shards(absolute(dataset_url(settings)), manifest, missing, settings.engine)
    return open_complete(settings)


def open_complete(settings: RunSettings) -> Dataset:
    """Open the run's dataset; RunError where shards are missing from where the driver looks."""
    dataset = Dataset(absolute(dataset_url(settings)))
    if not dataset.complete:
        gone = dataset.manifest.shards - len(dataset.receipts)
        raise RunError(
            f"{gone} of {dataset.manifest.shards} shards are not to be seen at {dataset.url} from "
            "the driver: workers on other nodes need a shared folder or a URL as --out."
        )
    return dataset


def make_shards(
    url: str, manifest: Manifest, missing: Sequence[int], engine: EngineSettings
) -> None:
    """Make the missing shards of the dataset at an absolute URL on the running Ray.

    Raises:
        RunError: workers died again and again.
    """
    from jobs.engine import stream

    total = sum(len(manifest.rows(shard)) for shard in missing)
    left, idle = set(missing), 0
    with Progress("generate", total, "images") as progress:
        while left and idle < IDLE_ROUNDS:
            before = len(left)
            try:
                for receipt in stream(manifest, url, sorted(left), engine):
                    if receipt.shard in left:
                        left.discard(receipt.shard)
                        progress.advance(receipt.rows, rejects(receipt))
            except LostWorkerError as error:
                progress.say(str(error))
            idle = 0 if len(left) < before else idle + 1
        if left:
            raise RunError(
                f"generate: {len(left)} shards could not be made, first {sorted(left)[:5]}: their "
                "workers died again and again. What is done stays done; run it again for the rest."
            )


def rejects(receipt: Receipt) -> dict[str, int]:
    """Rows per reason other than "ok", as "extractor: status"."""
    return {
        f"{extractor} {status}": count
        for extractor, counts in receipt.statuses.items()
        for status, count in counts.items()
        if status not in ("ok", "not_measured")
    }


def main(argv: Sequence[str]) -> int:
    """The program: settings from the arguments, then generate and say what there is."""
    settings = load_settings(argv, "generate_dataset", __doc__ or "", DEMO)
    dataset = generate(settings)
    print(f"dataset   {dataset.url}  ({dataset.rows:,} rows, id {dataset.dataset_id})")
    for extractor, counts in dataset.statuses().items():
        shown = ", ".join(f"{count:,} {status}" for status, count in counts.items())
        print(f"          {extractor}: {shown}")
    return 0


if __name__ == "__main__":
    from jobs.cli import guarded

    sys.exit(guarded(main, sys.argv[1:]))

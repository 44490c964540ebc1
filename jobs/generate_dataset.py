"""Generate a dataset: sample latents, render them, measure the images, keep the rows.

A rerun makes only the shards that are missing.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobs.cluster import on_cluster
from jobs.description import described
from jobs.engine import stream
from jobs.isolation.messages import MEASURE, RENDER
from jobs.ledger import Ledger
from jobs.placement import check_placement, is_split, shards_in_flight, stage_needs
from jobs.progress import Progress
from schemas.config import load_settings
from schemas.errors import (
    CorruptDataError,
    InputError,
    RunError,
    StorageError,
)
from schemas.settings import EngineSettings, RunSettings
from storage.dataset import Dataset
from storage.files import Store, absolute, is_absolute
from storage.manifest import Manifest, claim
from storage.quarantine import quarantined
from storage.runs import DONE, FAILED, STOPPED, going_on
from storage.shards import check_files, finished

DEMO = str(Path(__file__).parent / "configs" / "demo.yaml")


def dataset_url(settings: RunSettings) -> str:
    """Where the run's dataset lies."""
    return settings.dataset_url or f"{settings.out.rstrip('/')}/dataset"


def prepare(settings: RunSettings, manifest: Manifest) -> tuple[Manifest, list[int]]:
    """Check the target before any work; nothing is put there yet.

    Returns:
        The manifest that stands there or will, and the shards that are missing.

    Raises:
        InputError: the target holds another run's dataset, or cannot be written.
        CorruptDataError: a receipt there is damaged.
    """
    refuse_relative("out", settings.out)
    if is_split(settings.engine):
        shards_in_flight(settings.engine, manifest)
    return prepare_folder(dataset_url(settings), manifest, settings.out)


def prepare_folder(url: str, manifest: Manifest, out: str) -> tuple[Manifest, list[int]]:
    """As `prepare`, of a dataset's folder or URL, which the user named by `out`."""
    store = Store(absolute(url))
    try:
        manifest = claim(store, manifest, write=False)
    except CorruptDataError:
        raise
    except StorageError as error:
        raise InputError(f"out {out!r} cannot be used: {error}") from error
    done = finished(store, manifest)
    check_files(store, done)
    missing = [shard for shard in range(manifest.shards) if shard not in done]
    if missing:
        store.check_writable()
    return manifest, missing


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

    if settings.dataset_url is not None:
        raise InputError(
            f"dataset_url {settings.dataset_url!r} came; it names a finished dataset for `lode "
            "mine`, and here one is made. Leave it out."
        )
    manifest, missing = prepare(settings, described(settings))
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


def check_run(engine: EngineSettings, manifest: Manifest) -> None:
    """Refuse what the running Ray can never do, before anything is touched.

    Raises:
        InputError: a stage can never be placed, or the object store cannot hold one shard.
    """
    check_placement(stage_needs(engine), engine)
    if is_split(engine):
        shards_in_flight(engine, manifest)


def make_shards(
    url: str,
    manifest: Manifest,
    missing: Sequence[int],
    engine: EngineSettings,
    judge: bool = True,
) -> None:
    """Make the missing shards of the dataset at an absolute URL on the running Ray.

    Args:
        judge: stop where more fails than engine.max_failed allows.

    Raises:
        InputError: the cluster can never place a stage, or the object store cannot hold the
            images of one shard; nothing was done.
        RunError: shards could not be made, or too many rows failed.
    """
    store = Store(url)
    check_run(engine, manifest)
    claim(store, manifest)
    parts = [stage for stage in (RENDER, MEASURE) if is_split(engine)]
    total = sum(len(manifest.rows(shard)) for shard in missing)
    poison = set(quarantined(store, manifest))
    with Progress("generate", total, "images", parts=parts) as progress:
        order = order_of(store, missing, poison, progress)
        ledger = Ledger(store, manifest, engine, total, poison, progress, judge)
        with _recorded(ledger):
            for event in stream(manifest, url, order, engine):
                ledger.take(event)
    if ledger.failures:
        raise RunError(
            f"generate: {ledger.quarantine_note}. What is done stays done; run it again to try "
            "them once more."
        )


def order_of(
    store: Store, missing: Sequence[int], poison: set[int], progress: Progress
) -> list[int]:
    """The shards in order, those that could not be made before last.

    Shuffled where another run makes them at this moment, to help it.
    """
    others = going_on(store)
    if not others:
        return sorted(missing, key=poison.__contains__)
    now = time.time()
    heard = ", ".join(f"{run.run_id} (heard {now - run.updated:.0f} s ago)" for run in others)
    progress.say(f"run {heard} is making this dataset too: helping with what it has not begun.")
    return sorted(random.sample(missing, len(missing)), key=poison.__contains__)


@contextmanager
def _recorded(ledger: Ledger) -> Iterator[None]:
    """Whatever ends the run is in its record."""
    try:
        yield
    except BaseException as error:
        said = f"{type(error).__name__}: {error}".strip(": ")
        stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        ledger.end(STOPPED if stopped else FAILED, said)
        raise
    ledger.end(FAILED if ledger.failures else DONE, ledger.quarantine_note)


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

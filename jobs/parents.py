"""What every job checks that makes one dataset of another."""

from __future__ import annotations

from jobs.generate_dataset import refuse_relative
from schemas.errors import InputError, RunError
from storage.dataset import Dataset
from storage.files import Store, absolute
from storage.shards import check_files
from storage.verify import readable_manifest


def open_whole(url: str) -> Dataset:
    """Open a dataset of which every shard is finished and there.

    Raises:
        InputError: there is no dataset, or shards are not made yet.
        CorruptDataError: its manifest or a receipt is damaged, or files are missing.
    """
    refuse_relative("the dataset", url)
    readable_manifest(Store(absolute(url)))
    dataset = Dataset(absolute(url))
    if not dataset.complete:
        raise InputError(
            f"dataset: {dataset.url} has {len(dataset.receipts):,} of {dataset.manifest.shards:,} "
            f"shards; make the others first with: lode dataset repair {dataset.url}"
        )
    check_files(dataset.store, dataset.receipts)
    return dataset


def check_out(parent: Dataset, out: str) -> str:
    """The absolute place of a new dataset.

    Raises:
        InputError: it lies in its parent's folder, or is relative in a submitted job.
    """
    refuse_relative("out", out)
    if not out:
        raise InputError("--out is empty; expected a folder or URL for the new dataset.")
    place = absolute(out).rstrip("/")
    if f"{place}/".startswith(f"{parent.url.rstrip('/')}/"):
        raise InputError(
            f"out {out!r} lies in the dataset that it is made of, {parent.url}; choose a folder "
            "of its own. Nothing was changed."
        )
    return place


def open_made(url: str) -> Dataset:
    """Open a dataset that was just made; RunError where shards are not to be seen."""
    dataset = Dataset(url)
    if not dataset.complete:
        gone = dataset.manifest.shards - len(dataset.receipts)
        raise RunError(
            f"{gone} of {dataset.manifest.shards} shards are not to be seen at {dataset.url} from "
            "the driver: workers on other nodes need a shared folder or a URL as --out."
        )
    return dataset

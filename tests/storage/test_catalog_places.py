"""Catalogues that were moved, and those that a reader may not write to."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import StorageError
from storage import artefacts
from storage.catalog import Catalog
from tests.storage.sample_cards import sample_card

NOBODY = 65534
ARRAYS = {"w": np.arange(4, dtype=np.float32)}


def filled(folder: Path) -> Catalog:
    """Two versions of a direction, an artefact, and a tag that was moved."""
    catalog = Catalog(folder)
    kept = artefacts.put(catalog.url, artefacts.pack(ARRAYS), "regressor")
    regressor = replace(
        sample_card(3, method="regressor"), artefact=kept, vector=np.zeros(0, np.float32)
    )
    first = catalog.publish([sample_card(1), regressor])
    second = catalog.publish([sample_card(2)])
    for publication in (first, second):
        catalog.tag("production", publication.direction_ids[0])
    return catalog


def told(catalog: Catalog) -> dict[str, object]:
    """What every way to read says."""
    older = Catalog(catalog.url, as_of=1)
    (regressor,) = catalog.cards(method="regressor")
    assert regressor.artefact is not None
    stats = catalog.stats()
    return {
        "cards": [card.direction_id for card in catalog.cards(all_versions=True)],
        "vector": catalog.get("production").vector.tolist(),
        "older": [(card.version, card.tags) for card in older.cards()],
        "found": [card.direction_id for card in catalog.find("smile > 0.1", order_by="leak")],
        "nearest": [(c.direction_id, x) for c, x in catalog.nearest("production", 5)],
        "history": [(card.version, card.tags) for card in catalog.history("production")],
        "new": catalog.diff(1).published,
        "artefact": artefacts.open(catalog.url, regressor.artefact.sha256)["w"].tolist(),
        "stats": (stats.versions, stats.bytes, stats.artefact_bytes, [*stats.tags]),
    }


def test_a_catalogue_that_was_moved_says_the_same(tmp_path):
    catalog = filled(tmp_path / "catalog")
    before = told(catalog)
    shutil.move(catalog.url, tmp_path / "elsewhere" / "under another name")
    moved = Catalog(tmp_path / "elsewhere" / "under another name")
    assert told(moved) == before
    moved.publish([sample_card(4)])
    assert moved.get(sample_card(4).direction_id).version == 3


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder that every user may enter; those of pytest are its user's own."""
    folder = Path(tempfile.mkdtemp(prefix="latentlode-"))
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def read_as_nobody(url: str, other: str, results: Queue) -> None:
    """Read, and try to write, as one who may only read; root may write in spite of modes."""
    told(Catalog(other))  # what is imported on first use may lie where only root may look
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    catalog = Catalog(url)
    refused = []
    for write in (
        lambda: catalog.publish([sample_card(5)]),
        lambda: catalog.tag("other", sample_card(1).direction_id),
        lambda: catalog.untag("production"),
        lambda: artefacts.put(url, artefacts.pack({"v": ARRAYS["w"]}), "matrix"),
    ):
        try:
            write()
        except StorageError as error:
            refused.append(str(error))
    results.put((told(catalog), refused))


def test_who_may_only_read_reads_and_is_told_that_it_may_not_write(outside, tmp_path):
    catalog = filled(outside / "catalog")
    before = told(catalog)
    files = sorted((p, p.stat().st_mtime_ns) for p in outside.rglob("*"))
    for path in (outside, *outside.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    other = filled(tmp_path / "other").url
    reader = context.Process(target=read_as_nobody, args=(catalog.url, other, results))
    reader.start()
    found, refused = results.get(timeout=120)
    reader.join(60)
    assert reader.exitcode == 0
    assert found == before
    assert len(refused) == 4, refused
    assert all("ermission denied" in error for error in refused), refused
    assert sorted((p, p.stat().st_mtime_ns) for p in outside.rglob("*")) == files

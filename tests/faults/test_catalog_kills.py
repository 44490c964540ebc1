"""Publishers killed with -9 at any moment: readers see whole publications, at every moment."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from schemas.errors import InputError
from storage import artefacts, snapshots, tags
from storage.catalog import Catalog
from tests.faults.flaky_s3 import client_environment, make_bucket, moto
from tests.faults.runs import ROOT, until
from tests.storage.sample_cards import sample_card

RUNS = 10
KILLS = 5  # in each, so fifty
TOGETHER = 2  # publishers at once
CARDS = 5  # of a publication, one of them with an artefact

# publishes without end, and moves a tag to what it published; says when it begins
PUBLISHER = f"""
import sys
from dataclasses import replace
import numpy as np
from schemas.errors import ConflictError
from storage import artefacts
from storage.catalog import Catalog
from tests.storage.sample_cards import sample_card

def publish(catalog, first):
    data = artefacts.pack({{"w": np.full(1000, first, np.float64)}})
    kept = artefacts.put(catalog.url, data, "regressor")
    empty = np.zeros(0, np.float32)
    cards = [sample_card(first + each) for each in range({CARDS - 1})]
    cards += [replace(sample_card(first), method="regressor", vector=empty, artefact=kept)]
    told = catalog.publish(cards, f"publication-{{first}}")
    try:
        catalog.tag("newest", told.direction_ids[0])
    except ConflictError:  # another moved it meanwhile
        pass

Catalog("/nowhere")
import deltalake, pyarrow, storage.publishing, storage.card_table, storage.opening
print("begins", flush=True)
for count in range(100_000):
    publish(Catalog(sys.argv[1]), int(sys.argv[2]) * 10_000_000 + 10 * count)
"""


class Publisher:
    """A process that publishes without end."""

    def __init__(self, url: str, number: int) -> None:
        command = [sys.executable, "-c", PUBLISHER, url, str(number)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def begun(self) -> None:
        """Wait until all is imported and the first publication is under way."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "begins\n"

    def kill(self) -> None:
        """SIGKILL; a publisher never ends by itself."""
        assert self.process.poll() is None
        self.close()

    def close(self) -> None:
        """Whatever the test finds, nothing of it is left."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Reader:
    """Looks at the catalogue again and again, every second time as a process that just began."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.violations: list[str] = []
        self.polls = self.rows = self.growths = 0
        self._read: set[str] = set()  # artefacts

    def poll(self) -> None:
        """One look; whatever is wrong is a violation."""
        self.polls += 1
        if self.polls % 2:
            snapshots.forget()
        try:
            self._look()
        except Exception as error:
            said = str(error)
            early = isinstance(error, InputError) and not self.rows
            if not early or not any(words in said for words in ("no catalogue", "is empty")):
                self.violations.append(f"{type(error).__name__}: {said}")

    def _look(self) -> None:
        catalog = Catalog(self.url)
        moved = tags.current(self.url)  # before the cards, so that what it points at is there
        table = catalog.cards(all_versions=True).table()
        counts = Counter(table["publication_id"].to_pylist())
        if halves := [name for name, count in counts.items() if count != CARDS]:
            self.violations.append(f"not whole: {halves}")
        for method in {"ridge", "regressor"} & set(table["method"].to_pylist()):
            chosen = pc.equal(table["method"], method)
            versions = table.filter(chosen)["version"].to_pylist()
            if versions != list(range(1, len(versions) + 1)):
                self.violations.append(f"versions of {method}: {versions}")
        if len(table) < self.rows:
            self.violations.append(f"{len(table)} rows after {self.rows}")
        for sha256 in set(table["artefact_sha256"].drop_null().to_pylist()) - self._read:
            artefacts.read(self.url, sha256)
            self._read.add(sha256)
        there = set(
            zip(table["direction_id"].to_pylist(), table["version"].to_pylist(), strict=True)
        )
        self.violations += [f"{t} points nowhere" for t in moved.values() if t.target not in there]
        self.growths += len(table) > self.rows
        self.rows = len(table)


@contextmanager
def watched(url: str) -> Iterator[Reader]:
    """A reader in a thread of its own, with a last look at the end."""
    reader, over = Reader(url), threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            reader.poll()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield reader
    finally:
        over.set()
        thread.join()
    reader.poll()


def killed(url: str, seed: int, kills: int) -> Reader:
    """Kill one of the publishers, start another in its place, and so on; what a reader saw."""
    rng = np.random.default_rng(seed)
    publishers = [Publisher(url, 100 * seed + number) for number in range(TOGETHER)]
    try:
        with watched(url) as reader:
            for number in range(TOGETHER, TOGETHER + kills):
                victim = int(rng.integers(TOGETHER))
                publishers[victim].begun()
                more = reader.rows + CARDS * int(rng.integers(4))
                assert until(lambda more=more: reader.rows >= more or reader.violations)
                time.sleep(rng.uniform(0, 0.3))
                publishers[victim].kill()
                publishers[victim] = Publisher(url, 100 * seed + number)
            before = reader.rows
            assert until(lambda: reader.rows > before or reader.violations)
    finally:
        for publisher in publishers:
            publisher.close()
    reader.poll()
    return reader


def check(url: str, reader: Reader) -> None:
    """Nothing was ever wrong, and the catalogue can be published to."""
    assert not reader.violations, reader.violations[:5]
    assert reader.polls > 10 and reader.growths > 3
    catalog = Catalog(url)
    catalog.publish([sample_card(3)], "the last one")
    assert catalog.get(sample_card(3).direction_id).version == reader.rows * 4 // CARDS + 1


def test_killed_publishers_leave_whole_publications(tmp_path):
    url = str(tmp_path / "catalog")
    check(url, killed(url, 0, 3))


@pytest.mark.faults
@pytest.mark.parametrize("run", range(1, RUNS + 1))
def test_fifty_killed_publishers_leave_whole_publications(run, tmp_path):
    url = str(tmp_path / "catalog")
    check(url, killed(url, run, KILLS))
    assert Path(url, artefacts.FOLDER).is_dir()


@pytest.mark.faults
def test_killed_publishers_leave_whole_publications_on_s3(monkeypatch):
    with moto() as endpoint:
        for name, value in client_environment(endpoint).items():
            monkeypatch.setenv(name, value)
        make_bucket(endpoint, "kills")
        check("s3://kills/catalog", killed("s3://kills/catalog", 20, KILLS))

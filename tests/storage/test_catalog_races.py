"""Many publishers at once, and one that is killed."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from storage.catalog import Catalog, Publication
from tests.storage.sample_cards import sample_card

PUBLISHERS = 8
ROUNDS = 3  # each on a catalogue that nobody has created yet
BATCHES, BATCH = 16, 50
ATTRIBUTES = ("age", "gaze", "glasses", "smile", "yaw")


def publish_at_once(folder: str, worker: int, ready: Barrier, results: Queue) -> None:
    """Per round: publish what only this worker has, and what its neighbour publishes too."""
    for round_ in range(ROUNDS):
        catalog = Catalog(f"{folder}/{round_}")
        own = [sample_card(100 * worker + index) for index in range(3)]
        shared = [sample_card(1000 + worker // 2)]
        ready.wait(60)
        try:
            results.put((round_, catalog.publish(shared), catalog.publish(own)))
        except Exception as error:
            results.put((round_, error, error))


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """The catalogues' folder and what each publisher was told, by round."""
    folder = tmp_path_factory.mktemp("raced")
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(PUBLISHERS), context.Queue()
    workers = [
        context.Process(target=publish_at_once, args=(str(folder), worker, ready, results))
        for worker in range(PUBLISHERS)
    ]
    for worker in workers:
        worker.start()
    told: list[list[tuple[Publication, Publication]]] = [[] for _ in range(ROUNDS)]
    for _ in range(PUBLISHERS * ROUNDS):
        round_, shared, own = results.get(timeout=120)
        told[round_].append((shared, own))
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    return folder, told


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_publishers_at_once_lose_nothing_and_repeat_nothing(raced, round_):
    folder, told = raced
    shared, own = zip(*told[round_], strict=True)
    assert all(isinstance(answer, Publication) for answer in shared + own), shared + own
    assert all(publication.written for publication in own)
    assert sum(publication.written for publication in shared) == PUBLISHERS // 2

    table = Catalog(folder / str(round_)).table()
    assert table.num_rows == PUBLISHERS * 3 + PUBLISHERS // 2
    assert table["version"].to_pylist() == list(range(1, table.num_rows + 1))
    # what each publisher was told is what every reader sees
    rows = zip(table["publication_id"].to_pylist(), table["commit"].to_pylist(), strict=True)
    commits = {publication.publication_id: publication.commit for publication in shared + own}
    assert dict(rows) == commits
    assert sorted(commits.values()) == list(range(1, PUBLISHERS + PUBLISHERS // 2 + 1))


def publish_batch(url: str, worker: int, ready: Barrier, results: Queue) -> None:
    """One batch of fifty, ten of each attribute; what the caller was told."""
    cards = [
        sample_card(BATCH * worker + index, shape=(64,), attribute=ATTRIBUTES[index % 5])
        for index in range(BATCH)
    ]
    catalog = Catalog(url)
    ready.wait(120)
    try:
        results.put(catalog.publish(cards))
    except Exception as error:
        results.put(error)


def batches_at_once(url: str) -> None:
    """Sixteen processes publish a batch each into a catalogue that nobody has created yet."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(BATCHES), context.Queue()
    workers = [
        context.Process(target=publish_batch, args=(url, worker, ready, results))
        for worker in range(BATCHES)
    ]
    for worker in workers:
        worker.start()
    told = [results.get(timeout=240) for _ in workers]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert all(isinstance(answer, Publication) and answer.written for answer in told), told

    catalog = Catalog(url)
    table = catalog.cards(all_versions=True).table()
    assert table.num_rows == BATCHES * BATCH
    assert len(set(table["direction_id"].to_pylist())) == BATCHES * BATCH
    for attribute in ATTRIBUTES:  # no gap and no repeat
        lineage = catalog.cards(attribute=attribute, all_versions=True).table()
        assert lineage["version"].to_pylist() == list(range(1, BATCHES * BATCH // 5 + 1))
        assert lineage["commit"].to_pylist() == sorted(lineage["commit"].to_pylist())
    for answer in told:  # whole batches, in the order in which they were published
        cards = catalog.publication(answer.publication_id)
        assert tuple(card.direction_id for card in cards) == answer.direction_ids
        assert set(cards.table()["commit"].to_pylist()) == {answer.commit}
    assert len({answer.commit for answer in told}) == BATCHES


@pytest.mark.timeout(300)
def test_sixteen_batches_at_once(tmp_path):
    batches_at_once(str(tmp_path / "catalog"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sixteen_batches_at_once_on_s3(bucket):
    batches_at_once(f"{bucket}/catalog")


ENDLESS = """
import sys
from storage.catalog import Catalog
from tests.storage.sample_cards import sample_card
catalog, worker = Catalog(sys.argv[1]), int(sys.argv[2])
for count in range(100_000):
    catalog.publish([sample_card(10_000_000 * worker + 10 * count + k) for k in range(5)])
"""


def test_a_killed_publisher_leaves_a_readable_catalogue(tmp_path):
    catalog = Catalog(tmp_path / "catalog")
    log = Path(catalog.url, "_delta_log")
    root = Path(__file__).parents[2]
    for attempt in range(4):
        seen = len(list(log.glob("*.json")))
        publisher = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, catalog.url, str(attempt)], cwd=root
        )
        try:
            deadline = time.monotonic() + 60
            while len(list(log.glob("*.json"))) < seen + 3:
                assert publisher.poll() is None and time.monotonic() < deadline
                time.sleep(0.003)
            time.sleep(0.003 * attempt)  # anywhere within a publication
        finally:
            publisher.kill()
            publisher.wait()
        table = catalog.table()  # whole publications of five, and none lost
        assert table.num_rows % 5 == 0 and table.num_rows >= 5 * seen
        again = catalog.publish([sample_card(50_000 + 10 * attempt + k) for k in range(5)])
        assert again.written
        assert catalog.get(again.direction_ids[-1]).version == table.num_rows + 5

"""The catalogue on an S3 server (moto's, on the loopback interface)."""

from __future__ import annotations

import threading

import pytest

from schemas.errors import InputError, StorageError
from storage.catalog import Catalog, Publication
from tests.storage.sample_cards import sample_card

pytestmark = pytest.mark.timeout(120)


def test_publishing_and_reading(bucket):
    catalog = Catalog(f"{bucket}/some/catalog")
    with pytest.raises(InputError, match=f"there is no catalogue at {bucket}/some/catalog"):
        catalog.cards()
    first = catalog.publish([sample_card(1)])
    assert catalog.publish([sample_card(1)]).commit == first.commit
    catalog.publish([sample_card(2)])
    assert [card.version for card in catalog.cards(all_versions=True)] == [1, 2]


def test_publishers_at_once(bucket):
    told: list[Publication] = []

    def publish(worker: int) -> None:
        told.append(Catalog(f"{bucket}/catalog").publish([sample_card(worker % 3)]))

    threads = [threading.Thread(target=publish, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 6 and sum(publication.written for publication in told) == 3
    assert Catalog(f"{bucket}/catalog").table().num_rows == 3


def test_a_bucket_that_is_not_there(bucket):
    with pytest.raises(StorageError, match="s3://nowhere/catalog cannot be"):
        Catalog("s3://nowhere/catalog").publish([sample_card()])

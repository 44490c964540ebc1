"""The catalogue on an S3 server (moto's, on the loopback interface)."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from schemas.errors import ConflictError, InputError, StorageError
from storage import artefacts
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


def test_tags_artefacts_and_what_is_told_of_them(bucket):
    catalog = Catalog(f"{bucket}/catalog")
    kept = artefacts.put(catalog.url, artefacts.pack({"w": sample_card(1).vector}), "flow")
    flow = replace(sample_card(1, method="flow"), artefact=kept, vector=np.zeros(0, np.float32))
    missing = replace(flow, artefact=replace(kept, sha256="0" * 64))
    with pytest.raises(InputError, match="which is not there"):
        catalog.publish([missing])
    first = catalog.publish([sample_card(1), flow])
    second = catalog.publish([sample_card(2)])
    assert catalog.tags() == {}
    catalog.tag("production", first.direction_ids[0])
    catalog.tag("production", second.direction_ids[0], expected=first.direction_ids[0])
    with pytest.raises(ConflictError, match="Nothing was changed"):
        catalog.untag("production", expected=first.direction_ids[0])
    assert catalog.get("production").tags == ("production",)
    assert catalog.get("production").version == 2
    (array,) = artefacts.open(catalog.url, kept.sha256).values()
    np.testing.assert_array_equal(array, sample_card(1).vector)
    found = catalog.stats()
    assert (found.versions, found.artefact_bytes, [*found.tags]) == (3, kept.bytes, ["production"])
    assert 0 < Catalog(catalog.url, as_of=1).stats().bytes < found.bytes

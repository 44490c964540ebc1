"""The catalogue on an S3 server (moto's, on the loopback interface)."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from schemas.errors import InputError, StorageError
from storage.catalog import Catalog, Publication
from tests.storage.sample_cards import sample_card

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server in a process of its own: deltalake waits for it with Python's lock held."""
    pytest.importorskip("moto.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            assert server.poll() is None
            with socket.socket() as caller:
                if caller.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The URL of an empty bucket; the environment holds its endpoint and credentials."""
    boto3 = pytest.importorskip("boto3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = request.node.name.replace("_", "-")
    client = boto3.client("s3")
    client.create_bucket(Bucket=name)
    client.close()
    return f"s3://{name}"


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

"""Downloads from an S3 server (moto's, on the loopback interface) that loses requests."""

from __future__ import annotations

import gc
import hashlib

import numpy as np
import pytest

from schemas.errors import InputError, StorageError
from storage.downloads.fetch import FetchConfig, fetch
from tests.faults import flaky_s3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
CONTENT = np.random.default_rng(0).bytes(40_000_000)  # three pieces
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(monkeypatch, tmp_path_factory):
    """A proxy that cuts or refuses a third of the requests, before a bucket with one file."""
    s3fs = pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    log = tmp_path_factory.mktemp("proxy") / "faults.log"
    s3fs.S3FileSystem.clear_instance_cache()
    with flaky_s3.moto() as endpoint, flaky_s3.flaky(endpoint, log, 0.3, in_a_row=2) as lossy:
        for name, value in flaky_s3.client_environment(endpoint).items():
            monkeypatch.setenv(name, value)
        flaky_s3.make_bucket(endpoint, "models")
        s3fs.S3FileSystem().pipe_file("models/some/a.pkl", CONTENT)
        s3fs.S3FileSystem.clear_instance_cache()
        monkeypatch.setenv("AWS_ENDPOINT_URL", lossy)
        yield log
    s3fs.S3FileSystem.clear_instance_cache()
    gc.collect()


def test_lost_requests_do_no_damage(store, tmp_path):
    config = FetchConfig(tries=20, pause=0.01)
    found = fetch("s3://models/some/a.pkl", tmp_path, SHA256, config=config)
    assert found.path.read_bytes() == CONTENT
    assert sum(flaky_s3.faults(store).values()) > 0


def test_what_is_not_there_is_one_line(store, tmp_path):
    for url in ("s3://models/some/b.pkl", "s3://nowhere/a.pkl"):
        with pytest.raises(InputError) as told:
            fetch(url, tmp_path)
        assert str(told.value) == f"download: {url}: there is no such file; check the URL."


def test_missing_credentials_are_one_line(store, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageError) as told:
        fetch("s3://models/some/a.pkl", tmp_path / "cache")
    assert "redentials" in str(told.value) and "\n" not in str(told.value)

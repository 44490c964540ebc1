"""Files on an S3 server (moto's, on the loopback interface), and how its refusals read."""

from __future__ import annotations

import gc
import threading

import pytest

from schemas.errors import InputError, StorageError
from schemas.plain_yaml import read_yaml
from storage.files import Store

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def fresh_clients():
    """s3fs keeps clients, and with them the endpoint and the credentials of another test."""
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()
    gc.collect()


def test_create_keeps_what_stands_and_replace_overwrites(bucket):
    store = Store(f"{bucket}/some/folder")
    assert store.create("data/a", b"first")
    assert not store.create("data/a", b"second")
    assert store.read("data/a") == b"first"
    store.replace("data/a", b"third")
    assert store.read("data/a") == b"third"


def test_of_writers_at_once_one_wins(bucket):
    ready = threading.Barrier(4)
    won: dict[int, bool] = {}

    def write(mark: int) -> None:
        store = Store(f"{bucket}/folder")
        ready.wait()
        won[mark] = store.create("one", bytes([mark]) * 1000)

    threads = [threading.Thread(target=write, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won.values()) == [False, False, False, True]
    winner = next(mark for mark, first in won.items() if first)
    assert Store(f"{bucket}/folder").read("one") == bytes([winner]) * 1000


def test_names_are_seen_as_soon_as_they_are_there(bucket):
    store, other = Store(f"{bucket}/folder"), Store(f"{bucket}/folder")
    assert store.names("data") == [] and not store.exists("data/a")
    for name in ("b", "a"):
        other.create(f"data/{name}", b"12")
    assert store.names("data") == ["a", "b"] and store.exists("data/a")
    assert store.sizes("data") == {"a": 2, "b": 2}
    other.remove("data/a")
    other.remove("data/a")
    assert store.names("data") == ["b"]
    with pytest.raises(StorageError, match="reading .*/data/a: no such file"):
        store.read("data/a")


def test_a_bucket_that_takes_files_is_left_as_it_was(bucket):
    store = Store(bucket)
    store.check_writable()
    assert store.names() == []


def test_settings_are_read_from_a_bucket(bucket):
    Store(bucket).create("run.yaml", b"out: here")
    assert read_yaml(f"{bucket}/run.yaml") == {"out": "here"}
    with pytest.raises(InputError, match="nothing.yaml cannot be read"):
        read_yaml(f"{bucket}/nothing.yaml")


def refused(url: str, said: str) -> None:
    """Everything that a store does there is refused in one line that says why."""
    store = Store(url)
    for act in (
        lambda: store.create("a", b"x"),
        lambda: store.replace("a", b"x"),
        lambda: store.read("a"),
    ):
        with pytest.raises(StorageError, match=said) as caught:
            act()
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=f"{url} cannot be written: .*({said})"):
        store.check_writable()
    with pytest.raises(InputError, match="run.yaml cannot be read"):
        read_yaml(f"{url}/run.yaml")


def test_a_bucket_that_is_not_there(bucket):
    refused("s3://nowhere/folder", "no such file or folder|bucket does not exist")
    assert Store("s3://nowhere/folder").names() == []


def test_no_credentials(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    refused("s3://nowhere/folder", "Unable to locate credentials")
    for look in (Store("s3://nowhere/a").names, Store("s3://nowhere/a").exists):
        with pytest.raises(StorageError, match="Unable to locate credentials"):
            look()


def test_an_endpoint_that_nobody_answers(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # the port of "discard"
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(InputError, match="cannot be written: .*Could not connect to the endpoint"):
        Store(bucket).check_writable()


def test_a_moved_file_is_at_its_new_name_alone(bucket):
    store = Store(f"{bucket}/some/folder")
    store.create("data/a", b"first")
    store.move("data/a", ".broken/now/data/a")
    assert store.read(".broken/now/data/a") == b"first"
    assert store.names("data") == []
    with pytest.raises(StorageError, match=r"moving .*data/a to "):
        store.move("data/a", "elsewhere")

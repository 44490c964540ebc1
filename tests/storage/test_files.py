"""Files appear whole or not at all, and every refusal is one clear error."""

from __future__ import annotations

import errno
import multiprocessing
import os

import pytest

from schemas.errors import InputError, StorageError
from storage.files import SCRATCH, Store


def test_create_keeps_what_stands(tmp_path):
    store = Store(str(tmp_path))
    assert store.create("data/a.bin", b"first")
    assert not store.create("data/a.bin", b"second")
    assert store.read("data/a.bin") == b"first"
    assert os.listdir(tmp_path / SCRATCH) == []


def test_replace_overwrites(tmp_path):
    store = Store(str(tmp_path))
    store.replace("page.html", b"old")
    store.replace("page.html", b"new")
    assert store.read("page.html") == b"new"


def test_names_are_sorted_and_a_missing_folder_is_empty(tmp_path):
    store = Store(str(tmp_path))
    for name in ("b", "a"):
        store.create(f"data/{name}", b"")
    assert store.names("data") == ["a", "b"]
    assert store.names("nothing") == []


def _create(path: str, mark: int) -> bool:
    return Store(path).create("one", bytes([mark]) * 100_000)


def test_of_many_processes_one_wins_and_its_bytes_stand_whole(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        won = pool.starmap(_create, [(str(tmp_path), mark) for mark in range(12)])
    assert sum(won) == 1
    stands = Store(str(tmp_path)).read("one")
    assert stands == bytes([won.index(True)]) * 100_000


def test_a_path_through_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    store = Store(str(tmp_path / "file" / "below"))
    with pytest.raises(StorageError, match="a part of the path is a file"):
        store.create("a", b"data")
    with pytest.raises(InputError, match="cannot be written"):
        store.check_writable()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    store = Store(str(tmp_path))

    def no_room(handle: int) -> None:
        # the real error of the real device, raised where a full disk shows itself
        with open("/dev/full", "wb", buffering=0) as device:
            device.write(b"x")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(StorageError, match="the disk is full") as caught:
        store.create("data/a", b"x")
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert store.names("data") == []
    assert os.listdir(tmp_path / SCRATCH) == []


def test_an_unknown_protocol_is_an_input_error():
    with pytest.raises(InputError, match="cannot be opened"):
        Store("gopher9://bucket/data")

"""Files appear whole or not at all, and every refusal is one clear error."""

from __future__ import annotations

import errno
import multiprocessing
import os
import sys
import time

import pytest
from fsspec.registry import _registry as imported

from schemas.errors import InputError, MissingBackendError, StorageError
from storage.files import SCRATCH, Store


def test_create_keeps_what_stands(tmp_path):
    store = Store(str(tmp_path))
    assert store.create("data/a.bin", b"first")
    assert not store.create("data/a.bin", b"second")
    assert store.read("data/a.bin") == b"first"
    assert not (tmp_path / SCRATCH).exists()


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


def _write_many(path: str, mark: int) -> int:
    store = Store(path)
    for number in range(60):
        store.create(f"data/{mark}-{number}", b"x")
        store.replace("shared", bytes([mark]) * 100)
        store.check_writable()
    return len(store.names("data"))


def test_processes_that_tidy_and_write_at_the_same_moment_do_not_hinder_each_other(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        pool.starmap(_write_many, [(str(tmp_path), mark) for mark in range(4)])
    assert len(Store(str(tmp_path)).names("data")) == 240
    assert not (tmp_path / SCRATCH).exists()


def test_the_scratch_folder_may_go_at_any_moment(tmp_path, monkeypatch):
    makedirs, left = os.makedirs, [3]

    def gone_again(path, *args, **kwargs):
        makedirs(path, *args, **kwargs)
        if str(path).endswith(SCRATCH) and left[0]:
            left[0] -= 1
            os.rmdir(path)

    monkeypatch.setattr(os, "makedirs", gone_again)
    assert Store(str(tmp_path)).create("a", b"x")
    assert left == [0]


def test_what_killed_processes_left_goes_after_a_day(tmp_path):
    store, scratch = Store(str(tmp_path)), tmp_path / SCRATCH
    scratch.mkdir()
    for name, age in (("old", 2 * 86400), ("new", 3600)):
        (scratch / name).write_bytes(b"x")
        os.utime(scratch / name, (time.time() - age,) * 2)
    store.check_writable()
    assert os.listdir(scratch) == ["new"]
    (scratch / "new").unlink()
    store.check_writable()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_a_file_is_still_created_once(tmp_path, monkeypatch, code):
    def no_links(source, target):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", no_links)
    store = Store(str(tmp_path))
    assert store.create("data/a", b"first")
    assert not store.create("data/a", b"second")
    assert store.read("data/a") == b"first"
    assert os.listdir(tmp_path) == ["data"]

    def full(source, target):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="the disk is full"):
        store.create("data/b", b"x")
    assert store.names("data") == ["a"]


def test_another_failure_of_link_is_said(tmp_path, monkeypatch):
    def refuses(source, target):
        raise OSError(errno.EACCES, "no")

    monkeypatch.setattr(os, "link", refuses)
    with pytest.raises(StorageError, match="permission denied"):
        Store(str(tmp_path)).create("a", b"x")


def test_a_file_where_the_scratch_folder_should_be_is_said(tmp_path):
    (tmp_path / SCRATCH).write_bytes(b"x")
    with pytest.raises(StorageError, match="a file stands where a folder should be"):
        Store(str(tmp_path)).create("a", b"x")


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
    assert not (tmp_path / SCRATCH).exists()


def test_an_unknown_protocol_is_an_input_error():
    with pytest.raises(InputError, match="cannot be opened"):
        Store("gopher9://bucket/data")


def test_a_url_whose_client_is_missing_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(imported, "s3", raising=False)
    with pytest.raises(MissingBackendError, match=r"s3://bucket/run .* 'latentlode\[s3\]'"):
        Store("s3://bucket/run")


def test_a_moved_file_is_at_its_new_name_alone(tmp_path):
    store = Store(str(tmp_path))
    store.create("data/a", b"first")
    store.move("data/a", ".broken/now/data/a")
    assert store.read(".broken/now/data/a") == b"first"
    assert store.names("data") == []
    with pytest.raises(StorageError, match=r"moving .*data/a to .*: no such file"):
        store.move("data/a", "elsewhere/a")

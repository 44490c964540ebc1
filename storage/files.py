"""Folders and URLs in which a file appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.errors import InputError, StorageError

SCRATCH = ".partial"  # holds files that are being written; readers never look there


class Store:
    """A folder or URL. Local files are linked into place, object stores get a conditional PUT."""

    def __init__(self, url: str):
        import fsspec

        try:
            fs, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise InputError(f"storage: {url} cannot be opened: {error}") from None
        self.url = url
        self.fs: Any = fs
        self.root = str(root).rstrip("/") or "/"
        self.local = "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))

    def path(self, name: str) -> str:
        """The full path of a file in this store, as its filesystem takes it."""
        return f"{self.root}/{name}"

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that must not exist yet; False, and nothing changed, where it does."""
        with _told(f"writing {self.path(name)}"):
            if self.local:
                return self._create_local(Path(self.path(name)), data)
            try:
                self.fs.pipe_file(self.path(name), data, mode="create")
            except OSError:
                # a lost conditional PUT comes as FileExistsError or as a plain 409: look again
                self.fs.invalidate_cache()
                if self.fs.exists(self.path(name)):
                    return False
                raise
            return True

    def replace(self, name: str, data: bytes) -> None:
        """Write a file, over one that may stand there; readers see the old or the new whole."""
        with _told(f"writing {self.path(name)}"):
            if not self.local:
                self.fs.pipe_file(self.path(name), data)
                return
            target = Path(self.path(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._scratch(data) as written:
                os.replace(written, target)
            _sync_folder(target.parent)

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            StorageError: it is not there or cannot be read.
        """
        with _told(f"reading {self.path(name)}"):
            return self.fs.cat_file(self.path(name))

    def exists(self, name: str = "") -> bool:
        """Whether a file or folder is there."""
        with _told(f"reading {self.url}"):
            self.fs.invalidate_cache()
            return self.fs.exists(self.path(name) if name else self.root)

    def names(self, folder: str = "") -> list[str]:
        """Sorted names of what lies in a folder; [] where there is no such folder."""
        path = self.path(folder) if folder else self.root
        with _told(f"listing {path}"):
            self.fs.invalidate_cache()
            try:
                found = self.fs.ls(path, detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(item).rstrip("/").rpartition("/")[2] for item in found)

    def remove(self, name: str) -> None:
        """Delete a file that may already be gone."""
        with _told(f"deleting {self.path(name)}"), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    def check_writable(self) -> None:
        """Write and delete a small file, so that a wrong target is known before any work.

        Raises:
            InputError: nothing can be written there.
        """
        name = f"{SCRATCH}/probe-{uuid.uuid4().hex}"
        try:
            self.replace(name, b"latentlode")
            self.remove(name)
        except StorageError as error:
            raise InputError(f"{self.url} cannot be written: {error}") from error

    def _create_local(self, target: Path, data: bytes) -> bool:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._scratch(data) as written:
            try:
                os.link(written, target)
            except FileExistsError:
                return False
        _sync_folder(target.parent)
        return True

    @contextlib.contextmanager
    def _scratch(self, data: bytes) -> Iterator[Path]:
        folder = Path(self.root) / SCRATCH
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / uuid.uuid4().hex
        try:
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)


def absolute(url: str) -> str:
    """A local path made absolute, since workers run in folders of their own; URLs as they are."""
    return url if "://" in url else str(Path(url).expanduser().resolve())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_HINTS = {
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the quota is used up; free some space and run again",
    errno.EACCES: "permission denied; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a file stands where a folder should be",
    errno.ENOENT: "no such file or folder",
}


@contextlib.contextmanager
def _told(doing: str) -> Iterator[None]:
    """Turn whatever a filesystem raises into one clear StorageError."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        hint = _HINTS.get(error.errno or 0) or " ".join(str(error).split())
        raise StorageError(f"{doing}: {hint}.") from error

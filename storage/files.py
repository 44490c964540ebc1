"""Folders and URLs in which a file appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from schemas.errors import InputError, StorageError
from schemas.registry import missing_client
from schemas.remote import is_remote

SCRATCH = ".partial"  # holds files that are being written; readers never look there
STALE = 24 * 3600  # seconds after which a scratch file is one that a killed process left


class Store:
    """A folder or URL. Local files are linked into place, object stores get a conditional PUT."""

    def __init__(self, url: str):
        import fsspec

        try:
            fs, root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise missing_client(f"storage: {url}", error) from None
        except ValueError as error:
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
            with self._scratch(data) as written:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(written, target)
            _sync_folder(target.parent)

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            StorageError: it is not there or cannot be read.
        """
        with _told(f"reading {self.path(name)}"):
            return self.fs.cat_file(self.path(name))

    def read_many(self, names: Sequence[str]) -> list[bytes]:
        """The bytes of several files in their order; object stores are asked for many at once.

        Raises:
            StorageError: one is not there or cannot be read.
        """
        if self.local or not names:
            return [self.read(name) for name in names]
        with _told(f"reading {len(names)} files of {self.url}"):
            paths = [self.path(name) for name in names]
            found = self.fs.cat(paths)
            return [found[path] for path in paths]

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

    def sizes(self, folder: str) -> dict[str, int]:
        """Name -> bytes of every file in a folder; {} where there is no such folder."""
        with _told(f"listing {self.path(folder)}"):
            self.fs.invalidate_cache()
            try:
                found = self.fs.ls(self.path(folder), detail=True)
            except FileNotFoundError:
                return {}
        files = [item for item in found if item["type"] == "file"]
        return {str(item["name"]).rpartition("/")[2]: int(item["size"]) for item in files}

    def remove(self, name: str) -> None:
        """Delete a file that may already be gone."""
        with _told(f"deleting {self.path(name)}"), contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    def move(self, name: str, target: str) -> None:
        """Move a file to a name that is free; object stores copy it, then delete the first."""
        with _told(f"moving {self.path(name)} to {self.path(target)}"):
            if not self.local:
                self.fs.cp_file(self.path(name), self.path(target))
                self.fs.rm_file(self.path(name))
                return
            here, there = Path(self.path(name)), Path(self.path(target))
            there.parent.mkdir(parents=True, exist_ok=True)
            here.rename(there)
            _sync_folder(there.parent)
            _sync_folder(here.parent)

    def check_writable(self) -> None:
        """Write and delete a small file, so that a wrong target is known before any work.

        In a local folder, what killed processes left in the scratch folder a day ago goes too.

        Raises:
            InputError: nothing can be written there.
        """
        name = f"{SCRATCH}/probe-{uuid.uuid4().hex}"
        try:
            self.replace(name, b"latentlode")
            self.remove(name)
            if self.local:
                self._tidy_scratch()
        except StorageError as error:
            raise InputError(f"{self.url} cannot be written: {error}") from error

    def _create_local(self, target: Path, data: bytes) -> bool:
        """Link a whole file into place: of several processes one wins, readers see it whole.

        Where the file system has no hard links (FAT, some network and container mounts), an
        empty file of that name is made exclusively and then replaced by the whole one. Still
        one process wins, but readers may see the empty file for a moment, and for ever where
        the process is killed between the two steps.
        """
        with self._scratch(data) as written:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(written, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if not _claimed(target, written):
                    return False
        _sync_folder(target.parent)
        return True

    @contextlib.contextmanager
    def _scratch(self, data: bytes) -> Iterator[Path]:
        path = Path(self.root) / SCRATCH / uuid.uuid4().hex
        opened = _opened(path)
        try:
            with opened as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)
            _remove_empty(path.parent)

    def _tidy_scratch(self) -> None:
        folder = Path(self.root) / SCRATCH
        # another process may tidy or finish at the same moment, and its files may not be ours
        with contextlib.suppress(OSError):
            for path in list(folder.iterdir()):
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < time.time() - STALE:
                        path.unlink()
        _remove_empty(folder)


def is_absolute(url: str) -> bool:
    """Whether the same place is meant in every folder: a URL or an absolute path."""
    return "://" in url or Path(url).expanduser().is_absolute()


def absolute(url: str) -> str:
    """A local path made absolute, since workers run in folders of their own; URLs as they are."""
    return url if "://" in url else str(Path(url).expanduser().resolve())


def _opened(path: Path) -> BinaryIO:
    """A new file in a scratch folder that another process may remove while it is empty."""
    for _ in range(MOST_TRIES):
        try:
            os.makedirs(path.parent, exist_ok=True)
            return path.open("xb")
        except (FileNotFoundError, FileExistsError):
            # gone between the two steps, or within makedirs between finding it and looking again
            if path.parent.exists() and not path.parent.is_dir():
                raise
    return path.open("xb")


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not empty: others are writing
        folder.rmdir()


def _claimed(target: Path, written: Path) -> bool:
    """Create the target exclusively, then move the written file over it."""
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        return False
    try:
        os.replace(written, target)
    except OSError:
        target.unlink(missing_ok=True)
        raise
    return True


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


MOST_TRIES = 1000  # each lost to another process that finished in between
# what link() says on file systems without hard links
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
_HINTS = {
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the quota is used up; free some space and run again",
    errno.EFBIG: "the file is larger than the file system or a limit (ulimit -f) allows",
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
        said = " ".join(str(error).split()).rstrip(".")
        if isinstance(error, FileNotFoundError) and said in doing:  # s3fs: the path and no more
            said = _HINTS[errno.ENOENT]
        raise StorageError(f"{doing}: {_HINTS.get(error.errno or 0, said)}.") from error
    except Exception as error:
        if not is_remote(error):
            raise
        raise StorageError(f"{doing}: {' '.join(str(error).split()).rstrip('.')}.") from error

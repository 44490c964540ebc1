"""The files under a path that somebody names: which are looked at, and their bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import InputError, StorageError
from storage.exchange.found import MOST_FILE

START = 4096  # bytes by which a file is told
MOST_FILES = 20_000  # of one folder and those below it


@dataclass(frozen=True)
class Skipped:
    """A file that was not imported, and why."""

    file: str
    reason: str


def files_under(path: str | os.PathLike[str]) -> tuple[list[Path], list[Skipped]]:
    """The file, or all files of a folder and below it, sorted; and the links that lead out of it.

    Raises:
        InputError: nothing is there, or a folder holds too many files.
    """
    if "://" in str(path):
        raise InputError(
            f"import: {shown_path(path)} is a URL; copy its files into a folder first."
        )
    path = Path(path)
    if not os.path.lexists(path):
        raise InputError(f"import: {shown_path(path)} does not exist; expected a file or a folder.")
    if not path.is_dir():
        return [path], []
    root = path.resolve()
    files: list[Path] = []
    skipped: list[Skipped] = []

    def unlisted(error: OSError) -> None:
        said = f"it cannot be listed: {error.strerror or error}"
        skipped.append(Skipped(shown_path(Path(error.filename)), said))

    # which follows no links to folders
    for folder, below, names in os.walk(path, onerror=unlisted):
        linked = [name for name in below if os.path.islink(os.path.join(folder, name))]
        for found in (Path(folder, name) for name in (*names, *linked)):
            if found.is_symlink() and not _within(found, root):
                skipped.append(
                    Skipped(
                        shown_path(found), "it is a link that leads out of the folder, or nowhere"
                    )
                )
            elif not found.is_dir():  # a folder within is walked in its own place
                files.append(found)
        if len(files) > MOST_FILES:
            raise InputError(
                f"import: {shown_path(path)} holds more than {MOST_FILES} files; name a folder of "
                "directions."
            )
    return sorted(files), sorted(skipped, key=lambda each: each.file)


def _within(link: Path, root: Path) -> bool:
    """Whether a link leads to what lies below a folder; not where it leads in a circle."""
    try:
        return link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # as Python tells of a circle up to 3.12
        return False


def read_bytes(path: Path, check_start: Callable[[bytes], None], most: int = MOST_FILE) -> bytes:
    """A regular file's bytes, in memory.

    Args:
        check_start: refuses a file by its first bytes, however large it is.
        most: bytes.

    Raises:
        InputError: it is no regular file, begins as none that is read, or is too large.
        StorageError: it cannot be read. Both in words that follow after the file's name.
    """
    try:
        # a pipe would otherwise be waited for; a file takes no notice
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise InputError("it is no regular file")
            head = file.read(START)
            check_start(head)
            if about.st_size > most:
                raise InputError(f"it has {about.st_size} bytes; expected {_size(most)} at most")
            data = head + file.read(most + 1)
    except OSError as error:
        raise StorageError(f"it cannot be read: {error.strerror or error}") from error
    if len(data) > most:
        raise InputError(f"it grew beyond {_size(most)} while it was read")
    return data


def _size(count: int) -> str:
    return f"{count >> 30} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path in a message: a name of somebody else's may hold what a terminal obeys."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(path))

"""The folder where fetched and converted files are kept; it may be deleted at any time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from schemas.errors import InputError, StorageError

VARIABLE = "LODE_CACHE"


def cache_folder(cache: str | None = None) -> Path:
    """The folder that was asked for, else $LODE_CACHE, else ~/.cache/latentlode."""
    return Path(cache or os.environ.get(VARIABLE) or "~/.cache/latentlode").expanduser()


def make_folder(folder: Path) -> Path:
    """The same folder, made where it was missing.

    Raises:
        StorageError: it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Tell a full disk and a missing permission as a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cache: writing into {folder}: {error.strerror or error}; free some space, or "
            f"set {VARIABLE} to a folder that you may write to."
        ) from error


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Let one process at a time into the block; False where the file system knows no locks.

    The lock goes with the process that holds it, also where that is killed.
    """
    with writing(path.parent):
        handle = path.open("a")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            locked = True
        except OSError:
            locked = False
        yield locked


def checked_sha256(sha256: str, what: str) -> str:
    """The checksum of something in lower case.

    Raises:
        InputError: it is not 64 hexadecimal digits.
    """
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise InputError(f"{what}: sha256 {sha256!r}; expected 64 hexadecimal digits.")
    return sha256.lower()


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"reading {path}: {error.strerror or error}.") from error


def read_record(path: Path) -> dict[str, Any]:
    """What was recorded; {} where nothing was, or nothing that can be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Record it; readers see what was there or this, whole."""
    scratch = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        scratch.write_text(json.dumps(content))
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)

"""A file behind a URL, brought into the cache: said first, checked, fetched once."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from schemas.errors import CorruptDataError, InputError
from storage.downloads.cache import (
    alone,
    checked_sha256,
    file_sha256,
    make_folder,
    read_record,
    write_record,
    writing,
)
from storage.downloads.offline import is_offline
from storage.downloads.refusals import shown
from storage.downloads.schemes import check_scheme, refuse_open
from storage.downloads.transfer import FetchConfig, Job, Report, about, download, size_of

# told of every download that is given no report of its own
LISTENER: ContextVar[Report | None] = ContextVar("LISTENER", default=None)
log = logging.getLogger(__name__)
DEFAULTS = FetchConfig()


@dataclass(frozen=True)
class Fetched:
    """A file in the cache."""

    path: Path
    sha256: str
    trusted: bool  # on its first download, just now: nobody said which checksum to expect


def fetch(
    url: str,
    folder: Path,
    sha256: str | None = None,
    report: Report | None = None,
    config: FetchConfig = DEFAULTS,
) -> Fetched:
    """Bring a URL's file into a folder, or find it there.

    A file is fetched once. What was begun is gone on with where the store says that the file is
    still the same and serves ranges; else it is begun again. Without a checksum the first download
    is trusted: its SHA-256 is recorded, and a later download must have it. Processes that fetch
    the same URL wait for each other.

    Args:
        url: https, s3, gs, az ... (`schemes.SEALED`), or http on this machine; http elsewhere
            needs `sha256`.
        sha256: 64 hex digits that the file must have; None for those of the first download.
        report: called with the bytes that are here and how many there are (None: not known).

    Raises:
        InputError: there is no such file, it is larger than allowed, `sha256` is no checksum, or
            the URL is none that may be fetched.
        CorruptDataError: it has another checksum; it is not kept.
        StorageError: the store or the folder refuses, or the connection is lost for good.
    """
    check_scheme(url, config.what)
    key = hashlib.sha256(url.encode()).hexdigest()[:24]
    name = re.sub(r"[^\w.-]", "_", Path(urlsplit(url).path).name)[-80:] or "file"
    path, record = make_folder(folder) / f"{key}-{name}", folder / f"{key}.json"
    wanted = None if sha256 is None else checked_sha256(sha256, config.what)
    with alone(folder / f"{key}.lock") as locked:
        expected = wanted or read_record(record).get("sha256")
        if expected and path.is_file() and file_sha256(path) == expected:
            return Fetched(path, expected, False)
        _check_may_fetch(url, folder, config, expected)
        part = folder / (f"{key}.part" if locked else f"{key}.{uuid.uuid4().hex}.part")

        def say(text: str) -> None:
            log.warning("%s: %s", config.what, text)

        log.warning("%s is asked for", _said(url, config))
        listener = report or LISTENER.get()
        download(Job(url, part, config, expected is not None, say, listener))
        found = file_sha256(part)
        if expected and found != expected:
            part.unlink()
            raise CorruptDataError(_mismatch(config.what, url, found, expected, wanted is None))
        with writing(folder):
            write_record(record, {"url": shown(url), "sha256": found, "bytes": size_of(part)})
            os.replace(part, path)
            about(part).unlink(missing_ok=True)
    if expected is None:
        log.warning("%s has no known checksum; from now on it must have %s", shown(url), found)
    return Fetched(path, found, expected is None)


@contextlib.contextmanager
def listening(report: Report) -> Iterator[None]:
    """Hear of every download inside that is given no report of its own."""
    token = LISTENER.set(report)
    try:
        yield
    finally:
        LISTENER.reset(token)


def forget(path: Path) -> None:
    """Drop a fetched file and the checksum that it was trusted with."""
    with writing(path.parent):
        path.with_name(f"{path.name.partition('-')[0]}.json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _check_may_fetch(url: str, folder: Path, config: FetchConfig, expected: str | None) -> None:
    """Raise InputError where nothing may be fetched, or anyone on the way could change it."""
    if is_offline():
        raise InputError(
            f"{_said(url, config)} is not in {folder}, and nothing is fetched offline. Fetch it by "
            "hand and give its path, or leave --offline away."
        )
    if expected is None:
        refuse_open(url, config.what)


def _said(url: str, config: FetchConfig) -> str:
    """What for, from where, under which licence."""
    return f"{config.what}: {shown(url)} (licence: {config.licence or 'not known here'})"


def _mismatch(what: str, url: str, found: str, expected: str, recorded: bool) -> str:
    said = f"{what}: {shown(url)} has the SHA-256 {found}; expected {expected}"
    if recorded:
        return f"{said}, as at its first download. Give sha256 {found} to accept the new file."
    return f"{said}. It was not kept; check the URL and the checksum."

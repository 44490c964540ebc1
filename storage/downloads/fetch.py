"""A file behind a URL, brought into the cache: checked, resumable, never larger than allowed."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from schemas.errors import CorruptDataError, InputError, LodeError
from schemas.registry import missing_client
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
from storage.downloads.refusals import may_pass, shown, told

Report = Callable[[int, int | None], None]  # bytes that are here, bytes that there are
# told of every download that is given no report of its own
LISTENER: ContextVar[Report | None] = ContextVar("LISTENER", default=None)

BLOCK = 1 << 24  # bytes asked for at once, of stores that are read in pieces
TAGS = ("ETag", "Content-MD5", "Last-Modified", "LastModified", "mtime", "created")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchConfig:
    """How a file is fetched."""

    what: str = "download"  # named in messages
    licence: str | None = None  # said before the first byte
    most_bytes: int = 4 << 30
    tries: int = 5  # in a row without one new byte; then the part is kept and the error raised
    pause: float = 1.0  # seconds before the second try, twice as many before the third ...
    silence: float = 60.0  # seconds without a connection or a byte, after which a try has failed


DEFAULTS = FetchConfig()


@dataclass(frozen=True)
class Fetched:
    """A file in the cache."""

    path: Path
    sha256: str
    trusted: bool  # on its first download, just now: nobody said which checksum to expect


@dataclass(frozen=True)
class Remote:
    """What a store says about a file; two versions of it differ in one of these."""

    size: int | None
    tag: str | None


class _Changed(ConnectionError):
    """The file is another one than when its download began."""


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
        url: anything that fsspec opens: https, s3, memory ...
        sha256: 64 hex digits that the file must have; None for those of the first download.
        report: called with the bytes that are here and how many there are (None: not known).

    Raises:
        InputError: there is no such file, it is larger than allowed, or `sha256` is no checksum.
        CorruptDataError: it has another checksum; it is not kept.
        StorageError: the store or the folder refuses, or the connection is lost for good.
    """
    key = hashlib.sha256(url.encode()).hexdigest()[:24]
    name = re.sub(r"[^\w.-]", "_", Path(urlsplit(url).path).name)[-80:] or "file"
    path, record = make_folder(folder) / f"{key}-{name}", folder / f"{key}.json"
    wanted = None if sha256 is None else checked_sha256(sha256, config.what)
    with alone(folder / f"{key}.lock") as locked:
        expected = wanted or read_record(record).get("sha256")
        if expected and path.is_file() and file_sha256(path) == expected:
            return Fetched(path, expected, False)
        _announce(url, folder, config, expected)
        part = folder / (f"{key}.part" if locked else f"{key}.{uuid.uuid4().hex}.part")
        _download(url, part, config, report or LISTENER.get())
        found = file_sha256(part)
        if expected and found != expected:
            part.unlink()
            raise CorruptDataError(_mismatch(config.what, url, found, expected, wanted is None))
        with writing(folder):
            about = {"url": shown(url), "sha256": found, "bytes": part.stat().st_size}
            write_record(record, about)
            os.replace(part, path)
            _about(part).unlink(missing_ok=True)
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


def _announce(url: str, folder: Path, config: FetchConfig, expected: str | None) -> None:
    """Say what is fetched, or refuse to.

    Raises:
        InputError: nothing may be fetched, or anyone between here and there could change it.
    """
    licence = config.licence or "not known here"
    said = f"{config.what}: {shown(url)} (licence: {licence})"
    if is_offline():
        raise InputError(
            f"{said} is not in {folder}, and nothing is fetched offline. Fetch it by hand and give "
            "its path, or leave --offline away."
        )
    if expected is None:
        refuse_open(url, config.what)
    log.warning("%s is fetched into %s", said, folder)


def refuse_open(url: str, what: str) -> None:
    """InputError where a URL has no TLS and is not this machine's own."""
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise InputError(
            f"{what}: {shown(url)} is not encrypted, so that anyone on the way could change it; "
            "expected https, or the file's sha256."
        )


def _mismatch(what: str, url: str, found: str, expected: str, recorded: bool) -> str:
    said = f"{what}: {shown(url)} has the SHA-256 {found}; expected {expected}"
    if recorded:
        return f"{said}, as at its first download. Give sha256 {found} to accept the new file."
    return f"{said}. It was not kept; check the URL and the checksum."


def _download(url: str, part: Path, config: FetchConfig, report: Report | None) -> None:
    """Fill `part` with the whole file, trying again where the connection breaks."""
    failed = 0
    while True:
        before = _size(part)
        try:
            return _attempt(url, part, config, report)
        except LodeError:
            raise
        except Exception as error:
            if not may_pass(error):
                raise told(url, error, config.what) from error
            failed = 1 if _size(part) > before else failed + 1
            if failed >= config.tries:
                raise told(url, error, config.what) from error
            time.sleep(config.pause * 2 ** (failed - 1))


def _attempt(url: str, part: Path, config: FetchConfig, report: Report | None) -> None:
    """One try: append to what is there of the same file, or begin again."""
    fs, path, remote = _opened(url, config)
    if remote.size is not None and remote.size > config.most_bytes:
        raise _too_large(url, remote.size, config)
    same = remote.tag is not None and read_record(_about(part)) == asdict(remote)
    start = _size(part) if same else 0
    if not same:
        with writing(part.parent):
            part.unlink(missing_ok=True)
            write_record(_about(part), asdict(remote))
    if start and start == remote.size:
        return
    start, blocks = _blocks(fs, path, start, remote, config)
    end = _append(url, part, start, blocks, remote, config, report)
    if remote.size is not None and end != remote.size:
        raise ConnectionError(f"{end:,} of {remote.size:,} bytes came")
    if remote != _opened(url, config)[2]:
        part.unlink()
        raise _Changed("the file changed while it was fetched")


def _append(
    url: str,
    part: Path,
    start: int,
    blocks: Iterator[bytes],
    remote: Remote,
    config: FetchConfig,
    report: Report | None,
) -> int:
    """Write what comes behind the first `start` bytes; the file's size after that."""
    with writing(part.parent):
        file = part.open("r+b" if start else "wb")
    end = start
    with file:
        with writing(part.parent):
            file.truncate(start)
            file.seek(start)
        for block in blocks:
            end += len(block)
            if end > config.most_bytes:
                part.unlink()
                raise _too_large(url, end, config)
            with writing(part.parent):
                file.write(block)
            if report is not None:
                report(end, remote.size)
        with writing(part.parent):
            file.flush()
            os.fsync(file.fileno())
    return end


def _opened(url: str, config: FetchConfig) -> tuple[Any, str, Remote]:
    """The store, the file's path in it, and what the store says about the file."""
    import fsspec

    options: dict[str, Any] = {}
    if urlsplit(url).scheme in ("http", "https"):
        import aiohttp

        # the default is five minutes for a whole answer, however fast it comes
        quiet = config.silence
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=quiet, sock_read=quiet)
        options["client_kwargs"] = {"timeout": timeout, "trust_env": True}
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        raise missing_client(f"{config.what}: {shown(url)}", error) from None
    except ValueError as error:
        raise InputError(f"{config.what}: {shown(url)} cannot be opened: {error}.") from None
    fs.invalidate_cache()
    about = fs.info(path)
    if about.get("type") == "directory":
        raise InputError(f"{config.what}: {shown(url)} is a folder; expected a file.")
    tag = next((str(about[name]) for name in TAGS if about.get(name)), None)
    return fs, str(path), Remote(about.get("size"), tag)


def _blocks(
    fs: Any, path: str, start: int, remote: Remote, config: FetchConfig
) -> tuple[int, Iterator[bytes]]:
    """From which byte on the file comes, and its bytes from there."""
    if not hasattr(fs, "encode_url"):  # not HTTP: a request for each piece
        return start, _read(lambda: fs.open(path, "rb", block_size=BLOCK, cache_type="none"), start)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    # block_size 0: one answer, read while it comes; a size spares it the question for the size
    file = fs.open(path, "rb", block_size=0, size=remote.size or 1, headers=headers)
    if path.startswith("https:"):
        refuse_open(str(file.r.url), config.what)  # where it was sent on to
    range_came = file.r.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    tag = next((file.r.headers[name] for name in TAGS if name in file.r.headers), None)
    if remote.tag is not None and tag != remote.tag:
        file.close()
        raise _Changed("the file changed while it was fetched")
    return start if file.r.status == 206 and range_came else 0, _read(lambda: file, 0)


def _read(opened: Callable[[], Any], start: int) -> Iterator[bytes]:
    with contextlib.closing(opened()) as file:
        if start:
            file.seek(start)
        while block := file.read(BLOCK):
            yield block


def _too_large(url: str, size: int, config: FetchConfig) -> InputError:
    return InputError(
        f"{config.what}: {shown(url)} has {size:,} bytes or more; at most {config.most_bytes:,} "
        "are fetched."
    )


def _about(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0

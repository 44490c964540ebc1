"""The bytes of a URL's file: gone on with after a break, never spliced, never too many."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from schemas.errors import InputError, LodeError
from schemas.registry import missing_client
from storage.downloads.cache import read_record, write_record, writing
from storage.downloads.refusals import may_pass, reason, shown, told
from storage.downloads.schemes import refuse_open

Report = Callable[[int, int | None], None]  # bytes that are here, bytes that there are
Say = Callable[[str], None]  # one line to whoever waits

BLOCK = 1 << 24  # bytes asked for at once, of stores that are read in pieces
TAGS = ("ETag", "Content-MD5", "Last-Modified", "LastModified", "mtime", "created")


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
class Remote:
    """What a store says about a file; two versions of it differ in one of these."""

    size: int | None
    tag: str | None


@dataclass(frozen=True)
class Job:
    """One file to bring."""

    url: str
    part: Path
    config: FetchConfig
    checked: bool  # its checksum is known, so that a change on the way is found
    say: Say  # how large it is, before its first byte; why it is waited
    report: Report | None


class _Changed(ConnectionError):
    """The file is another one than when its download began."""


def download(job: Job) -> None:
    """Fill the part with the whole file, trying again where the connection breaks."""
    failed, announced = 0, False
    while True:
        before = size_of(job.part)
        try:
            fs, path, remote = _opened(job)
            if remote.size is not None and remote.size > job.config.most_bytes:
                raise _too_large(job, remote.size)
            if not announced:
                much = "" if remote.size is None else f"{remote.size / 1e6:,.1f} MB "
                job.say(f"{much}to be fetched into {job.part.parent}")
                announced = True
            return _attempt(job, fs, path, remote)
        except LodeError:
            raise
        except Exception as error:
            if not may_pass(error):
                raise told(job.url, error, job.config.what) from error
            failed = 1 if size_of(job.part) > before else failed + 1
            if failed >= job.config.tries:
                raise told(job.url, error, job.config.what) from error
            pause = job.config.pause * 2 ** (failed - 1)
            job.say(f"{reason(job.url, error)}; trying again in {pause:g} s")
            time.sleep(pause)


def _attempt(job: Job, fs: Any, path: str, remote: Remote) -> None:
    """One try: append to what is there of the same file, or begin again."""
    part = job.part
    same = remote.tag is not None and read_record(about(part)) == asdict(remote)
    start = size_of(part) if same else 0
    if not same:
        with writing(part.parent):
            part.unlink(missing_ok=True)
            write_record(about(part), asdict(remote))
    if start and start == remote.size:
        return
    start, blocks = _blocks(job, fs, path, start, remote)
    end = _append(job, start, blocks, remote)
    if remote.size is not None and end != remote.size:
        raise ConnectionError(f"{end:,} of {remote.size:,} bytes came")
    if remote != _opened(job)[2]:
        part.unlink()
        raise _Changed("the file changed while it was fetched")


def _append(job: Job, start: int, blocks: Iterator[bytes], remote: Remote) -> int:
    """Write what comes behind the first `start` bytes; the file's size after that."""
    part = job.part
    with writing(part.parent):
        file = part.open("r+b" if start else "wb")
    end = start
    with file:
        with writing(part.parent):
            file.truncate(start)
            file.seek(start)
        for block in blocks:
            end += len(block)
            if end > job.config.most_bytes:
                part.unlink()
                raise _too_large(job, end)
            with writing(part.parent):
                file.write(block)
            if job.report is not None:
                job.report(end, remote.size)
        with writing(part.parent):
            file.flush()
            os.fsync(file.fileno())
    return end


def _opened(job: Job) -> tuple[Any, str, Remote]:
    """The store, the file's path in it, and what the store says about the file."""
    import fsspec

    who, scheme = f"{job.config.what}: {shown(job.url)}", urlsplit(job.url).scheme
    options: dict[str, Any] = {}
    if scheme in ("http", "https"):
        import aiohttp

        # the default is five minutes for a whole answer, however fast it comes
        quiet = job.config.silence
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=quiet, sock_read=quiet)
        options["client_kwargs"] = {"timeout": timeout, "trust_env": True}
    try:
        # not url_to_fs: it reads a chain of stores in a URL
        store = fsspec.get_filesystem_class(scheme)
        fs = store(**store._get_kwargs_from_urls(job.url), **options)
        path = store._strip_protocol(job.url)
    except ImportError as error:
        raise missing_client(who, error) from None
    except ValueError as error:
        raise InputError(f"{who} cannot be opened: {error}.") from None
    fs.invalidate_cache()
    found = fs.info(path)
    if found.get("type") == "directory":
        raise InputError(f"{who} is a folder; expected a file.")
    tag = next((str(found[name]) for name in TAGS if found.get(name)), None)
    return fs, str(path), Remote(found.get("size"), tag)


def _blocks(
    job: Job, fs: Any, path: str, start: int, remote: Remote
) -> tuple[int, Iterator[bytes]]:
    """From which byte on the file comes, and its bytes from there."""
    if not hasattr(fs, "encode_url"):  # not HTTP: a request for each piece
        return start, _read(lambda: fs.open(path, "rb", block_size=BLOCK, cache_type="none"), start)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    # block_size 0: one answer, read while it comes; a size spares it the question for the size
    file = fs.open(path, "rb", block_size=0, size=remote.size or 1, headers=headers)
    try:
        _check_hops(job, [str(answer.url) for answer in (*file.r.history, file.r)])
        tag = next((file.r.headers[name] for name in TAGS if name in file.r.headers), None)
        if remote.tag is not None and tag != remote.tag:
            raise _Changed("the file changed while it was fetched")
    except BaseException:
        file.close()
        raise
    range_came = file.r.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    return start if file.r.status == 206 and range_came else 0, _read(lambda: file, 0)


def _check_hops(job: Job, urls: Sequence[str]) -> None:
    """Refuse an answer that was sent on over an open connection, wherever it ended.

    With a checksum http may lead anywhere, for a change would be found; https never to http.
    """
    if not job.checked or urlsplit(job.url).scheme == "https":
        for url in urls:
            refuse_open(url, job.config.what)


def _read(opened: Callable[[], Any], start: int) -> Iterator[bytes]:
    with contextlib.closing(opened()) as file:
        if start:
            file.seek(start)
        while block := file.read(BLOCK):
            yield block


def _too_large(job: Job, size: int) -> InputError:
    return InputError(
        f"{job.config.what}: {shown(job.url)} has {size:,} bytes or more; at most "
        f"{job.config.most_bytes:,} are fetched."
    )


def about(part: Path) -> Path:
    """Where it is recorded which file a part is of."""
    return part.with_name(f"{part.name}.json")


def size_of(part: Path) -> int:
    """Bytes; 0 where there is no such file."""
    return part.stat().st_size if part.is_file() else 0

"""A checkpoint of any kind, from anywhere: a path, a URL or the name of a public one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mining.generators.checkpoints import native
from mining.generators.checkpoints.base import Checkpoint
from mining.generators.checkpoints.known import KNOWN
from schemas.errors import CorruptDataError, InputError
from storage.downloads.cache import alone, cache_folder, file_sha256, make_folder
from storage.downloads.fetch import FetchConfig, Report, forget
from storage.downloads.locate import Found
from storage.downloads.locate import locate as find

WHAT = FetchConfig(what="checkpoint")


def read_checkpoint(
    source: str,
    sha256: str | None = None,
    cache: str | None = None,
    report: Report | None = None,
    config: FetchConfig = WHAT,
) -> Checkpoint:
    """The generator in a checkpoint, whatever file holds it; nothing in the file is executed.

    A file of ours is mapped as it is. Any other is read by a bound process of its own, which writes
    it as a file of ours into the cache; a second load finds that by the file's SHA-256.

    Args:
        source: a path, a URL, or a name of `known.KNOWN`.
        sha256: that the file must have; known checkpoints bring theirs where it is known.
        cache: a folder; else $LODE_CACHE, else ~/.cache/latentlode.
        report: of a download: called with the bytes that are here and how many there are.

    Raises:
        InputError: there is no such file, or it is hostile, damaged or of an unknown kind.
        CorruptDataError: the file has another checksum.
        StorageError: it cannot be fetched, or the cache cannot be written.
    """
    return load(locate(source, sha256, cache, report, config), cache)


def locate(
    source: str,
    sha256: str | None = None,
    cache: str | None = None,
    report: Report | None = None,
    config: FetchConfig = WHAT,
) -> Found:
    """Bring the file of a source to this machine.

    Raises:
        InputError, CorruptDataError, StorageError: as `read_checkpoint`.
    """
    return find(source, config, KNOWN, sha256, cache, report)


def load(found: Found, cache: str | None = None) -> Checkpoint:
    """Read a file, by way of the cache where it is not one of ours.

    A download without a checksum that cannot be read, such as a login page, is not trusted: it is
    forgotten, so that the next try fetches it again.
    """
    try:
        return _loaded(found, cache)
    except (InputError, CorruptDataError) as error:
        if found.trusted:
            forget(found.path)
        if found.source == str(found.path):
            raise
        raise type(error)(str(error).replace(str(found.path), found.source)) from None


def _loaded(found: Found, cache: str | None) -> Checkpoint:
    try:
        ours = native.is_native(found.path)
    except OSError as error:
        raise InputError(f"checkpoint {found.path}: {error.strerror}.") from None
    if ours:
        read = native.read(found.path)
        return replace(read, source=found.source, licence=found.licence or read.licence)
    digest = found.sha256 or file_sha256(found.path)
    folder = make_folder(cache_folder(cache) / "converted")
    target = folder / f"{digest}.safetensors"
    with alone(folder / f"{digest}.lock"):
        if target.is_file():
            try:
                return native.converted(target, found.source, found.licence)
            except (CorruptDataError, InputError):  # damaged, or of another version: made again
                target.unlink()
        _convert(found, target)
    return native.converted(target, found.source, found.licence)


def _convert(found: Found, target: Path) -> None:
    from mining.generators.checkpoints.isolated import extract

    try:
        extract(found.path, target)
    except InputError as error:
        said = str(error)
        if said.startswith("checkpoint "):
            raise
        raise InputError(f"checkpoint {found.source}: {said.rstrip('.')}.") from None

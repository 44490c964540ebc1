"""A file from anywhere: a path, a URL, or the name of a public one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from schemas.errors import CorruptDataError, InputError
from schemas.registry import unknown
from storage.downloads.cache import cache_folder, checked_sha256, file_sha256
from storage.downloads.fetch import FetchConfig, Report, fetch
from storage.downloads.refusals import is_chain, shown


@dataclass(frozen=True)
class Public:
    """A file that its makers published under a plain URL."""

    name: str
    url: str
    licence: str
    page: str  # that names the file and its licence
    sha256: str | None = None  # of the file; None where nobody who measured it published it


@dataclass(frozen=True)
class Found:
    """A file on this machine."""

    path: Path
    source: str  # what was asked for, without secrets
    sha256: str | None  # of the file, where it had to be computed
    licence: str | None  # that its makers publish; None where it is no public one
    trusted: bool = False  # without a checksum, on this its first download


def public(source: str, known: Mapping[str, Public]) -> Public | None:
    """The public file that a name or a URL means; None where it is no known one."""
    if source in known:
        return known[source]
    return next((entry for entry in known.values() if entry.url == source), None)


def locate(
    source: str,
    config: FetchConfig,
    known: Mapping[str, Public] | None = None,
    sha256: str | None = None,
    cache: str | None = None,
    report: Report | None = None,
) -> Found:
    """Bring a file to this machine; one that is here already stays where it is.

    Args:
        source: a path, a URL, or a name among `known`.
        config: `config.what` names the file in messages; `config.licence` may stay None for
            those among `known`.
        sha256: that the file must have; known files bring theirs where it is known.
        cache: a folder; else $LODE_CACHE, else ~/.cache/latentlode.
        report: of a download: called with the bytes that are here and how many there are.

    Raises:
        InputError: there is no such file, or it would have to be fetched and may not.
        CorruptDataError: the file has another checksum.
        StorageError: it cannot be fetched, or the cache cannot be written.
    """
    known = known or {}
    entry = public(source, known)
    url = entry.url if entry else source
    licence = entry.licence if entry else config.licence
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError(f"{config.what}: {shown(source)} is not a URL: {error}.") from None
    if "://" in url and (parts.scheme != "file" or is_chain(url)):
        wanted = sha256 or (entry.sha256 if entry else None)
        folder = cache_folder(cache) / "downloads"
        got = fetch(url, folder, wanted, report, replace(config, licence=licence))
        return Found(got.path, shown(url), got.sha256, licence, got.trusted)
    name = unquote(parts.path) if parts.scheme == "file" else url
    path = _local(shown(source), name, config.what, known)
    wanted = None if sha256 is None else checked_sha256(sha256, config.what)
    if wanted is not None and (found := file_sha256(path)) != wanted:
        raise CorruptDataError(
            f"{config.what}: {path} has the SHA-256 {found}; expected {wanted}. Take the file that "
            "has it, or correct the checksum."
        )
    return Found(path, str(path), wanted, licence)


def _local(source: str, name: str, what: str, known: Mapping[str, Public]) -> Path:
    """The path of a file on this machine.

    Raises:
        InputError: there is none, or it is something else.
    """
    try:
        path = Path(name).expanduser()
        if path.is_file():
            return path
        exists = path.exists()
    except (OSError, RuntimeError) as error:  # too long, no permission, nobody's home
        said = getattr(error, "strerror", None) or error
        raise InputError(f"{what}: {source[:200]}: {str(said).rstrip('.')}.") from None
    if known and not exists and not path.suffix and len(path.parts) == 1:
        raise InputError(f"{what}: {unknown('name', source, known)} A path or a URL will do too.")
    found = "is a folder" if path.is_dir() else "is not a file" if exists else "does not exist"
    names = ", a URL or a known name" if known else " or a URL"
    raise InputError(f"{what}: {source} {found}; expected a file{names}.")

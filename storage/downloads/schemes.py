"""Which URLs are fetched: those of known stores, over a way that nobody in between can change."""

from __future__ import annotations

from urllib.parse import urlsplit

from schemas.errors import InputError
from storage.downloads.refusals import is_chain, shown

SEALED = ("https", "s3", "s3a", "gs", "gcs", "az", "abfs", "memory")
OPEN = "http"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def check_scheme(url: str, what: str) -> None:
    """Raise InputError for a chain of fsspec's, and for a URL that is of no known store.

    A chain such as simplecache::http://... hides another store behind the first scheme.
    """
    if is_chain(url):
        raise InputError(f"{what}: {shown(url)} is a chain of URLs; expected one.")
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise InputError(f"{what}: {shown(url)}: {error}.") from None
    if scheme not in (*SEALED, OPEN):
        raise InputError(
            f"{what}: {shown(url)} has the scheme {scheme!r}; expected one of "
            f"{', '.join((*SEALED, OPEN))}, or a path. Fetch it by hand and give its path."
        )


def refuse_open(url: str, what: str) -> None:
    """Raise InputError where a URL has no TLS and is not this machine's own."""
    parts = urlsplit(url)
    if parts.scheme in SEALED or (parts.scheme == OPEN and parts.hostname in LOOPBACK):
        return
    raise InputError(
        f"{what}: {shown(url)} is not encrypted, so that anyone on the way could change it; "
        "expected https, or the file's sha256."
    )

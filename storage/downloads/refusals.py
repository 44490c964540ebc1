"""What a store that refuses or a connection that breaks means, and how it is said in one line."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from schemas.errors import InputError, LodeError, StorageError
from schemas.remote import is_remote


def shown(url: str) -> str:
    """A URL, or a chain of them, without the secrets it may hold: user, password, signature."""
    if is_chain(url):
        return "::".join(_shown(part) for part in url.split("::"))
    return _shown(url)


def is_chain(url: str) -> bool:
    """Whether fsspec would read several stores in it; "::" in [::1] or in a query is no chain."""
    before = url.partition("://")[0] if "://" in url else ""
    return "::" in before or re.search(r"::[A-Za-z][\w+.-]*://", url) is not None


def _shown(url: str) -> str:
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
        # a password with a slash in it looks like a port that is no number
        parts.port  # noqa: B018
    except ValueError:
        return "a URL that cannot be read"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def may_pass(error: Exception) -> bool:
    """Whether trying again may help: a lost connection, a server that is busy."""
    status = _status(error)
    if status is not None:
        return status >= 500 or status in (408, 429)
    error = _unwrapped(error)
    if "Credentials" in type(error).__name__:  # botocore's: there are none, or half of them
        return False
    wrong = isinstance(error, FileNotFoundError | PermissionError | ValueError)  # no URL
    return not wrong and (isinstance(error, OSError) or is_remote(error))


def _unwrapped(error: Exception) -> Exception:
    """The cause, where fsspec calls a failure to ask an HTTP server a missing file."""
    cause = error.__cause__
    http = type(cause).__module__.startswith("aiohttp") or isinstance(cause, OSError)
    if isinstance(error, FileNotFoundError) and isinstance(cause, Exception) and http:
        return cause
    return error


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error tells; fsspec wraps it in a FileNotFoundError."""
    for each in (error, error.__cause__):
        if isinstance(status := getattr(each, "status", None), int):
            return status
    return None


def told(url: str, error: Exception, what: str) -> LodeError:
    """Whatever a store raises, in one line."""
    status, cause = _status(error), _unwrapped(error)
    who = f"{what}: {shown(url)}"
    if status in (401, 403) or isinstance(cause, PermissionError):
        return StorageError(f"{who}: no permission to read it; check the URL and the credentials.")
    if status in (404, 410) or isinstance(cause, FileNotFoundError):
        return InputError(f"{who}: there is no such file; check the URL.")
    return StorageError(
        f"{who}: {reason(url, error)}. Run the same command again to go on where it stopped, or "
        "fetch it by hand and give its path."
    )


def reason(url: str, error: Exception) -> str:
    """What a lost connection or a busy server says, in one line without a full stop."""
    status, error = _status(error), _unwrapped(error)
    if status:
        return f"the server answers {status}"
    said = str(error).replace(url, shown(url)) or type(error).__name__
    said = re.sub(r"\w+://[^\s'\"]+", lambda found: shown(found[0]), said)  # of a redirection
    return " ".join(said.split()).rstrip(".")

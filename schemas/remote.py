"""Which errors come from an object store's client, whose packages only its users install."""

from __future__ import annotations

CLIENTS = frozenset({"botocore", "boto3", "aiobotocore", "aiohttp"})


def is_remote(error: BaseException) -> bool:
    """Whether a client library raised it: no credentials, no such host, access denied ...

    They are no OSErrors and share no base class, and importing theirs would need the packages.
    """
    return any(kind.__module__.partition(".")[0] in CLIENTS for kind in type(error).__mro__)

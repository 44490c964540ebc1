"""Whether files may be fetched from elsewhere."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

VARIABLE = "LODE_OFFLINE"  # of the environment, so that the processes of a run have it too


def is_offline() -> bool:
    """Whether nothing may be fetched: what is in the cache is all there is."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


@contextlib.contextmanager
def offline(wanted: bool) -> Iterator[None]:
    """Fetch nothing inside, in this process and those that it starts; as before if not wanted."""
    before = os.environ.get(VARIABLE)
    if wanted:
        os.environ[VARIABLE] = "1"
    try:
        yield
    finally:
        if wanted:
            os.environ.pop(VARIABLE)
            if before is not None:
                os.environ[VARIABLE] = before

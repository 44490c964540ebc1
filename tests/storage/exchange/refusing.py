"""Asserts that bytes are refused by every importer, within bounded memory."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import PurePath

import pytest

from schemas.errors import InputError
from storage.exchange.recognise import found_in

HERE = PurePath("smile.bin")
LIMIT = 64 << 20  # bytes that may be taken while a hostile file of some kB is refused


def refused(data: bytes) -> str:
    """The message with which the bytes are refused, within bounded memory."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            found_in(HERE, data)
        assert tracemalloc.get_traced_memory()[1] < LIMIT
    finally:
        tracemalloc.stop()
    return str(caught.value)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sink.getvalue()

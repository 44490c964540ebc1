"""A zip archive of somebody else's, read in memory; nothing is ever unpacked to a disk."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from schemas.errors import InputError
from storage.exchange.found import MOST_MEMBERS, MOST_RATIO, MOST_UNPACKED, text

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_END, _LOCATOR_64, _END_64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
MOST_DIRECTORY = 4 << 20  # bytes of the list of members; zipfile makes objects of all of it
# what zipfile raises of damaged archives
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, LookupError),
    *(NotImplementedError, RuntimeError, OverflowError),
)


class Members:
    """The members of an archive whose directory was checked: names, sizes and methods."""

    def __init__(self, data: bytes) -> None:
        """Read the directory alone.

        Raises:
            InputError: it is damaged; a member is named like a way out, named twice, encrypted or
                packed in an unusual way; or all together unpack to more than the limits.
        """
        if _directory(data) > MOST_DIRECTORY:
            raise InputError(f"its zip archive's directory has more than {MOST_DIRECTORY} bytes")
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGE as error:
            raise InputError(f"its zip archive is damaged: {_one_line(error)}") from None
        listed = self._archive.infolist()
        if len(listed) > MOST_MEMBERS:
            raise InputError(
                f"its zip archive lists {len(listed)} members; expected {MOST_MEMBERS} at most"
            )
        for info in listed:
            _check(info)
        self._infos = {info.filename: info for info in listed}
        if len(self._infos) < len(listed):
            raise InputError("its zip archive has two members of one name")
        total = sum(info.file_size for info in listed)
        if total > min(MOST_UNPACKED, MOST_RATIO * len(data)):
            raise InputError(
                f"its zip archive of {len(data)} bytes unpacks to {total}; expected at most "
                f"{MOST_RATIO} times as much and {MOST_UNPACKED >> 30} GiB"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """In the directory's order."""
        return tuple(self._infos)

    def size(self, name: str) -> int | None:
        """Bytes that a member unpacks to, as the directory says; None where there is none."""
        info = self._infos.get(name)
        return None if info is None else info.file_size

    def read(self, name: str) -> bytes:
        """A member's bytes, exactly as many as the directory says.

        Raises:
            InputError: it is damaged, or holds another number of bytes.
        """
        info = self._infos[name]
        try:
            with self._archive.open(info) as stream:
                # with a count: without one, zipfile unpacks 2 GiB before it looks at the size
                data = stream.read(info.file_size)
        except _DAMAGE as error:
            raise InputError(f"its member {name[:80]!r} is damaged: {_one_line(error)}") from None
        if len(data) != info.file_size:
            raise InputError(f"its member {name[:80]!r} is cut short")
        return data


def _directory(data: bytes) -> int:
    """Bytes of the list of members, as the record at the archive's end says.

    Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16.
    """
    end = len(data) - 22
    if end < 0 or data[end : end + 4] != _END:
        raise InputError("its zip archive is cut short, or has a comment at its end")
    if end < 76 or data[end - 20 : end - 16] != _LOCATOR_64:
        return struct.unpack_from("<I", data, end + 12)[0]
    if data[end - 76 : end - 72] != _END_64:  # where zipfile looks, whatever the locator says
        raise InputError("its zip archive's directory is not where it says; it is damaged")
    return struct.unpack_from("<Q", data, end - 36)[0]


def _check(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename  # zipfile cuts `filename` at a zero byte
    parts = name.removesuffix("/").split("/")
    odd = not name.isprintable() or "\\" in name or ":" in name or len(name) > 200
    if odd or any(part in ("", ".", "..") for part in parts):
        raise InputError(f"its zip archive has a member named {name[:80]!r}, a way out of it")
    if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
        raise InputError(
            f"its member {name[:80]!r} is encrypted or packed in an unusual way; expected it "
            "stored or deflated"
        )


def _one_line(error: Exception) -> str:
    return text(" ".join(str(error).split()), 120) or type(error).__name__

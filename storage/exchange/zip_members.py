"""A zip archive of somebody else's, read in memory; nothing is ever unpacked to a disk.

What could hurt is bounded before it is read: the directory by the archive's own record at its end,
the members by the sizes that they declare and by what they really unpack to. Names that point out,
links, encryption, two members of one name and odd ways of packing are refused, whether or not
such a member is asked for. zip64 is read: torch's files are of that kind.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from typing import BinaryIO

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

    def __init__(
        self,
        source: bytes | BinaryIO,
        most_members: int = MOST_MEMBERS,
        most_directory: int = MOST_DIRECTORY,
    ) -> None:
        """Read the directory alone.

        Args:
            source: the bytes of the archive, or an open file.
            most_directory: bytes of the list of members.

        Raises:
            InputError: it is damaged; a member is named like a way out, named twice, a link,
                encrypted or packed in an unusual way; or all together unpack to more than the
                limits.
        """
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        size = file.seek(0, 2)
        if _directory(file, size) > most_directory:
            raise InputError(f"its zip archive's directory has more than {most_directory} bytes")
        try:
            self._archive = zipfile.ZipFile(file)
        except _DAMAGE as error:
            raise InputError(f"its zip archive is damaged: {_one_line(error)}") from None
        listed = self._archive.infolist()
        if len(listed) > most_members:
            raise InputError(
                f"its zip archive lists {len(listed)} members; expected {most_members} at most"
            )
        for info in listed:
            _check(info)
        self._infos = {info.filename: info for info in listed}
        if len(self._infos) < len(listed):
            raise InputError("its zip archive has two members of one name")
        total = sum(info.file_size for info in listed)
        if total > min(MOST_UNPACKED, MOST_RATIO * size):
            raise InputError(
                f"its zip archive of {size} bytes unpacks to {total}; expected at most "
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

    def read(self, name: str, most: int = MOST_UNPACKED) -> bytes:
        """A member's bytes, exactly as many as the directory says.

        Raises:
            InputError: it is missing, damaged, has more than `most` bytes or other than it says.
        """
        info = self._infos.get(name)
        if info is None:
            raise InputError(f"its member {name[:80]!r} is missing; it is not whole")
        if info.file_size > most:
            raise InputError(
                f"its member {name[:80]!r} has {info.file_size} bytes; expected {most} at most"
            )
        try:
            with self._archive.open(info) as stream:
                # with a count: without one, zipfile unpacks 2 GiB before it looks at the size
                data = stream.read(info.file_size)
        except _DAMAGE as error:
            raise InputError(f"its member {name[:80]!r} is damaged: {_one_line(error)}") from None
        if len(data) != info.file_size:
            raise InputError(f"its member {name[:80]!r} is cut short")
        return data


def _directory(file: BinaryIO, size: int) -> int:
    """Bytes of the list of members, as the record at the archive's end says.

    Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16.
    """
    file.seek(max(size - 98, 0))
    data = file.read(98)
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
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"its member {name[:80]!r} is a link or a device; expected plain files")
    if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
        raise InputError(
            f"its member {name[:80]!r} is encrypted or packed in an unusual way; expected it "
            "stored or deflated"
        )


def _one_line(error: Exception) -> str:
    return text(" ".join(str(error).split()), 120) or type(error).__name__

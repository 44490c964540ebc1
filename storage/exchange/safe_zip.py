"""Reading members of a zip that a stranger may have made, without unpacking it to disk.

What could hurt is bounded before it is read: the directory of the archive by its own record at the
end of the file, each member by its declared size and by what it really unpacks to. Names that
point out of the archive, symbolic links, encryption, two members of one name and methods other
than stored and deflated are refused, whether or not such a member is ever asked for.
Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from schemas.errors import InputError

MOST_ARCHIVE = 2 << 30  # bytes of the file
MOST_DIRECTORY = 16 << 20  # bytes of the list of members

_END = struct.Struct("<4s4H2LH")  # the end of central directory record, without a comment
_END_MARK, _ZIP64_MARK = b"PK\x05\x06", b"PK\x06\x07"
_ENCRYPTED = 0x1
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError),
    *(NotImplementedError, RuntimeError, struct.error, LookupError, OverflowError),
)


class SafeZip:
    """The checked members of an open archive."""

    def __init__(self, file: BinaryIO, who: str):
        self.who = who
        _check_end(file, who)
        with _told(who):
            self._zip = zipfile.ZipFile(file)
            self.members = {info.filename: info for info in self._zip.infolist()}
        if len(self.members) < len(self._zip.infolist()):
            raise InputError(f"{who}: two members have the same name; make the archive again.")
        for info in self.members.values():
            _check_member(info, who)

    def read(self, name: str, most: int) -> bytes:
        """The bytes of one member.

        Raises:
            InputError: it is missing, damaged, or unpacks to more than `most` bytes.
        """
        info = self.members.get(name)
        if info is None:
            raise InputError(f"{self.who}: {name} is missing; the archive is not whole.")
        if info.file_size > most:
            raise InputError(f"{self.who}: {name} has {info.file_size:,} bytes, {most:,} are read.")
        with _told(f"{self.who}: {name}"), self._zip.open(info) as member:
            return member.read(most + 1)[: info.file_size]


def _check_end(file: BinaryIO, who: str) -> None:
    """Refuse an archive whose directory is too large to be listed."""
    size = file.seek(0, 2)
    if size > MOST_ARCHIVE:
        raise InputError(f"{who}: {size:,} bytes, archives of {MOST_ARCHIVE:,} are read.")
    wanted = _END.size + 20  # with the place of a zip64 locator before it
    file.seek(max(0, size - wanted))
    tail = file.read(wanted)
    if len(tail) < _END.size or not tail[-_END.size :].startswith(_END_MARK):
        raise InputError(f"{who}: no zip, or cut off; expected a bundle as LatentLode exports.")
    _, _, _, _, entries, length, start, comment = _END.unpack(tail[-_END.size :])
    if comment or tail.startswith(_ZIP64_MARK) or 0xFFFFFFFF in (length, start):
        raise InputError(f"{who}: a zip64 archive or one with a comment; expected a plain zip.")
    if length > MOST_DIRECTORY or length > size:
        raise InputError(f"{who}: its list of {entries:,} members has {length:,} bytes.")


def _check_member(info: zipfile.ZipInfo, who: str) -> None:
    name = info.orig_filename  # zipfile cuts `filename` at a NUL
    parts = name.rstrip("/").split("/")
    if re.search(r"[\x00-\x1f\\:]", name) or any(part in ("", ".", "..") for part in parts):
        raise InputError(f"{who}: the member {name[:80]!r} points out of the archive.")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"{who}: {name[:80]} is a link or a device; expected plain files.")
    if info.flag_bits & _ENCRYPTED:
        raise InputError(f"{who}: {name[:80]} is encrypted; expected plain files.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{who}: {name[:80]} is packed by an unusual method; use deflate.")


@contextmanager
def _told(who: str) -> Iterator[None]:
    """What zipfile says of a damaged archive, as one InputError."""
    try:
        yield
    except _DAMAGED as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{who}: the archive is damaged: {said[:200]}.") from None

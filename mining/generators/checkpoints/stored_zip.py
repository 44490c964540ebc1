"""Finds the entries of a zip archive whose entries are stored as they are."""

from __future__ import annotations

from mining.generators.checkpoints.nodes import Slice
from schemas.errors import InputError

END, END_64, LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
ENTRY, LOCAL = b"PK\x01\x02", b"PK\x03\x04"
LONGEST_COMMENT = 1 << 16
MOST_ENTRIES = 100_000
ENCRYPTED = 0x1 | 0x40 | 0x2000


def entries(archive: Slice) -> dict[str, Slice]:
    """Each entry's bytes by its name, in the directory's order.

    The format: APPNOTE.TXT 6.3 (PKWARE), sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16 and 4.5.3.

    Raises:
        InputError: an entry is compressed, encrypted, named like a way out, named twice, or lies
            outside the file; or the directory is damaged.
    """
    count, start = _directory(archive)
    if count > MOST_ENTRIES:
        raise InputError(f"the zip archive lists {count} entries, expected at most {MOST_ENTRIES}")
    found: dict[str, Slice] = {}
    for _ in range(count):
        name, data, start = _entry(archive, start)
        if name in found:
            raise InputError(f"the zip archive has two entries named {name!r}")
        found[name] = data
    return found


def _directory(archive: Slice) -> tuple[int, int]:
    """How many entries the central directory has, and where it begins."""
    tail_start = max(0, archive.length - LONGEST_COMMENT - 22)
    at = archive.part(tail_start, archive.length - tail_start).bytes().rfind(END)
    if at < 0:
        raise InputError("the zip archive has no directory at its end; it is cut short")
    at += tail_start
    count, _, start, comment = archive.unpack("<HIIH", at + 10)
    if at + 22 + comment != archive.length:
        raise InputError("the zip archive does not end with its directory; it is damaged")
    if at >= 20 and archive.part(at - 20, 4).bytes() == LOCATOR_64:
        (end_64,) = archive.unpack("<Q", at - 12)
        if archive.part(end_64, 4).bytes() != END_64:
            raise InputError("the zip archive's directory is not where it says; it is damaged")
        count, _, start = archive.unpack("<QQQ", end_64 + 32)
    return count, start


def _entry(archive: Slice, at: int) -> tuple[str, Slice, int]:
    """One entry of the directory: its name, its bytes, and where the next one begins."""
    head = archive.unpack("<4sHHHHHHIIIHHHHHII", at)
    if head[0] != ENTRY:
        raise InputError("the zip archive's directory is damaged")
    flags, method, packed, size = head[3], head[4], head[8], head[9]
    name_length, extra_length, comment_length, local = head[10], head[11], head[12], head[16]
    name = _name(archive.part(at + 46, name_length).bytes())
    extra = archive.part(at + 46 + name_length, extra_length)
    packed, size, local = _widened(extra, packed, size, local)
    if method or flags & ENCRYPTED or packed != size:
        raise InputError(f"the zip entry {name!r} is compressed or encrypted, expected it stored")
    data = _local(archive, local, name, size)
    return name, data, at + 46 + name_length + extra_length + comment_length


def _widened(extra: Slice, packed: int, size: int, local: int) -> tuple[int, int, int]:
    """The sizes and the place, with those taken from the zip64 field that did not fit."""
    at = 0
    while at + 4 <= extra.length:
        kind, length = extra.unpack("<HH", at)
        if kind == 1:
            wide = list(extra.part(at + 4, length).unpack(f"<{length // 8}Q", 0))
            values = [size, packed, local]
            for index, value in enumerate(values):
                if value == 0xFFFFFFFF and wide:
                    values[index] = wide.pop(0)
            return values[1], values[0], values[2]
        at += 4 + length
    return packed, size, local


def _local(archive: Slice, at: int, name: str, size: int) -> Slice:
    """An entry's bytes, after its local header, which must agree about the name."""
    head = archive.unpack("<4sHHHHHIIIHH", at)
    if head[0] != LOCAL or head[3] != 0:
        raise InputError(f"the zip entry {name!r} is not where the directory says; it is damaged")
    if _name(archive.part(at + 30, head[9]).bytes()) != name:
        raise InputError(f"the zip entry {name!r} has another name at its place; it is damaged")
    return archive.part(at + 30 + head[9] + head[10], size)


def _name(text: bytes) -> str:
    """An entry's name, if it stays inside the archive."""
    name = text.decode("ascii", "replace")
    odd = not name.isprintable() or not name.isascii() or "\\" in name or ":" in name
    if odd or not all(part not in ("", ".", "..") for part in name.split("/")):
        raise InputError(f"the zip entry {name[:80]!r} has a name that no checkpoint needs")
    return name

"""torch's two containers: a zip archive (since 1.6), and pickles in a row with raw bytes behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mining.generators.checkpoints.arrays import MOST_NUMBERS, Storage
from mining.generators.checkpoints.machine import parse
from mining.generators.checkpoints.names import STORAGES
from mining.generators.checkpoints.nodes import Budget, Name, Pairs, Persistent, Slice
from mining.generators.checkpoints.stored_zip import entries
from schemas.errors import InputError

MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = b"\x8a\x0a" + MAGIC.to_bytes(10, "little")  # after two bytes with the protocol
PROTOCOL = 1001


@dataclass(frozen=True)
class TorchFile:
    """The saved object as nodes, and the storages that its references mean."""

    root: Any
    storages: Mapping[Persistent, Storage]


@dataclass(frozen=True)
class _Reference:
    """What torch writes where a storage belongs."""

    key: str
    dtype: str
    size: int  # bytes of one number
    count: int


def read_zip(source: Slice, budget: Budget) -> TorchFile:
    """Read the zip archive that `torch.save` writes.

    Raises:
        InputError: an entry is missing or odd, or the pickle inside is refused.
    """
    found = _below_one_folder(entries(source))
    if "constants.pkl" in found:
        raise InputError("it is a TorchScript archive, which is a program; expected weights")
    if "data.pkl" not in found:
        raise InputError("it is a zip archive without data.pkl, expected one that torch.save wrote")
    order = found["byteorder"].bytes() if "byteorder" in found else b"little"
    if order != b"little":
        raise InputError(f"its numbers are in byte order {order[:16]!r}, expected little")
    parsed = parse(found["data.pkl"], budget, persistent=True)
    if parsed.end != found["data.pkl"].length:
        raise InputError("its data.pkl goes on after its end; it is damaged or hostile")
    storages = {}
    for node in parsed.persistent:
        wanted = _reference(node)
        data = found.get(f"data/{wanted.key}")
        if data is None or data.length != wanted.count * wanted.size:
            raise InputError(
                f"its entry {'data/' + wanted.key[:40]!r} does not hold {wanted.count} numbers "
                f"of type {wanted.dtype}"
            )
        storages[node] = Storage(wanted.dtype, wanted.count, data)
    return TorchFile(parsed.root, storages)


def read_legacy(source: Slice, budget: Budget) -> TorchFile:
    """Read pickles in a row (magic number, version, system, object, keys), then the storages.

    Raises:
        InputError: it is damaged, or a pickle inside is refused.
    """
    at = 0
    heads = []
    for _ in range(3):
        part = parse(source.part(at, source.length - at), budget)
        heads.append(part.root)
        at += part.end
    if heads[0] != MAGIC or heads[1] != PROTOCOL:
        raise InputError("it does not begin as torch's files do")
    system = dict(_plain_pairs(heads[2]))
    if system.get("little_endian") is not True:
        raise InputError("its numbers are not in little-endian byte order")
    body = parse(source.part(at, source.length - at), budget, persistent=True)
    at += body.end
    keys = parse(source.part(at, source.length - at), budget)
    raw = source.part(at + keys.end, source.length - at - keys.end)
    return TorchFile(body.root, _raw_storages(body.persistent, keys.root, raw))


def is_legacy(source: Slice) -> bool:
    """Whether it begins with torch's magic number."""
    return source.length > 14 and source.part(2, 12).bytes() == LEGACY_START


def _raw_storages(
    nodes: tuple[Persistent, ...], keys: Any, raw: Slice
) -> dict[Persistent, Storage]:
    """The storages behind the pickles: for each key a count in 8 bytes, then the numbers."""
    wanted: dict[str, _Reference] = {}
    for node in nodes:
        reference = _reference(node)
        if wanted.setdefault(reference.key, reference) != reference:
            raise InputError(f"it describes storage {reference.key[:40]!r} in two ways")
    texts = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not texts or sorted(keys) != sorted(wanted):
        raise InputError("its list of storages is not the one that its object refers to")
    placed: dict[str, Storage] = {}
    at = 0
    for key in keys:
        reference = wanted[key]
        (count,) = raw.unpack("<q", at)
        if count != reference.count:
            raise InputError(
                f"storage {key[:40]!r} has {count} numbers, expected {reference.count}"
            )
        data = raw.part(at + 8, count * reference.size)
        placed[key] = Storage(reference.dtype, count, data)
        at += 8 + data.length
    if at != raw.length:
        raise InputError("it goes on after its last storage; it is damaged or hostile")
    return {node: placed[_reference(node).key] for node in nodes}


def _reference(node: Persistent) -> _Reference:
    """("storage", class, key, device, count), in the older form with a view that must be None."""
    parts = node.reference
    if isinstance(parts, tuple) and len(parts) == 6 and parts[5] is None:
        parts = parts[:5]
    match parts:
        case ("storage", Name() as kind, str(key), str(), int(count)) if (
            kind.full in STORAGES and 0 <= count < MOST_NUMBERS
        ):
            dtype, size = STORAGES[kind.full]
            return _Reference(key, dtype, size, count)
    raise InputError("it refers to a storage in a way that torch does not; it is hostile or new")


def _plain_pairs(node: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, Pairs):
        raise InputError("it does not describe its system as torch's files do")
    for key, value in node.entries:
        if isinstance(key, str):
            yield key, value


def _below_one_folder(found: dict[str, Slice]) -> dict[str, Slice]:
    """The entries without the name of the one folder that they all lie in."""
    folders = {name.partition("/")[0] for name in found}
    if len(folders) != 1:
        raise InputError(f"its zip archive has {len(folders)} folders at the top, expected 1")
    return {name.partition("/")[2]: data for name, data in found.items()}

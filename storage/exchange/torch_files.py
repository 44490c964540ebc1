"""torch's files: the zip archives of today and the pickles in a row of before 1.6.

Both are walked by the restricted reader first: it refuses every name but those of tensors and
dicts, and tensors larger than their storage. `weights_only=True` alone runs nothing either, but
makes whatever size a file names: a bytearray of 5 GB from 60 bytes (torch 2.13).
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from schemas.errors import InputError
from storage.exchange.found import MOST_FOUND, check_total, shown, text
from storage.exchange.pickled_arrays import Storage, Tensor, filled, storage_of
from storage.exchange.restricted_pickle import read_next
from storage.exchange.zip_members import Members

MAGIC = 0x1950A86A20F9469CFC6C  # in a pickle of its own, at the start of the older files
PROTOCOL = 1001
Made = Callable[[Tensor, Any], NDArray[Any]]  # of a tensor, and of what torch loaded for it

LEGACY_START = b"\x8a\x0a" + MAGIC.to_bytes(10, "little")  # after two bytes with the protocol


def read_torch_zip(members: Members) -> Any:
    """What `torch.save` wrote: an array, or a dict or list of arrays and plain values.

    Raises:
        InputError: it is a program (TorchScript), damaged, or holds other than tensors.
    """
    folder = _folder(members)
    storages: dict[str, Storage] = {}
    stream = io.BytesIO(members.read(f"{folder}data.pkl"))
    planned = read_next(stream, lambda reference: _noted(storage_of(reference), storages))
    if stream.tell() != len(stream.getvalue()):
        raise InputError("its data.pkl goes on after its end; it is damaged or hostile")
    for storage in storages.values():
        size = members.size(f"{folder}data/{storage.key}")
        if size != storage.count * storage.itemsize:
            raise InputError(
                f"its storage {storage.key[:40]!r} does not hold {storage.count} numbers"
            )
    _check_sizes(planned)
    beside = [f"data/{key}" for key in storages]
    return _with_arrays(planned, _checked, _loaded(_anew(members, folder, beside)))


def read_torch_legacy(data: bytes) -> Any:
    """The same from pickles in a row (magic number, version, system, object, keys) and storages.

    Raises:
        InputError: as `read_torch_zip`.
    """
    stream = io.BytesIO(data)
    heads = [read_next(stream) for _ in range(3)]
    if [type(head) for head in heads] != [int, int, dict] or heads[:2] != [MAGIC, PROTOCOL]:
        raise InputError("it does not begin as torch's files do")
    if heads[2].get("little_endian") is not True:
        raise InputError("its numbers are not in little-endian byte order")
    storages: dict[str, Storage] = {}
    planned = read_next(stream, lambda reference: _noted(storage_of(reference), storages))
    keys = read_next(stream)
    raw = _raw_storages(memoryview(data)[stream.tell() :], keys, storages)
    _check_sizes(planned)
    return _with_arrays(planned, lambda tensor, _: tensor.array(raw[tensor.storage.key]), None)


def is_legacy(data: bytes) -> bool:
    """Whether it begins with torch's magic number."""
    return data[2:14] == LEGACY_START


def _folder(members: Members) -> str:
    """The one folder that all members of a file of `torch.save` lie in, with its slash."""
    folders = {name.partition("/")[0] for name in members.names}
    if len(folders) != 1:
        raise InputError(f"its zip archive has {len(folders)} folders at the top; expected 1")
    folder = f"{folders.pop()}/"
    if f"{folder}constants.pkl" in members.names:
        raise InputError("it is a TorchScript archive, which is a program; expected tensors")
    if f"{folder}data.pkl" not in members.names:
        raise InputError("its zip archive has no data.pkl; expected one that torch.save wrote")
    order = f"{folder}byteorder"
    if order in members.names and members.read(order) != b"little":
        raise InputError("its numbers are not in little-endian byte order")
    return folder


def _noted(storage: Storage, storages: dict[str, Storage]) -> Storage:
    if storages.setdefault(storage.key, storage) != storage:
        raise InputError(f"it describes its storage {storage.key[:40]!r} in two ways")
    return storage


def _anew(members: Members, folder: str, storages: Sequence[str]) -> bytes:
    """An archive of the members that were checked, and of no others.

    torch finds members by a zip reader of its own: of an archive that is made to be read in two
    ways it might load what was not checked.
    """
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name in ("data.pkl", "version", *storages):
            if f"{folder}{name}" in members.names:
                archive.writestr(f"archive/{name}", members.read(f"{folder}{name}"))
    return sink.getvalue()


def _loaded(data: bytes) -> Any:
    """What torch makes of a file whose pickle and sizes were checked."""
    import torch

    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises whatever torch's C++ and Python meet first
        said = text(" ".join(str(error).split()), 160) or type(error).__name__
        raise InputError(f"torch does not load it: {said}") from None


def _check_sizes(planned: Any) -> None:
    """Refuse more tensors, or more numbers in all of them, than directions have."""
    values = planned.values() if isinstance(planned, dict) else planned
    several = values if isinstance(planned, dict | list | tuple) else [planned]
    if len(several) > MOST_FOUND:
        raise InputError(f"it holds {shown(planned)}; expected at most {MOST_FOUND} tensors")
    check_total(math.prod(value.shape) for value in several if isinstance(value, Tensor))


def _with_arrays(planned: Any, made: Made, loaded: Any) -> Any:
    """The content with arrays for its tensors; one level of a dict or list is looked at."""
    if isinstance(planned, dict):
        return {key: _one(value, made, _part(loaded, key)) for key, value in planned.items()}
    if isinstance(planned, list | tuple):
        return [_one(value, made, _part(loaded, at)) for at, value in enumerate(planned)]
    return _one(planned, made, loaded)


def _one(planned: Any, made: Made, loaded: Any) -> Any:
    return made(planned, loaded) if isinstance(planned, Tensor) else filled(planned)


def _part(loaded: Any, at: Any) -> Any:
    """An entry of what torch loaded; None where there is no such entry."""
    if isinstance(loaded, dict):
        return loaded.get(at)
    return loaded[at] if isinstance(loaded, list | tuple) and at < len(loaded) else None


def _checked(tensor: Tensor, loaded: Any) -> NDArray[Any]:
    """torch's tensor as an array, if it is the one that the walk foresaw."""
    import torch

    if not isinstance(loaded, torch.Tensor) or tuple(loaded.shape) != tensor.shape:
        raise InputError("torch loads other tensors than its pickle describes; it is hostile")
    plain = loaded.detach()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()


def _raw_storages(
    raw: memoryview, keys: Any, storages: Mapping[str, Storage]
) -> dict[str, memoryview]:
    """The storages behind the pickles: for each key a count in 8 bytes, then its numbers."""
    texts = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not texts or sorted(keys) != sorted(storages):
        raise InputError("its list of storages is not the one that its object refers to")
    placed = {}
    at = 0
    for key in keys:
        storage = storages[key]
        end = at + 8 + storage.count * storage.itemsize
        if end > len(raw) or struct.unpack_from("<q", raw, at)[0] != storage.count:
            raise InputError(f"its storage {key[:40]!r} does not hold {storage.count} numbers")
        placed[key] = raw[at + 8 : end]
        at = end
    if at != len(raw):
        raise InputError("it goes on after its last storage; it is damaged or hostile")
    return placed

"""What a card stands for where one vector does not do: matrices, regressors, flows.

    artefact = artefacts.put(catalog.url, data, "regressor")       # bytes of a safetensors file
    catalog.publish([replace(card, artefact=artefact)])
    arrays = artefacts.open(catalog.url, card.artefact.sha256)     # name -> NumPy array

An artefact is one safetensors file in the catalogue's folder, named after its SHA-256 and written
before the card that names it. Nobody changes it, and it moves with the folder. A publisher that is
killed in between leaves a file that no card names.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.directions import Artefact
from schemas.errors import CorruptDataError, InputError
from schemas.registry import unknown
from storage.files import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from schemas.directions import DirectionCard

FOLDER = "_artefacts"  # below the catalogue
SUFFIX = ".safetensors"
KINDS = ("matrix", "regressor", "flow")
MOST_BYTES = 2**30  # of a file
MOST_HEADER = 16 * 2**20  # bytes of its JSON
MOST_AXES = 32  # of a tensor, as NumPy has them
WIDTHS = {  # bytes of the elements that NumPy has too
    **{"BOOL": 1, "I8": 1, "U8": 1, "I16": 2, "U16": 2, "F16": 2},
    **{"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8},
}


def put(url: str, data: bytes | str | os.PathLike[str], kind: str) -> Artefact:
    """Keep a safetensors file in a catalogue; one that is there already is not written again.

    Args:
        url: of the catalogue, as `Catalog.url`.
        data: the file's bytes, or its path.
        kind: one of KINDS.

    Raises:
        InputError: it is no safetensors file, or not one that `open` can read.
        StorageError: it cannot be written.
    """
    if kind not in KINDS:
        raise unknown("kind of artefact", kind, KINDS)
    data = data if isinstance(data, bytes) else _file(Path(data))
    if wrong := problem(data):
        raise InputError(f"artefact: {wrong}; expected a safetensors file of NumPy's types.")
    try:
        arrays(data)
    except CorruptDataError as error:
        raise InputError(f"artefact: {error}") from error
    artefact = Artefact(kind, hashlib.sha256(data).hexdigest(), len(data))
    store, name = _store(url), _name(artefact.sha256)
    if not store.create(name, data) and store.read(name) != data:
        store.replace(name, data)  # damaged since, or left by a killed writer
    return artefact


def open(url: str, sha256: str) -> dict[str, NDArray[Any]]:
    """The arrays of an artefact by name.

    Raises:
        InputError: the SHA-256 is none, or no artefact of the catalogue has it.
        CorruptDataError: the file is not what was written.
        StorageError: it cannot be read.
    """
    return arrays(read(url, sha256))


def read(url: str, sha256: str) -> bytes:
    """The bytes of an artefact, checked against its name; errors as `open`."""
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise InputError(f"artefact {sha256[:80]!r}: expected a SHA-256, 64 hexadecimal digits.")
    store, name = _store(url), _name(sha256)
    size = kept(url).get(sha256)
    if size is None:
        raise InputError(f"artefact {sha256} is not in {url}; copy it to {store.path(name)}.")
    data = store.read(name) if size <= MOST_BYTES else b""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CorruptDataError(
            f"{store.path(name)} has {size:,} bytes that do not have the SHA-256 of its name; it "
            "was damaged. Restore it from a copy."
        )
    if wrong := problem(data):
        raise CorruptDataError(f"{store.path(name)}: {wrong}; restore it from a copy.")
    return data


def arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors file that `problem` finds nothing wrong with, by name.

    Raises:
        CorruptDataError: safetensors itself finds something.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except (SafetensorError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise CorruptDataError(f"safetensors does not read it: {said}.") from error


def pack(content: Mapping[str, NDArray[np.generic]]) -> bytes:
    """A safetensors file of these arrays, for `put`; the same arrays give the same bytes."""
    from safetensors.numpy import save

    little = {  # of other bytes safetensors would swap those of the caller
        name: array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        for name, array in sorted(content.items())
    }
    return save(little)


def check(url: str, *cards: DirectionCard) -> None:
    """Refuse cards whose artefact the catalogue does not hold.

    Raises:
        InputError: names the card, and what is there instead.
        StorageError: the folder cannot be listed.
    """
    named = [(card, card.artefact) for card in cards if card.artefact is not None]
    held_by = kept(url) if named else {}
    for card, artefact in named:
        held = held_by.get(artefact.sha256)
        if held != artefact.bytes:
            there = "is not there" if held is None else f"has {held:,} bytes there"
            raise InputError(
                f"publish: card {card.attribute!r} by {card.method!r} names the artefact "
                f"{artefact.sha256} of {artefact.bytes:,} bytes, which {there}; write it with "
                f"storage.artefacts.put({url!r}, ...) first."
            )


def kept(url: str) -> dict[str, int]:
    """SHA-256 -> bytes of every artefact of a catalogue; {} where there is none."""
    sizes = Store(url).sizes(FOLDER)
    names = {name: name.removesuffix(SUFFIX) for name in sizes if name.endswith(SUFFIX)}
    return {names[name]: sizes[name] for name in sorted(names)}


def problem(data: bytes) -> str:
    """What is wrong with a safetensors file; "" where nothing is. No tensor is made.

    The format: 8 bytes, little-endian: the length of the header; then the header, JSON: name ->
    dtype, shape and data_offsets; then the data, without gaps.
    Source: https://github.com/huggingface/safetensors#format.
    """
    if len(data) > MOST_BYTES:
        return f"{len(data):,} bytes are more than {MOST_BYTES:,}"
    length = int.from_bytes(data[:8], "little")
    if len(data) < 10 or length > min(MOST_HEADER, len(data) - 8):
        return f"a header of {length:,} bytes does not fit into {len(data):,}"
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        return f"the header is no JSON ({' '.join(str(error).split())[:80]})"
    if not isinstance(header, dict) or not header.keys() - {"__metadata__"}:
        return "the header names no tensor"
    end = 0
    spans = {name: _span(about) for name, about in header.items() if name != "__metadata__"}
    for name, (start, stop) in sorted(spans.items(), key=lambda item: item[1]):
        if start != end:
            return f"tensor {name[:80]!r} does not agree with its type, shape and place"
        end = stop
    if end != len(data) - 8 - length:
        return f"the tensors take {end:,} bytes, the file has {len(data) - 8 - length:,} for them"
    return ""


def _span(about: Any) -> tuple[int, int]:
    """Where a tensor starts and stops; (-1, -1) where the header does not agree with itself."""
    try:
        (start, stop), shape = about["data_offsets"], about["shape"][: MOST_AXES + 1]
        whole = len(shape) <= MOST_AXES and all(type(n) is int for n in (start, stop, *shape))
        within = whole and all(0 <= n <= MOST_BYTES for n in (start, stop, *shape))
        same = within and stop - start == WIDTHS[about["dtype"]] * math.prod(shape)
    except (TypeError, KeyError, ValueError):
        return (-1, -1)
    return (start, stop) if same else (-1, -1)


def _file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"artefact: {path} has {size:,} bytes, more than {MOST_BYTES:,}.")
        return path.read_bytes()
    except OSError as error:
        said = error.strerror or str(error)
        raise InputError(f"artefact: {path} cannot be read: {said}.") from error


def _store(url: str) -> Store:
    return Store(f"{url}/{FOLDER}")


def _name(sha256: str) -> str:
    return f"{sha256}{SUFFIX}"

"""Writes a safetensors file tensor after tensor, so that one at a time is in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.generators.checkpoints.arguments import check_bounds
from mining.generators.checkpoints.fingerprint import combined, digest, little
from mining.generators.checkpoints.plain import Normalised
from schemas.errors import InputError

FORMAT = {"format": "latentlode-generator", "version": "1"}
CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
UNKNOWN = "0" * 64  # keeps the fingerprint's place until the tensors have been read


def write(path: Path, found: Normalised, most_bytes: int) -> str:
    """Write a generator's tensors, config and fingerprint; the fingerprint is returned.

    The layout: 8 bytes with the header's length, the header in JSON, the tensors without gaps,
    the widest numbers first (https://github.com/huggingface/safetensors, "Format").

    Args:
        most_bytes: more in all tensors is refused, before anything is written.

    Raises:
        InputError: the tensors are too many bytes, or of a dtype that the format lacks; or the
            config has values that JSON lacks.
    """
    entries = _laid_out(found.tensors, most_bytes)
    told = {
        **FORMAT,
        "architecture": found.architecture,
        "config": _config(found.config),
        "file_format": found.file_format,
        "licence": found.licence,
    }
    digests = {}
    with path.open("wb") as file:
        file.write(_header(told | {"sha256": UNKNOWN}, entries))
        for name in entries:
            values = little(found.tensors[name]())
            digests[name] = digest(values)
            file.write(values.reshape(-1).view(np.uint8).data)
        sha256 = combined(found.architecture, found.config, digests)
        file.seek(0)
        file.write(_header(told | {"sha256": sha256}, entries))
    return sha256


def _laid_out(
    tensors: Mapping[str, Callable[[], NDArray[Any]]], most_bytes: int
) -> dict[str, dict[str, Any]]:
    """Each tensor's line of the header, in the order of the file: wide numbers first."""
    kinds, total = {}, 0
    for name, read in tensors.items():
        values = read()
        if values.dtype.name not in CODES or name == "__metadata__":
            raise InputError(
                f"a tensor {name[:80]!r} of type {values.dtype.name} does not fit into safetensors"
            )
        kinds[name] = values.dtype, values.shape, values.nbytes
        total += values.nbytes
        if total > most_bytes:  # before the next is read: thousands may lie in one storage
            raise InputError(
                f"its tensors take {total} bytes, more than the {most_bytes} of its file"
            )
    entries, at = {}, 0
    for name in sorted(kinds, key=lambda name: (-kinds[name][0].itemsize, name)):
        kind, shape, length = kinds[name]
        place = [at, at + length]
        entries[name] = {"dtype": CODES[kind.name], "shape": list(shape), "data_offsets": place}
        at += length
    return entries


def _config(config: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(dict(config), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError):
        raise InputError("its network's arguments hold values that JSON lacks") from None
    check_bounds(json.loads(text))  # as the reader of the file will
    return text


def _header(told: Mapping[str, str], entries: Mapping[str, Any]) -> bytes:
    """The header with its length in front, padded so that the tensors begin at a multiple of 8."""
    text = json.dumps({"__metadata__": told, **entries}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text

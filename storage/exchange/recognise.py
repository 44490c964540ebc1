"""Reads a file of directions, whatever its format: told by its content, never by its suffix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from schemas.errors import InputError, LodeError
from storage.exchange.found import MOST_FOUND, Found, check_total, direction, number, shown, text
from storage.exchange.ganspace import found_components, is_components
from storage.exchange.numpy_files import START, read_npy, read_npz
from storage.exchange.published import recognised
from storage.exchange.restricted_pickle import read_pickle
from storage.exchange.safetensors_files import is_safetensors, read_safetensors
from storage.exchange.source_files import read_bytes, shown_path
from storage.exchange.torch_files import is_legacy, read_torch_legacy, read_torch_zip
from storage.exchange.zip_members import Members

FORMATS = (
    ".npy, .npz, torch (.pt or without a suffix), GANSpace's .pkl, .safetensors, or a bundle or "
    "cards.json of lode"
)
UNKNOWN = f"its content is of no known format; expected {FORMATS}"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_SPACES = ("z", "w", "w+", "s")


def read(path: Path) -> list[Found]:
    """The directions of one file, as they stand in it.

    Raises:
        InputError: it is no file of a known format, is damaged or hostile, or holds no direction.
        StorageError: it cannot be read.
    """
    try:
        return found_in(path, read_bytes(path, check_start))
    except LodeError as error:
        raise type(error)(f"{shown_path(path)}: {error}.") from error


def check_start(head: bytes) -> None:
    """Refuse a file by its first bytes, before the others are read.

    Raises:
        InputError: no known format begins so.
    """
    known = head.startswith((START, *_ZIP, b"\x80")) or head[8:9] == b"{"
    if not known:
        raise InputError(UNKNOWN)


def found_in(path: PurePath, data: bytes) -> list[Found]:
    """The directions of a file's bytes.

    Args:
        path: its name and folders, which say what the content does not; nothing is opened.

    Raises:
        InputError: as `read`, in words that follow after the file's name.
    """
    source_format, content, metadata = _content(data)
    if is_components(content):
        found = found_components(content, path.stem, source_format)
    else:
        arrays = content if isinstance(content, dict) else {"": content}
        if isinstance(content, list):
            arrays = {str(at): entry for at, entry in enumerate(content)}
        found = _plain(arrays, source_format, metadata)
    return [recognised(each, path) for each in found]


def _content(data: bytes) -> tuple[str, Any, Mapping[str, str]]:
    """Format, content and metadata of a file."""
    if data.startswith(START):
        return "npy", read_npy(data), {}
    if data.startswith(_ZIP):
        members = Members(data)
        if members.names and all(name.endswith(".npy") for name in members.names):
            return "npz", read_npz(members), {}
        return "torch", read_torch_zip(members), {}
    if is_legacy(data):
        return "torch", read_torch_legacy(data), {}
    if data[:1] == b"\x80":
        return "pickle", read_pickle(data), {}
    if is_safetensors(data):
        arrays, metadata = read_safetensors(data)
        return "safetensors", arrays, metadata
    raise InputError(UNKNOWN)


def _plain(
    arrays: Mapping[str, Any], source_format: str, metadata: Mapping[str, str]
) -> list[Found]:
    """Each array as a direction; one that is none makes the file something else."""
    if not 1 <= len(arrays) <= MOST_FOUND:
        raise InputError(f"it holds {len(arrays)} arrays; expected 1 to {MOST_FOUND}")
    check_total(array.size for array in arrays.values() if isinstance(array, np.ndarray))
    found = []
    for key, array in arrays.items():
        entry = text(str(key), 80)
        what = f"its array {entry!r}" if entry else "its content"
        if not isinstance(array, np.ndarray):
            raise InputError(f"{what} is {shown(array)}; expected a direction's numbers")
        name = entry if len(arrays) > 1 else ""
        found.append(Found(name, direction(array, what), source_format, entry=entry))
    return [_described(found[0], metadata)] if len(found) == 1 else found


def _described(found: Found, metadata: Mapping[str, str]) -> Found:
    """A single direction with the metadata that `lode catalog export` writes."""
    space, layers = metadata.get("space", ""), metadata.get("layers", "").split()
    good = all(layer.isdecimal() and len(layer) < 4 for layer in layers)
    return replace(
        found,
        name=metadata.get("attribute", ""),
        method=metadata.get("method") or found.method,
        unit=metadata.get("unit", ""),
        space_hint=space if space in _SPACES else "",
        layers=tuple(map(int, layers)) if good else (),
        generator_hint=metadata.get("generator", ""),
        fingerprint_hint=metadata.get("generator_fingerprint", ""),
        generator_licence_hint=metadata.get("generator_licence", ""),
        licence_hint=metadata.get("licence", ""),
        source_hint=metadata.get("source", ""),
        sigma=number(_float(metadata.get("sigma", ""))),
    )


def _float(said: str) -> float:
    try:
        return float(said)
    except ValueError:
        return float("nan")

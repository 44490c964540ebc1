"""Our own files: safetensors with the network's arguments beside the weights.

They hold no program, and are mapped into memory as they are: a tensor is read when it is used.
The layout is that of https://github.com/huggingface/safetensors, section "Format".
"""

from __future__ import annotations

import json
import mmap
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from mining.generators.checkpoints.arguments import check_bounds
from mining.generators.checkpoints.base import Architecture, Checkpoint
from mining.generators.checkpoints.fingerprint import fingerprint
from mining.generators.checkpoints.plain import Normalised
from mining.generators.checkpoints.safetensors_writer import FORMAT, write
from schemas.errors import ConflictError, CorruptDataError, InputError
from storage.downloads.cache import writing

if TYPE_CHECKING:
    from torch import Tensor

FILE_FORMAT = "latentlode"
START = 8  # bytes that hold the header's length
MOST_HEADER = 1 << 20  # bytes; a StyleGAN3 of 1024 pixels needs 20,000
MOST_DIMENSIONS = 8
LONGEST_TEXT = 1000  # characters of a licence
ITEM = 4  # bytes of a float32, the only numbers that networks here have
NAME = re.compile(r"\w+(\.\w+)*")
TEXTS = ("architecture", "config", "licence", "sha256", "file_format")


@dataclass(frozen=True)
class Header:
    """What stands before the tensors, checked."""

    architecture: Architecture
    config: Mapping[str, Any]
    licence: str
    sha256: str  # the fingerprint, as the writer computed it
    file_format: str  # of the file that the weights came from
    places: Mapping[str, tuple[tuple[int, ...], int]]  # name -> shape, first byte in the file
    size: int  # bytes of the whole file


def is_native(path: Path) -> bool:
    """Whether a file begins as a safetensors file does; its header is checked by `read`."""
    with path.open("rb") as file:
        start = file.read(START + 1)
    return len(start) == START + 1 and start[START:] == b"{" and start[6:8] == b"\0\0"


def read(path: Path, verify: bool = True) -> Checkpoint:
    """A checkpoint whose tensors lie in the mapped file; writing to them changes no file.

    Args:
        verify: compute the fingerprint again, about 0.1 s for 100 MB. Without it a tensor is read
            when it is used, and a damaged one goes unnoticed.

    Raises:
        InputError: it is missing or another kind of file.
        CorruptDataError: its bytes are not those that were written.
    """
    import torch

    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        said = getattr(error, "strerror", None) or "the file is empty"
        raise InputError(f"checkpoint {path}: {said}; expected a safetensors file.") from None
    header = _header(path, mapped)
    tensors: dict[str, Tensor] = {}
    for name, (shape, start) in header.places.items():
        count = _count(shape)
        flat = (
            torch.frombuffer(mapped, dtype=torch.float32, count=count, offset=start)
            if count
            else torch.empty(0)
        )
        tensors[name] = flat.reshape(shape)
    if verify:
        readers = {name: tensor.numpy for name, tensor in tensors.items()}
        if fingerprint(header.architecture, header.config, readers) != header.sha256:
            raise CorruptDataError(
                f"checkpoint {path}: its tensors or arguments are not those of its fingerprint "
                f"{header.sha256}; it is damaged. Convert or fetch it again."
            )
    return Checkpoint(
        architecture=header.architecture,
        config=header.config,
        tensors=tensors,
        file_format=FILE_FORMAT,
        licence=header.licence,
        sha256=header.sha256,
        source=str(path),
    )


def read_header(path: Path) -> Header:
    """What a file says before its tensors.

    Raises:
        InputError: it is missing or another kind of file.
        CorruptDataError: its header does not fit the file.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _header(path, data)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"checkpoint {path}: {error}; expected a safetensors file.") from None


def check_free(path: Path, overwrite: bool = False) -> None:
    """Refuse a place where something stands.

    Raises:
        ConflictError: it is a folder, or a file that may not be overwritten.
    """
    if path.is_dir():
        raise ConflictError(f"checkpoint {path} is a folder; expected the name of a file.")
    if path.exists() and not overwrite:
        raise ConflictError(f"checkpoint {path} exists; choose another name or pass --force.")


def save(checkpoint: Checkpoint, path: Path, overwrite: bool = False) -> None:
    """Write a checkpoint under a name of its own, then put it in place whole.

    Raises:
        ConflictError: something stands there, and `overwrite` is False.
        StorageError: it cannot be written.
    """
    check_free(path, overwrite)
    tensors = {name: tensor.numpy for name, tensor in checkpoint.tensors.items()}
    found = Normalised(
        checkpoint.architecture,
        checkpoint.config,
        tensors,
        checkpoint.file_format,
        checkpoint.licence,
    )
    total = sum(tensor.numel() * ITEM for tensor in checkpoint.tensors.values())
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with writing(path.parent):
        try:
            write(scratch, found, total)
            with scratch.open("rb") as file:
                os.fsync(file.fileno())
            _place(scratch, path, overwrite)
        finally:
            scratch.unlink(missing_ok=True)


def _place(scratch: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        os.replace(scratch, path)
        return
    try:
        os.link(scratch, path)  # fails where another process was faster
    except FileExistsError:
        raise ConflictError(
            f"checkpoint {path} exists; choose another name or pass --force."
        ) from None
    except OSError:  # a file system without hard links
        os.replace(scratch, path)


def converted(path: Path, source: str, licence: str | None) -> Checkpoint:
    """A checkpoint that was converted into the cache, as the file that it came from.

    Raises:
        CorruptDataError: the cache's file is damaged.
    """
    found = read(path)
    return replace(
        found,
        source=source,
        file_format=read_header(path).file_format,
        licence=licence or found.licence,
    )


def _header(path: Path, data: mmap.mmap) -> Header:
    """Check every number that the header says before it is used."""
    length = int.from_bytes(data[:START], "little")
    if len(data) < START or length > min(MOST_HEADER, len(data) - START):
        raise CorruptDataError(f"checkpoint {path}: its header does not fit into it; cut short?")
    try:
        told = json.loads(data[START : START + length])
        about = told.pop("__metadata__")
        texts = {key: about[key] for key in TEXTS}
        config = json.loads(texts["config"])
        json.dumps(config, allow_nan=False)  # ValueError for what JSON should not have held
        version = {key: about[key] for key in FORMAT}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"checkpoint {path}: it is a safetensors file without what a generator needs; "
            "expected one that `lode generator convert` wrote."
        ) from None
    if version != FORMAT:
        raise InputError(
            f"checkpoint {path}: it is of format {version!r:.80}; expected {FORMAT}. "
            "Convert it again from the file that it came from."
        )
    known = get_args(Architecture)
    wrong = not all(isinstance(text, str) for text in texts.values()) or not isinstance(
        config, dict
    )
    if wrong or texts["architecture"] not in known:
        raise InputError(
            f"checkpoint {path}: architecture {texts['architecture']!r:.80}; expected one of "
            f"{', '.join(known)}."
        )
    for key, text in texts.items():  # they are shown on terminals
        if key != "config" and not (len(text) <= LONGEST_TEXT and text.isprintable()):
            raise InputError(
                f"checkpoint {path}: its {key} is {text!r:.80}; expected a short text."
            )
    try:
        check_bounds(config)
    except InputError as error:
        raise InputError(f"checkpoint {path}: {error}.") from None
    return Header(
        architecture=texts["architecture"],
        config=config,
        licence=texts["licence"],
        sha256=texts["sha256"],
        file_format=texts["file_format"],
        places=_places(path, told, START + length, len(data)),
        size=len(data),
    )


def _places(
    path: Path, entries: Mapping[str, Any], begin: int, size: int
) -> dict[str, tuple[tuple[int, ...], int]]:
    """Where each tensor lies: they cover the rest of the file without gap or overlap."""
    places, spans = {}, []
    for name, entry in entries.items():
        match entry:
            case {
                "dtype": "F32",
                "shape": list(shape),
                "data_offsets": [int(first), int(last)],
            } if (
                NAME.fullmatch(name)
                and len(shape) <= MOST_DIMENSIONS
                and all(type(n) is int and 0 <= n <= size for n in shape)
                and 0 <= first <= last
                and last - first == _count(shape) * ITEM
            ):
                places[name] = tuple(shape), begin + first
                spans.append((first, last))
            case _:
                raise CorruptDataError(
                    f"checkpoint {path}: its tensor {name!r:.80} is not a run of float32 numbers."
                )
    end = 0
    for first, last in sorted(spans):
        if first != end:
            raise CorruptDataError(f"checkpoint {path}: its tensors overlap or leave gaps.")
        end = last
    if begin + end != size or begin % ITEM:
        raise CorruptDataError(f"checkpoint {path}: it is {size} bytes; expected {begin + end}.")
    return places


def _count(shape: tuple[int, ...] | list[int]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count

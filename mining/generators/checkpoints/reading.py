"""Opens a checkpoint file of any known kind, told apart by its content."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mining.generators.checkpoints.machine import parse
from mining.generators.checkpoints.nodes import Budget, Slice
from mining.generators.checkpoints.rules import plain_value
from mining.generators.checkpoints.torch_files import is_legacy, read_legacy, read_zip
from schemas.errors import InputError

Kind = Literal["torch zip", "torch legacy", "pickle"]

GENERATOR = "checkpoint of StyleGAN2, StyleGAN2-ADA, StyleGAN3 or EG3D"
KNOWN_OTHERS = {  # first bytes -> what the file is, for the error's text
    b"<": "a web page: the download went wrong",
    b"version https://git-lfs": "a pointer of git LFS: fetch the file itself with `git lfs pull`",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"\x89HDF": "an HDF5 file",
}


@dataclass(frozen=True)
class PlainFile:
    """A checkpoint file's content. Its tensors are read when asked for (`TensorRef.read`)."""

    kind: Kind
    root: Any  # plain containers, Modules, TensorFlowNetworks and TensorRefs


def read_plain(path: Path | str, expected: str = GENERATOR) -> PlainFile:
    """Read a pickle or a file of torch without running anything that it says.

    Args:
        expected: what the file should be, for the errors' text.

    Raises:
        InputError: it is missing, damaged, hostile or of another kind.
    """
    mapped, length = _mapped(Path(path))
    try:
        found = _read(Slice(mapped, 0, length))
        mapped.madvise(mmap.MADV_DONTNEED)  # what was only skimmed takes no memory
        return found
    except InputError as error:
        raise InputError(
            f"checkpoint {path}: {error}. Expected an unbroken {expected}; get it again from where "
            "it was published."
        ) from None


def _read(source: Slice) -> PlainFile:
    budget = Budget()
    start = source.part(0, min(source.length, 512)).bytes()
    if start.startswith(b"PK\x03\x04"):
        found = read_zip(source, budget)
        return PlainFile("torch zip", plain_value(found.root, found.storages, budget))
    if is_legacy(source):
        found = read_legacy(source, budget)
        return PlainFile("torch legacy", plain_value(found.root, found.storages, budget))
    if start.startswith(b"\x80"):
        parsed = parse(source, budget)
        if parsed.end != source.length:
            raise InputError("it goes on after the end of its pickle; it is damaged or hostile")
        return PlainFile("pickle", plain_value(parsed.root, {}, budget))
    raise InputError(f"it is {_other_kind(start)}")


def _other_kind(start: bytes) -> str:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, what in KNOWN_OTHERS.items():
        if text.startswith(beginning):
            return what
    if start[257:262] == b"ustar":
        return "a tar archive (torch before 0.1.10): load and save it with a newer torch"
    if start[8:9] == b"{":
        return "a safetensors file, which needs no such reading"
    return f"neither a pickle nor a file of torch; it begins with {start[:8].hex(' ')}"


def _mapped(path: Path) -> tuple[mmap.mmap, int]:
    """The whole file, mapped into memory, and its length: only what is looked at is read."""
    if path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise InputError(f"checkpoint {path}: it is not a file; expected one.")
    try:
        with path.open("rb") as file:
            length = file.seek(0, 2)
            if not length:
                raise InputError(f"checkpoint {path}: the file is empty; get it again.")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), length
    except OSError as error:
        raise InputError(
            f"checkpoint {path}: {error.strerror}; expected a file that can be read."
        ) from None

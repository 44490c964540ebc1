"""One safetensors file that holds a model: arrays, and JSON in one entry of its metadata.

    FILE = ModelFile("matrix", "latentlode_matrix", "expected a direction matrix ...")
    FILE.write(path, data)
    about = FILE.about(FILE.read(path), path)

The format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import CorruptDataError, InputError
from storage import artefacts
from storage.files import Store, absolute


@dataclass(frozen=True)
class ModelFile:
    """A kind of model's files; errors begin with `who` and end with what was expected."""

    who: str
    key: str  # of the entry in the metadata
    expected: str

    def write(self, path: str, data: bytes) -> None:
        """Put a file at a path or URL; what stands there is replaced as a whole.

        Raises:
            InputError: the path names no file.
            StorageError: it cannot be written.
        """
        store, name = self._place(path)
        store.replace(name, data)

    def read(self, path: str) -> bytes:
        """The bytes at a path or URL.

        Raises:
            InputError: nothing is there, or more than a model has.
            StorageError: it cannot be read.
        """
        store, name = self._place(path)
        size = _size(store, name)
        if size is None:
            raise InputError(f"{self.who}: {path} is no file; {self.expected}.")
        if size > artefacts.MOST_BYTES:
            raise InputError(
                f"{self.who}: {path} has {size:,} bytes, more than {artefacts.MOST_BYTES:,}."
            )
        return store.read(name)

    def about(self, data: bytes, name: str) -> dict[str, Any]:
        """The JSON of our entry, from a file whose tensors lie where its header says.

        Args:
            name: of the file, in errors.

        Raises:
            InputError: the bytes are another kind of file.
            CorruptDataError: they are of this kind, and damaged.
        """
        wrong = artefacts.problem(data)
        if wrong:
            ours = self.key.encode() in data[:256]
            kind = CorruptDataError if ours else InputError
            raise kind(f"{self.who}: {name}: {wrong}; {self.expected}.")
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__")
        text = metadata.get(self.key) if isinstance(metadata, dict) else None
        if not isinstance(text, str):
            raise InputError(
                f"{self.who}: {name} is a safetensors file of something else; {self.expected}."
            )
        try:
            about = json.loads(text)
        except (ValueError, RecursionError) as error:
            said = " ".join(str(error).split())[:80]
            raise CorruptDataError(
                f"{self.who}: {name} is damaged: its metadata: {said}."
            ) from error
        if not isinstance(about, dict):
            raise CorruptDataError(
                f"{self.who}: {name} is damaged: its metadata are no JSON object."
            )
        return about

    def _place(self, path: str) -> tuple[Store, str]:
        """The folder of a file, and its name."""
        folder, _, name = absolute(path).rpartition("/")
        if not name:
            raise InputError(
                f"{self.who}: {path!r} names no file; expected such as {self.who}.safetensors."
            )
        return Store(folder or "/"), name


def _size(store: Store, name: str) -> int | None:
    """Bytes of a file; None where there is none, or a pipe or a folder."""
    if store.local:
        path = Path(store.path(name))
        return path.stat().st_size if path.is_file() else None
    return store.sizes("").get(name)

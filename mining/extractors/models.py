"""Model files that extractors read: found by path, URL or known name, checked, with a licence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import InputError
from storage.downloads.cache import file_sha256
from storage.downloads.fetch import FetchConfig
from storage.downloads.locate import Public, locate

UNKNOWN = "unknown: that of the file that was given"
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Model:
    """One model file on this machine."""

    name: str  # of the file, without its folder
    path: Path
    sha256: str
    licence: str

    def to_json(self) -> dict[str, str]:
        """What a dataset's metadata tells of it: nothing of this machine."""
        return {"name": self.name, "sha256": self.sha256, "licence": self.licence}


def find_model(
    who: str,
    source: str | Path,
    known: Mapping[str, Public] | None = None,
    sha256: str | None = None,
    licence: str | None = None,
    most_bytes: int = MOST_BYTES,
) -> Model:
    """The model file that an extractor was given.

    Args:
        who: the extractor, as messages name it: "extractor 'mediapipe'".
        source: a path, a URL, or a name among `known`.
        sha256: that the file must have.
        licence: of a file that is not among `known`.
        most_bytes: a larger file is refused, here or elsewhere.

    Raises:
        InputError: there is no such file, it is too large, or it may not be fetched.
        CorruptDataError: it has another checksum.
        StorageError: it cannot be fetched or read.
    """
    config = FetchConfig(what=who, licence=licence, most_bytes=most_bytes)
    found = locate(str(source), config, known, sha256)
    size = found.path.stat().st_size
    if size > most_bytes:
        raise InputError(
            f"{who}: {found.path} has {size:,} bytes; at most {most_bytes:,} are read."
        )
    digest = found.sha256 or file_sha256(found.path)
    name = Path(found.source).name or found.path.name
    return Model(name, found.path, digest, found.licence or UNKNOWN)


def licences(models: Iterable[Model]) -> str:
    """One line over all of them, each licence once."""
    return "; ".join(dict.fromkeys(f"{model.name}: {model.licence}" for model in models))


def models_of(extractor: Any) -> list[dict[str, str]]:
    """What the model files of an extractor are; [] where it has none or does not say."""
    return [model.to_json() for model in getattr(extractor, "models", ())]

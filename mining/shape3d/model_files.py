"""The files behind a shape model: found by path or URL, checked, and each told with its licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mining.extractors.models import Model, find_model
from mining.shape3d.model import ShapeModel
from mining.shape3d.readers import FILES, OWN, READERS, licence_of
from mining.shape3d.readers.checks import MOST_BYTES
from schemas.errors import InputError
from schemas.registry import build

EMBEDDED = "head"  # the model that needs no file
PIN = "_sha256"  # behind the name of an option that names a file


@dataclass(frozen=True)
class Loaded:
    """A shape model and what it was read from."""

    shape: ShapeModel
    files: Mapping[str, Model]  # "model" and the options that name files -> what was found
    options: Mapping[str, Any]  # of the reader, without files and checksums

    def identity(self) -> tuple[Any, ...]:
        """What decides the model's numbers: no places, and nothing that a machine computed."""
        if not self.files:
            return (self.shape.name, self.shape.sha256)
        files = sorted((role, model.sha256) for role, model in self.files.items())
        return (*files, *sorted(self.options.items()))


def load_model(
    who: str, model: str, kind: str, sha256: str | None, options: Mapping[str, Any]
) -> Loaded:
    """A shape model, and every file behind it, each of which is hashed once.

    Args:
        model: "head", or the path or URL of a file.
        sha256: that this file must have.
        options: of the kind's reader; those of `FILES` are paths or URLs, and may have their
            checksums beside them: landmarks and landmarks_sha256.

    Raises:
        InputError: kind, file and options do not go together, or a file is no such model.
        CorruptDataError: a file has another checksum.
        StorageError: a file cannot be fetched or read.
    """
    if (kind == EMBEDDED) != (model == EMBEDDED) or (kind == EMBEDDED and sha256 is not None):
        others = ", ".join(name for name in READERS if name != EMBEDDED)
        raise InputError(
            f"{who}: model {model!r} and model_kind {kind!r} came; expected both 'head' and no "
            f"sha256, or model FILE and a model_kind of {others}, which says what the file is."
        )
    if "path" in options:
        raise InputError(f"{who}: reader.path came; the option model names the file.")
    if kind == EMBEDDED:
        return Loaded(build("shape model", kind, READERS, options), {}, {})
    named = {name: options[name] for name in FILES[kind] if options.get(name) is not None}
    pins = {f"{name}{PIN}": name for name in FILES[kind]}
    plain = {k: value for k, value in options.items() if k not in FILES[kind] and k not in pins}
    licence = licence_of(kind)
    files = {"model": _found(who, "model", model, sha256, licence)}
    for pin, name in pins.items():
        if options.get(pin) is not None and name not in named:
            raise InputError(f"{who}: reader.{pin} came without reader.{name}.")
    for name, source in named.items():
        known = None if name in OWN else licence
        pin = options.get(f"{name}{PIN}")
        files[name] = _found(who, f"reader.{name}", source, pin, known)
    paths = {name: str(files[name].path) for name in named}
    told = {**plain, **paths, "path": str(files["model"].path)}
    return Loaded(build("shape model", kind, READERS, told), files, plain)


def _found(who: str, option: str, source: Any, sha256: Any, licence: str | None) -> Model:
    if not isinstance(source, str | Path) or not str(source):
        raise InputError(f"{who}: {option} {source!r} came; expected a path or a URL.")
    if sha256 is not None and not isinstance(sha256, str):
        raise InputError(f"{who}: the sha256 {sha256!r} of {option}; expected 64 hex digits.")
    what = f"{who}, {option}"
    return find_model(what, source, sha256=sha256, licence=licence, most_bytes=MOST_BYTES)

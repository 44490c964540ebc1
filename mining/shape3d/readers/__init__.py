"""The kinds of shape models by name. To add one: write its reader, add its line here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from schemas.registry import Registry

READERS: Registry = {
    # kind: (module:function, pip extra that it needs)
    "head": ("mining.shape3d.readers.head:read_head", ""),
    "bfm": ("mining.shape3d.readers.bfm:read_bfm", "bfm"),
    "flame": ("mining.shape3d.readers.flame:read_flame", ""),
    "surrey": ("mining.shape3d.readers.surrey:read_surrey", ""),
}

FILES: Mapping[str, tuple[str, ...]] = {
    # kind: options that name files beside the model's own
    "head": (),
    "bfm": ("landmarks",),
    "flame": ("landmarks", "contour"),
    "surrey": ("blendshapes", "landmarks"),
}
OWN = ("landmarks",)  # files of one's own, of whose licence their kind says nothing


def licence_of(kind: str) -> str:
    """That of a kind's published files, told before one is fetched."""
    place, _ = READERS[kind]
    return importlib.import_module(place.partition(":")[0]).LICENCE

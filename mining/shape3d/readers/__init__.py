"""The kinds of shape models by name. To add one: write its reader, add its line here."""

from __future__ import annotations

from schemas.registry import Registry

READERS: Registry = {
    # kind: (module:function, pip extra that it needs)
    "head": ("mining.shape3d.readers.head:read_head", ""),
    "bfm": ("mining.shape3d.readers.bfm:read_bfm", "bfm"),
    "flame": ("mining.shape3d.readers.flame:read_flame", ""),
    "surrey": ("mining.shape3d.readers.surrey:read_surrey", ""),
}

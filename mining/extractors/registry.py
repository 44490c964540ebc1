"""The extractors by name. To add one: write its file, add its line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mining.extractors.base import Extractor
from schemas.errors import InputError
from schemas.registry import Registry, build, check_protocol

EXTRACTORS: Registry = {
    # name: (module:class, pip extra that it needs)
    "dlib": ("mining.extractors.dlib68:Dlib68", ""),
    "geometry": ("mining.extractors.geometry:Geometry", ""),
}


def make_extractors(settings: Mapping[str, Mapping[str, Any]]) -> list[Extractor]:
    """Load the named extractors with their settings, in the order given.

    Raises:
        InputError: a name is unknown, or an extractor stands before one that it needs.
    """
    made: list[Extractor] = []
    for name, options in settings.items():
        extractor: Extractor = build("extractor", name, EXTRACTORS, options)
        check_protocol("extractor", name, extractor, Extractor, "mining/extractors/base.py")
        missing = set(extractor.needs) - {earlier.name for earlier in made}
        if missing:
            raise InputError(
                f"extractor {name!r} needs {', '.join(sorted(missing))} before it; "
                f"came: {', '.join(settings)}."
            )
        made.append(extractor)
    return made

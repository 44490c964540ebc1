"""The extractors by name. To add one: write its file, add its line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mining.extractors.base import Extractor
from schemas.errors import InputError
from schemas.registry import Registry, build, check_protocol

EXTRACTORS: Registry = {
    # name: (module:class, pip extra that it needs)
    "dlib": ("mining.extractors.dlib68:Dlib68", ""),
    "geometry": ("mining.extractors.geometry:Geometry", ""),
    "insightface": ("mining.extractors.insight_face:InsightFace", "insightface"),
    "mediapipe": ("mining.extractors.mediapipe_face:MediaPipeFace", "mediapipe"),
    "onnx_attributes": ("mining.extractors.onnx_attributes:OnnxAttributes", "onnx"),
    "clip_attributes": ("mining.extractors.clip_attributes:ClipAttributes", "clip"),
    "shape3d": ("mining.extractors.shape3d:Shape3d", ""),
    "deca": ("mining.extractors.deca:Deca", ""),
}


RESERVED = ("sample", "w", "truth", "camera")  # sample_id, w_plus, truth_..., camera_yaw ...


def make_extractors(settings: Mapping[str, Mapping[str, Any]]) -> list[Extractor]:
    """Load the named extractors with their settings, in the order given.

    Args:
        settings: name -> options. One that stands twice has a mark behind its name:
            "onnx_attributes@age".

    Raises:
        InputError: a name is unknown, two extractors would fill the same columns, or one stands
            before one that it needs.
    """
    made: list[Extractor] = []
    for name, options in settings.items():
        extractor: Extractor = build("extractor", unmarked(name), EXTRACTORS, options)
        check_protocol("extractor", name, extractor, Extractor, "mining/extractors/base.py")
        missing = set(extractor.needs) - {earlier.name for earlier in made}
        if missing:
            raise InputError(
                f"extractor {name!r} needs {', '.join(sorted(missing))} before it; "
                f"came: {', '.join(settings)}."
            )
        if extractor.name in RESERVED:
            raise InputError(
                f"extractor {name!r} has the name {extractor.name!r}, which begins columns of the "
                "dataset itself; give it another."
            )
        own = f"{extractor.name}_"
        for earlier in made:
            other = f"{earlier.name}_"
            if own.startswith(other) or other.startswith(own):
                raise InputError(
                    f"extractor {name!r} fills columns {own}... and one before it {other}..., "
                    "which nobody could tell apart; give it another name."
                )
        _check_reads(name, extractor, made)
        made.append(extractor)
    return made


def _check_reads(name: str, extractor: Extractor, made: Sequence[Extractor]) -> None:
    """Refuse a source without the columns that an extractor reads of it."""
    reads: Mapping[str, Sequence[str]] = getattr(extractor, "reads", {})
    for source in made:
        wanted = reads.get(source.name, ())
        if wanted and not any(column in source.columns for column in wanted):
            raise InputError(
                f"extractor {name!r} reads {' or '.join(wanted)} of {source.name!r}, which has "
                f"{', '.join(source.columns) or 'no columns'}; name another source."
            )


def unmarked(name: str) -> str:
    """The registry's name in a name of the settings: "onnx_attributes" of "onnx_attributes@age"."""
    return name.partition("@")[0]

"""The extractors by name. To add one: write its file, add its line here."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mining.extractors.base import Column, Extractor
from schemas.errors import InputError
from schemas.registry import Registry, build, check_protocol, load

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


# sample_id, w_plus, truth_..., camera_yaw ..., and labels where they are measured again
RESERVED = ("sample", "w", "truth", "camera", "label")


class Source(Protocol):
    """What an extractor may read: an extractor that runs before it, or columns that are stored."""

    @property
    def name(self) -> str:
        """What its columns begin with."""
        ...

    @property
    def columns(self) -> Mapping[str, Column]:
        """Those that it fills."""
        ...


def make_extractors(
    settings: Mapping[str, Mapping[str, Any]], earlier: Sequence[Source] = ()
) -> list[Extractor]:
    """Load the named extractors with their settings, in the order given.

    Args:
        settings: name -> options. One that stands twice has a mark behind its name:
            "onnx_attributes@age".
        earlier: whose columns are there already.

    Raises:
        InputError: a name is unknown, two extractors would fill the same columns, or one stands
            before one that it needs.
    """
    made: list[Extractor] = []
    before: list[Source] = [*earlier]
    for name, options in settings.items():
        if name.endswith("@"):
            raise InputError(
                f"extractor {name!r} has an empty mark; expected {unmarked(name)!r}, or a mark "
                "behind the @."
            )
        extractor: Extractor = build("extractor", unmarked(name), EXTRACTORS, options)
        check_protocol("extractor", name, extractor, Extractor, "mining/extractors/base.py")
        missing = set(extractor.needs) - {source.name for source in before}
        if missing:
            came = [*(source.name for source in earlier), *settings]
            near = difflib.get_close_matches(sorted(missing)[0], came, n=1)
            hint = f" Did you mean {near[0]!r}?" if near and near[0] not in missing else ""
            raise InputError(
                f"extractor {name!r} needs {', '.join(sorted(missing))} before it; "
                f"came: {', '.join(came)}.{hint}"
            )
        if extractor.name in RESERVED:
            raise InputError(
                f"extractor {name!r} has the name {extractor.name!r}, which begins columns of the "
                "dataset itself; give it another."
            )
        own = f"{extractor.name}_"
        for source in before:
            other = f"{source.name}_"
            if own.startswith(other) or other.startswith(own):
                kind = load("extractor", unmarked(name), EXTRACTORS)
                named = "name" in inspect.signature(kind).parameters
                advice = "give it another `name`" if named else "leave one of them out"
                raise InputError(
                    f"extractor {name!r} fills columns {own}... and one before it {other}..., "
                    f"which nobody could tell apart; {advice}."
                )
        _check_reads(name, extractor, before)
        made.append(extractor)
        before.append(extractor)
    return made


def _check_reads(name: str, extractor: Extractor, before: Sequence[Source]) -> None:
    """Refuse a source without the columns that an extractor reads of it."""
    reads: Mapping[str, Sequence[str]] = getattr(extractor, "reads", {})
    for source in before:
        wanted = reads.get(source.name, ())
        if wanted and not any(column in source.columns for column in wanted):
            raise InputError(
                f"extractor {name!r} reads {' or '.join(wanted)} of {source.name!r}, which has "
                f"{', '.join(source.columns) or 'no columns'}; name another source."
            )


def unmarked(name: str) -> str:
    """The registry's name in a name of the settings: "onnx_attributes" of "onnx_attributes@age"."""
    return name.partition("@")[0]

"""What InsightFace's models measure of a face that was found, and which files hold them.

Inputs and outputs are those of the pack `buffalo_l` as InsightFace 2.1 reads them
(insightface/model_zoo). The checksums are of its files as many have published them; another file
of the same name and form is taken too, under a licence that nobody here knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mining.extractors import arcface
from mining.extractors.base import Column
from mining.extractors.models import Model, find_model
from schemas.errors import InputError, RunError

DETECTOR = "det_10g.onnx"
LICENCE = "InsightFace buffalo_l, non-commercial research only"
FOREIGN = "unknown; InsightFace's own models are for non-commercial research only"
BUFFALO_L = {  # SHA-256 -> file
    "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91": "det_10g.onnx",
    "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43": "w600k_r50.onnx",
    "4fde69b1c810857b88c64a335084f1c3fe8f01246c9a191b48c7bb756d6652fb": "genderage.onnx",
    "f001b856447c413801ef5c42091ed0cd516fcd21f2d6b79635b1e733a7109dbf": "2d106det.onnx",
    "df5c06b8a0c12e422b2ed8947b8869faa4105387f199c477af038aa01f9a45cc": "1k3d68.onnx",
}
AROUND = 1.5  # edges of the box that a crop shows
Array = NDArray[np.float64]
# who asks, (M, W) as the model says it, (M, 2, 3) image -> crop, (2,) the image's width and height
Read = Callable[[str, Array, Array, Array], Mapping[str, Array]]


@dataclass(frozen=True)
class Part:
    """One model, its crops, and what its numbers mean."""

    file: str
    edge: int  # pixels of a crop
    width: int  # numbers for each crop
    half_range: float  # values go in as (value - 127.5) / half_range
    aligned: bool  # by the five points; else upright around the box
    columns: Mapping[str, Column]
    read: Read


def model_in(who: str, folder: Path, file: str) -> Model:
    """One file of a folder.

    Raises:
        InputError: there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        came = re.sub(r"^(\w+):/(?!/)", r"\1://", str(folder))  # a path has lost one of a URL's
        raise InputError(
            f"{who}: models {came!r} is no folder; expected a local one with {DETECTOR} "
            "and the files of `parts`, such as the unpacked buffalo_l. Nothing is downloaded."
        )
    if not (folder / file).is_file():
        there = sorted(path.name for path in folder.glob("*.onnx"))[:8]
        parts = [name for name, part in PARTS.items() if part.file == file]
        advice = f" or leave {parts[0]!r} out of parts." if parts else "."
        raise InputError(
            f"{who}: {str(folder)!r} has no {file} (it has {', '.join(there) or 'no .onnx file'}); "
            f"put it there{advice}"
        )
    found = find_model(who, folder / file)
    licence = LICENCE if found.sha256 in BUFFALO_L else FOREIGN
    return Model(file, found.path, found.sha256, licence)


def box_alignment(boxes: Array, edge: int) -> Array:
    """(M, 2, 3): pixels of the image -> pixels of a crop that shows 1.5 times the longer edge."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    scale = edge / ((boxes[:, 2:] - boxes[:, :2]).max(axis=1) * AROUND)
    matrices = np.zeros((len(boxes), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = scale
    matrices[:, :, 2] = edge / 2 - middle * scale[:, None]
    return matrices


def read_embedding(who: str, raw: Array, matrices: Array, size: Array) -> Mapping[str, Array]:
    """The embedding at unit length."""
    return {"embedding": arcface.unit_length(who, raw)}


def read_gender_age(who: str, raw: Array, matrices: Array, size: Array) -> Mapping[str, Array]:
    """Scores of female and male, and the age in centuries."""
    raw = finite(who, "genderage.onnx", raw)
    return {"gender": raw[:, 1] - raw[:, 0], "age": raw[:, 2] * 100}


def read_landmarks(name: str, count: int, axes: int, edge: int, file: str) -> Read:
    """Points that a model gives in half crops from the middle; the last `count` are kept."""

    def read(who: str, raw: Array, matrices: Array, size: Array) -> Mapping[str, Array]:
        points = finite(who, file, raw).reshape(len(raw), -1, axes)[:, -count:, :2]
        crop = (points + 1) * (edge // 2)
        turn, shift = matrices[:, :, :2], matrices[:, None, :, 2]
        image = (crop - shift) @ np.linalg.inv(turn).transpose(0, 2, 1)
        return {name: fractions(image, size)}

    return read


def fractions(points: Array, size: Array) -> Array:
    """Points in pixels, whole numbers at their middles, as fractions of the image.

    InsightFace cuts its crops with OpenCV's warpAffine, which counts so.
    """
    return (points + 0.5) / size


def finite(who: str, file: str, raw: Array) -> Array:
    """The same numbers.

    Raises:
        RunError: one is not finite.
    """
    if not np.isfinite(raw).all():
        raise RunError(f"{who}: {file} gave numbers that are not finite; is the file whole?")
    return raw


FRACTION = "fraction of the image"
PARTS: dict[str, Part] = {
    "embedding": Part(
        "w600k_r50.onnx",
        arcface.EDGE,
        arcface.WIDTH,
        127.5,
        True,
        {
            "embedding": Column(
                (arcface.WIDTH,), "1", "ArcFace embedding of length 1; compare by the cosine"
            )
        },
        read_embedding,
    ),
    "gender_age": Part(
        "genderage.onnx",
        96,
        3,
        128.0,
        False,
        {
            "gender": Column(
                (), "1", "the model's score of male minus that of female, as it judges the picture"
            ),
            "age": Column((), "years", "the age that the model sees"),
        },
        read_gender_age,
    ),
    "landmarks_106": Part(
        "2d106det.onnx",
        192,
        212,
        128.0,
        False,
        {"landmarks_106": Column((106, 2), FRACTION, "x, y of InsightFace's 106 points, y down")},
        read_landmarks("landmarks_106", 106, 2, 192, "2d106det.onnx"),
    ),
    "landmarks_68": Part(
        "1k3d68.onnx",
        192,
        3309,
        128.0,
        False,
        {"landmarks": Column((68, 2), FRACTION, "x, y of the 68 iBUG landmarks, y down")},
        read_landmarks("landmarks", 68, 3, 192, "1k3d68.onnx"),
    ),
}

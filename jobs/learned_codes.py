"""Codes of a 3-D shape model as an extractor of the dataset measured them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mining.extractors.geometry import POSE
from mining.methods.learned import ShapeCodes
from schemas.errors import InputError
from schemas.registry import unknown
from storage.dataset import Dataset
from storage.manifest import Manifest

JAW = {"jaw_open": "jaw"}  # degrees, where a shape model turns the jaw: column -> the code's name
COEFFICIENTS = {"moving": ("expression",), "identity": ("identity", "shape")}  # columns, by part


def code_columns(manifest: Manifest, source: str) -> dict[str, list[str]]:
    """The columns of an extractor that hold codes: "angles", "moving", "identity".

    Raises:
        InputError: there is no such extractor, or it measures no pose and no expression.
    """
    known = [one["name"] for one in manifest.extractors]
    if source not in known:
        raise unknown("extractor", source, known)
    fields = {field.name: field for field in manifest.fields}
    angles = [f"{source}_{name}" for name in (*POSE, *JAW) if f"{source}_{name}" in fields]
    found = {"angles": angles}
    for part, names in COEFFICIENTS.items():
        columns = [f"{source}_{name}" for name in names]
        found[part] = [name for name in columns if name in fields and len(fields[name].shape) == 1]
    if len(angles) < len(POSE) or not found["moving"]:
        raise InputError(
            f"direction_matrix: source {source!r} measures no {', '.join(POSE)} and coefficients "
            "of expression; expected an extractor that fits a 3-D shape model, such as shape3d or "
            "deca."
        )
    return found


def code_names(manifest: Manifest, source: str) -> tuple[str, ...]:
    """Names of an extractor's codes: yaw, pitch, roll, a jaw where it has one, expressions."""
    columns = code_columns(manifest, source)
    fields = {field.name: field for field in manifest.fields}
    angles = [name.removeprefix(f"{source}_") for name in columns["angles"]]
    (moving,) = columns["moving"]
    angles = [JAW.get(name, name) for name in angles]
    return *angles, *_expression_names(manifest, source, fields[moving].shape[0], moving)


def _expression_names(manifest: Manifest, source: str, count: int, moving: str) -> Sequence[str]:
    """Named as the extractor's own columns where it has one for each, else by their numbers."""
    fields = {field.name: field for field in manifest.fields}
    unit = fields[moving].unit
    named = [
        field.name.removeprefix(f"{source}_")
        for field in manifest.fields
        if field.name.startswith(f"{source}_") and not field.shape and field.unit == unit
    ]
    return named if len(named) == count else [f"expression_{k}" for k in range(count)]


def read_codes(dataset: Dataset, source: str) -> ShapeCodes:
    """Pose, expression and identity of every image, as an extractor measured them.

    Raises:
        InputError: as `code_columns`.
    """
    columns, manifest = code_columns(dataset.manifest, source), dataset.manifest
    read = dataset.arrays([name for part in columns.values() for name in part])
    angles = np.column_stack([read[name] for name in columns["angles"]])
    (moving,) = columns["moving"]
    expression = read[moving]
    identity = [read[name] for name in columns["identity"]] or [np.zeros((len(angles), 0))]
    unit = next(field.unit for field in manifest.fields if field.name == moving)
    return ShapeCodes(
        code_names(manifest, source),
        ("degrees",) * angles.shape[1] + (unit,) * expression.shape[1],
        np.concatenate([angles, expression], axis=1).astype(np.float64),
        np.concatenate(identity, axis=1).astype(np.float64),
    )

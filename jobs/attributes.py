"""The attributes of a run: measured columns and labels, and their spread over the dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from jobs.mining_data import labels_of, mined_attributes
from mining.evaluation.scalars import LABEL, Pair
from mining.labels import Label, attribute_values
from schemas.samples import Field
from schemas.settings import RunSettings
from storage.dataset import CAMERA, Dataset, attribute_fields
from storage.manifest import Manifest


def attribute_pairs(settings: RunSettings, manifest: Manifest) -> dict[str, Pair]:
    """Attribute -> (extractor, column), as re-scoring names what it measures.

    Every scalar that the extractors measure and every label, those that are mined first.
    """
    known = attribute_fields(manifest)
    labels = labels_of(settings.mining)
    short = [name for name, field in known.items() if name != field.name]
    names = dict.fromkeys([*mined_attributes(settings.mining), *short, *labels])
    return {
        name: (LABEL, name) if name in labels else _pair(known[name], manifest) for name in names
    }


def spreads_of(
    dataset: Dataset, names: Iterable[str], labels: Mapping[str, Label]
) -> dict[str, float]:
    """Standard deviation of each attribute over the dataset; NaN where nothing was measured."""
    found = {}
    for name, values in attribute_values(dataset, names, labels).items():
        known = values[np.isfinite(values)]
        found[name] = float(known.std()) if len(known) else float("nan")
    return found


def _pair(field: Field, manifest: Manifest) -> Pair:
    for extractor in manifest.extractors:
        if field.name.startswith(f"{extractor['name']}_"):
            return extractor["name"], field.name.removeprefix(f"{extractor['name']}_")
    if field.name in CAMERA:
        return "camera", field.name.removeprefix("camera_")
    raise AssertionError(f"{field.name} belongs to no extractor")  # attribute_fields saw to it

"""The attributes of a run: measured columns and labels, and their spread over the dataset."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from jobs.mining_data import labels_of, mined_attributes
from mining.evaluation.quantities import QUANTITIES
from mining.evaluation.scalars import LABEL, Pair
from mining.evaluation.spread import real_spread
from mining.labels import Label, attribute_values, with_labels
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
    """Standard deviation of each attribute over the dataset; NaN where it is no `real_spread`."""
    known = with_labels(dataset.manifest, labels)
    return {
        name: real_spread(values, known[name].unit)
        for name, values in attribute_values(dataset, names, labels).items()
    }


def true_name(attribute: str, manifest: Manifest, parameters: Collection[str]) -> str:
    """The truth's parameter that an attribute is a reading of; its own name where there is none.

    mouth_open for jaw_open, and for shape3d_mouth_open; a label is no reading of anything.
    """
    field = attribute_fields(manifest).get(attribute)
    if field is None or attribute in parameters:
        return attribute
    _, column = _pair(field, manifest)
    if column in parameters:
        return column
    read = (name for name, ways in QUANTITIES.items() if (column,) in ways and name in parameters)
    return next(read, attribute)


def _pair(field: Field, manifest: Manifest) -> Pair:
    for extractor in manifest.extractors:
        if field.name.startswith(f"{extractor['name']}_"):
            return extractor["name"], field.name.removeprefix(f"{extractor['name']}_")
    if field.name in CAMERA:
        return "camera", field.name.removeprefix("camera_")
    raise AssertionError(f"{field.name} belongs to no extractor")  # attribute_fields saw to it

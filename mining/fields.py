"""The columns of a dataset, as its manifest lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mining.extractors.base import Extractor
from mining.generators.base import Generator, KnownTruth, Posed
from mining.sequences import in_sequences
from schemas.samples import Field
from schemas.settings import DatasetSettings
from storage.dataset import CAMERA, FRAME, SEQUENCE


def generator_fields(generator: Generator, dataset: DatasetSettings) -> list[Field]:
    """The columns that a renderer fills, in order: latents, condition, truth, thumbnail."""
    fields = [
        *_latent_fields(generator, dataset),
        *_condition_fields(generator),
        *_truth_fields(generator),
    ]
    if dataset.thumbnail:
        fields.append(Field("thumbnail", "binary", text=f"JPEG, {dataset.thumbnail} px"))
    return fields


def is_tied(settings: Mapping[str, Any]) -> bool:
    """Whether all rows of W+ are the same w."""
    return settings["space"] == "w" and (settings["cutoff"] is None or settings["psi"] == 1)


def _latent_fields(generator: Generator, dataset: DatasetSettings) -> list[Field]:
    fields = [
        Field("sample_id", "string", text="unique for ever"),
        Field("index", "int64", text="0 .. samples - 1"),
        *_drawn_fields(generator, dataset),
        Field("w", "float32", (generator.w_dim,), "1", "the first row of W+, truncated"),
    ]
    if not is_tied(dataset.model_dump()):
        shape = (generator.num_ws, generator.w_dim)
        fields.append(Field("w_plus", "float32", shape, "1", "the rows that made the image"))
    return fields


def _drawn_fields(generator: Generator, dataset: DatasetSettings) -> list[Field]:
    """z, or of a frame its place: the w of a frame is that of no one z."""
    if in_sequences(dataset.model_dump()):
        last = dataset.sequences.length - 1
        return [
            Field(SEQUENCE, "int64", text="of one identity; its number"),
            Field(FRAME, "int64", text=f"its place in the sequence, 0 .. {last}"),
        ]
    per_layer = dataset.space == "w+"
    z = (generator.num_ws, generator.z_dim) if per_layer else (generator.z_dim,)
    return [Field("z", "float32", z, "1", "the latent drawn from the prior")]


def _condition_fields(generator: Generator) -> list[Field]:
    if not generator.c_dim:
        return []
    text = "the class or camera that the image was made with"
    fields = [Field("condition", "float32", (generator.c_dim,), "1", text)]
    if isinstance(generator, Posed):
        fields += [
            Field(name, "float32", (), "degrees", f"{name[7:]} of the face that the camera sees")
            for name in CAMERA
        ]
    return fields


def _truth_fields(generator: Generator) -> list[Field]:
    if not isinstance(generator, KnownTruth):
        return []
    names = generator.truth().names
    return [
        Field("truth_parameters", "float32", (len(names),), "see names", "true parameters", names),
        Field("truth_landmarks_2d", "float32", (68, 2), "fraction of the image", "true landmarks"),
        Field("truth_landmarks_3d", "float32", (68, 3), "mm", "true landmarks of the posed head"),
    ]


def extractor_fields(extractor: Extractor) -> list[Field]:
    """The columns that an extractor fills."""
    fields = [
        Field(f"{extractor.name}_status", "string", text="ok, no_face, ..."),
        Field(f"{extractor.name}_reason", "string", text="why a row failed", nullable=True),
    ]
    for name, column in extractor.columns.items():
        full = f"{extractor.name}_{name}"
        nullable = column.dtype == "float32"
        fields.append(
            Field(full, column.dtype, column.shape, column.unit, column.text, nullable=nullable)
        )
    return fields

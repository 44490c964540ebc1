"""The manifest of a dataset from its settings: what is asked of the generator and the extractors.

The two may be described on machines apart, each where its GPU is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mining.extractors.base import Extractor
from mining.extractors.models import models_of
from mining.extractors.registry import make_extractors
from mining.fields import extractor_fields, generator_fields
from mining.generators.registry import make_generator
from mining.latents import check_conditional
from mining.made_with import made_with
from mining.rendering import check_size
from mining.sequences import check_animated, in_sequences
from mining.stored import choose_images, sources_of, thumbnail_size
from schemas.errors import InputError
from schemas.samples import Field
from schemas.settings import DatasetSettings, RunSettings
from storage.derived import THUMBNAILS, Added, check_new_names, extended
from storage.manifest import FORMAT, HERE, Manifest


@dataclass(frozen=True)
class Described:
    """What one stage says of itself."""

    about: Any  # what decides its output, as the manifest keeps it
    here: dict[str, Any]  # what may differ from run to run, under its place in the manifest
    fields: list[Field]


def describe(settings: RunSettings) -> Manifest:
    """The manifest of the dataset that these settings make.

    Raises:
        InputError: a generator, an extractor or one of their options is unknown or unfit.
    """
    return manifest_of(settings, describe_generator(settings), describe_extractors(settings))


def manifest_of(settings: RunSettings, generator: Described, extractors: Described) -> Manifest:
    """The manifest from what both stages said."""
    fields = [*generator.fields, *extractors.fields]
    _check_columns(fields)
    here = {**generator.here, **extractors.here}
    content = {
        "format": FORMAT,
        "dataset": _identity(settings.dataset),
        "generator": generator.about,
        "extractors": extractors.about,
        **({HERE: here} if here else {}),
        "fields": [field.to_json() for field in fields],
        "made_with": dict(made_with()),
    }
    return Manifest(content)


def describe_generator(settings: RunSettings) -> Described:
    """What the generator is.

    Raises:
        InputError: it, or one of its options, is unknown or unfit.
    """
    options = _set(settings.generator.options)
    generator = make_generator(settings.generator.name, **options)
    dataset = settings.dataset
    if dataset.cutoff is not None and dataset.cutoff > generator.num_ws:
        raise InputError(
            f"dataset.cutoff {dataset.cutoff} came; {generator.name} has {generator.num_ws} "
            "rows of W+."
        )
    check_conditional(generator)
    check_animated(generator, dataset.model_dump())
    check_size(generator, dataset.image_size)
    weights = getattr(generator, "weights", None)  # of a checkpoint: their own fingerprint
    about = {
        **({"weights": weights} if weights else {}),
        "name": generator.name,
        "load": settings.generator.name,
        "fingerprint": generator.fingerprint(),
        "resolution": generator.resolution,
        "num_ws": generator.num_ws,
        "w_dim": generator.w_dim,
        "layer_names": list(generator.layer_names),
    }
    told = {"options": options, "licence": generator.licence}
    fields = generator_fields(generator, dataset)
    if _tells_all(generator):
        return Described(about, {"generator": told}, fields)
    return Described({**about, **told}, {}, fields)


def describe_extractors(settings: RunSettings) -> Described:
    """What the extractors are.

    Raises:
        InputError: one of them, or of their options, is unknown or unfit.
    """
    return _told(make_extractors(settings.extractors), settings.extractors)


def describe_extension(
    parent: Manifest, url: str, extractors: Mapping[str, Mapping[str, Any]], images: str
) -> Manifest:
    """The manifest of a dataset with more extractors' columns.

    Args:
        url: where the parent lies.
        extractors: the new ones by their names in the settings, with their options, in order.
        images: one of `mining.stored.CHOICES`.

    Raises:
        InputError: an extractor is unknown or unfit, stands there already, reads what is not
            there, or cannot have the images that it needs.
    """
    if not extractors:
        raise InputError("no extractor came; expected one at least, such as --extractors.NAME {}.")
    sources = sources_of(parent, [about["name"] for about in parent.extractors])
    check_new_names(parent, extractors)
    made = make_extractors(extractors, sources)
    described = _told(made, extractors)
    pixels = [extractor.name for extractor in made if getattr(extractor, "reads_pixels", True)]
    chosen = choose_images(parent, images, pixels)
    added = Added(
        described.about,
        described.here.get("extractors", {}),
        described.fields,
        chosen,
        thumbnail_size(parent) if chosen == THUMBNAILS else None,
    )
    return extended(parent, url, added, made_with())


def _told(extractors: Sequence[Extractor], listed: Mapping[str, Mapping[str, Any]]) -> Described:
    """What extractors that are made say of themselves, with their options."""
    every, here, fields = [], {}, []
    for extractor, (load, options) in zip(extractors, listed.items(), strict=True):
        about = {"name": extractor.name, "load": load, "fingerprint": extractor.fingerprint()}
        told: dict[str, Any] = {"options": dict(options), "licence": extractor.licence}
        if models := models_of(extractor):
            told["models"] = models
        if _tells_all(extractor):
            here[load] = told
        else:
            about |= told
        every.append(about)
        fields += extractor_fields(extractor)
    return Described(every, {"extractors": here} if here else {}, fields)


def _check_columns(fields: Sequence[Field]) -> None:
    """Refuse two columns of one name, of which a shard would keep the last."""
    seen: set[str] = set()
    for field in fields:
        if field.name in seen:
            raise InputError(
                f"column {field.name!r} stands twice in the dataset; give the extractor that fills "
                "it another name."
            )
        seen.add(field.name)


def _identity(dataset: DatasetSettings) -> dict[str, Any]:
    """The dataset settings in the manifest: ids from before a setting came stay what they were."""
    settings = dataset.model_dump()
    if settings["image_size"] is None:
        del settings["image_size"]
    if not in_sequences(settings):
        del settings["sequences"]
    return settings


def _tells_all(made: object) -> bool:
    """Whether the fingerprint tells of all that the options decide."""
    return bool(getattr(made, "fingerprint_tells_all", False))


def _set(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options without those that are null, by which one takes back what a file sets."""
    return {key: value for key, value in options.items() if value is not None}

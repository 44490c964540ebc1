"""Extend a dataset: measure its images by more extractors, as a dataset of its own.

Sample ids, indices and shards are the parent's, and so are all its columns. Images are made again
only where an extractor needs them. A rerun makes only the shards that are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.cluster import ray_session
from jobs.description import as_stage, check_loads
from jobs.generate_dataset import make_shards, prepare_folder
from jobs.parents import check_out, open_made, open_whole
from jobs.placement import is_split, shards_in_flight, stage_needs
from mining.description import describe_extension
from schemas.settings import EngineSettings
from storage.dataset import Dataset
from storage.derived import EXTENDED, RENDER
from storage.manifest import Manifest


def extend(
    url: str,
    extractors: Mapping[str, Mapping[str, Any]],
    out: str,
    engine: EngineSettings,
    images: str = "auto",
    generator: Mapping[str, Any] | None = None,
) -> Dataset:
    """Make the dataset with the new extractors' columns, or what is missing of it, and open it.

    Args:
        url: the parent, complete.
        extractors: the new ones by their names in the settings, with their options, in order.
        out: folder or URL of the new dataset.
        images: "render" makes them again from the stored latents; "thumbnails" takes those that
            are stored, as large as they are; "none" is for extractors that read no pixel; "auto"
            is "none" where that will do, else "render".
        generator: options of the generator, where its checkpoint lies elsewhere than it did.

    Raises:
        InputError: something does not fit; nothing was written.
        RunError: the generator is another one here, or shards could not be made.
    """
    parent = open_whole(url)
    target = check_out(parent, out)
    if generator:
        parent.manifest = parent.manifest.moved(generator, {})
    manifest = described_extension(engine, parent, extractors, images)
    engine = fitted(engine, manifest)
    if is_split(engine):
        shards_in_flight(engine, manifest)
    manifest, missing = prepare_folder(target, manifest, out)
    if missing:
        check_loads(engine, manifest)
        with ray_session(engine):
            make_shards(target, manifest, missing, engine)
    return open_made(target)


def described_extension(
    engine: EngineSettings,
    parent: Dataset,
    extractors: Mapping[str, Mapping[str, Any]],
    images: str,
) -> Manifest:
    """The new dataset's manifest, written where the extractors have what their workers will have.

    Raises:
        InputError: as `mining.description.describe_extension`.
    """
    told = (parent.manifest, parent.url, extractors, images)
    alone, whole = stage_needs(_without_generator(engine))[-1], stage_needs(engine)[-1]
    manifest = as_stage(engine, alone, describe_extension, *told)
    if manifest.derived["images"] == RENDER and (alone.gpus > 0) != (whole.gpus > 0):
        return as_stage(engine, whole, describe_extension, *told)  # fused with a generator's GPU
    return manifest


def fitted(engine: EngineSettings, manifest: Manifest) -> EngineSettings:
    """The engine's settings without a generator's stage where nothing is rendered."""
    if manifest.derived.get("kind") != EXTENDED or manifest.derived["images"] == RENDER:
        return engine
    return _without_generator(engine)


def _without_generator(engine: EngineSettings) -> EngineSettings:
    return engine.model_copy(update={"stages": "fused", "generator": engine.extractor})

"""What the miners read: latents, scores, landmarks, and the generator's style weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.description import as_generator
from mining.generators.base import Floats, StyleWeights
from mining.generators.registry import make_generator
from mining.labels import Label, make_labels, needed_columns, values_in, with_labels
from mining.methods.registry import SCORED, SUPERVISED_METHODS, WEIGHT_METHODS
from mining.methods.registry import needs_control as with_control
from mining.stored import latent_column
from schemas.errors import InputError
from schemas.samples import Field, from_column
from schemas.settings import EngineSettings, MiningSettings
from storage.dataset import Dataset
from storage.manifest import Manifest

Styles = tuple[Mapping[str, Floats], Mapping[str, int]]  # layer -> weights, layer -> row of W+
NO_STYLES: Styles = ({}, {})


@dataclass(frozen=True)
class MiningData:
    """What all miners read, in rows of the dataset."""

    latents: NDArray[np.float32]  # (N, D): w, or W+ with its rows laid end to end
    space: str  # "w" or "w+"
    shape: tuple[int, ...]  # of a direction: (w_dim,) or (num_ws, w_dim)
    scores: Mapping[str, NDArray[np.float64]]  # attribute -> (N,), NaN where unmeasured
    fields: Mapping[str, Field]  # attribute -> its column, or what a label says of itself
    landmarks: NDArray[np.float32]  # (N, L, 2), NaN where unmeasured
    weights: Mapping[str, Floats]  # layer -> (channels, w_dim) of its style; {} where unread
    rows: Mapping[str, int]  # layer -> the row of W+ that its style is read from

    @property
    def w(self) -> NDArray[np.float32]:
        """(N, w_dim): the first row of W+ where they differ."""
        return self.latents[:, : self.shape[-1]]


def mined_attributes(mining: MiningSettings) -> list[str]:
    """The attributes that are mined: none where no method reads scores."""
    own = {name: _listed(options) for name, options in mining.methods.items() if name in SCORED}
    supervised = any(method in SUPERVISED_METHODS for method in mining.methods)
    shared = supervised or not all(own.values())
    names = [*(mining.attributes if shared else []), *(name for x in own.values() for name in x)]
    return list(dict.fromkeys(names))


def _listed(options: Mapping[str, Any]) -> list[str]:
    """The attributes that a method names for itself; [] where it takes those of the settings."""
    found = options.get("attributes")
    return found if isinstance(found, list) else []


def labels_of(mining: MiningSettings) -> dict[str, Label]:
    """The labels that the settings and their file name."""
    return make_labels(mining.labels, mining.label_file)


def needs_control(mining: MiningSettings) -> bool:
    """Whether a chosen method needs the shape model and the regressor."""
    return any(with_control(method) for method in mining.methods)


def read_data(dataset: Dataset, mining: MiningSettings, styles: Styles) -> MiningData:
    """Read what the miners need from the finished shards.

    Args:
        styles: as `read_styles` gives them.
    """
    column = latent_column(dataset.manifest)
    labels = labels_of(mining)
    known = with_labels(dataset.manifest, labels)
    wanted = {name: known[name] for name in mined_attributes(mining)}
    names = [column, *([mining.landmarks] if needs_control(mining) else [])]
    reads = needed_columns(dataset.manifest, wanted, labels)
    table = dataset.read(list(dict.fromkeys([*names, *reads.values()])))
    arrays = {name: from_column(table.column(name)) for name in names}
    latents = arrays[column]
    return MiningData(
        latents.reshape(len(latents), -1),
        "w" if column == "w" else "w+",
        latents.shape[1:],
        {name: values_in(table, name, reads, labels) for name in wanted},
        wanted,
        arrays.get(mining.landmarks, np.empty((len(latents), 0, 2), np.float32)),
        *styles,
    )


def read_styles(
    mining: MiningSettings, manifest: Manifest, engine: EngineSettings
) -> tuple[Styles, dict[str, str]]:
    """The generator's style weights and the rows of W+ that they read, where a method does.

    Returns:
        The styles, and the methods that cannot be run for want of them -> why.

    Raises:
        InputError: nothing is left to run.
    """
    reading = [method for method in mining.methods if method in WEIGHT_METHODS]
    if not reading:
        return NO_STYLES, {}
    styles = as_generator(engine, _styles, manifest)
    if styles is not None:
        return styles, {}
    why = (
        f"generator {manifest.generator['name']!r} has no style weights, which this method reads; "
        "expected StyleWeights of mining/generators/base.py"
    )
    if len(reading) == len(mining.methods):
        raise InputError(f"{' and '.join(reading)}: {why}. Take another method, such as pca.")
    return NO_STYLES, dict.fromkeys(reading, why)


def without(mining: MiningSettings, skipped: Iterable[str]) -> MiningSettings:
    """The settings less some methods."""
    names = set(skipped)
    left = {name: options for name, options in mining.methods.items() if name not in names}
    return mining.model_copy(update={"methods": left})


def _styles(manifest: Manifest) -> Styles | None:
    about = manifest.generator
    generator = make_generator(about["load"], **about["options"])
    if not isinstance(generator, StyleWeights):
        return None
    return generator.style_weights(), generator.style_rows()

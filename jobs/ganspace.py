"""GANSpace: the principal components of a generator's W, and their cards; no image is made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.ganspace_source import WHO, Source
from jobs.latent_moments import latent_moments
from jobs.versions import code_version, package_versions
from mining.mapped import Draw, whole
from mining.methods.base import Direction
from mining.methods.moments import Moments
from mining.methods.naming import Name, associations, name_components
from mining.methods.pca import PcaConfig, explained, halves_agree, pca_of
from mining.stored import latent_column
from schemas.directions import DirectionCard, Provenance
from schemas.errors import InputError
from schemas.samples import from_column
from schemas.settings import EngineSettings
from storage.dataset import CAMERA, Dataset, attribute_fields

UNSEEN = (
    "A principal component of {samples:,} samples of W; no image was made, so what it moves was "
    "not measured."
)
SEEN = (
    " Of what dataset {dataset} measured of {rows:,} images, {name} goes along with it most: "
    "{response:+.2f} spreads per standard deviation."
)


@dataclass(frozen=True)
class Components:
    """What was found."""

    directions: tuple[Direction, ...]
    explained: NDArray[np.float64]  # (w_dim,) share of the variance of the widest 1, 2, ...
    names: tuple[Name, ...]  # of each direction, by a run's dataset; empty without one
    rows: int  # of that dataset, with anything measured
    stability: tuple[float, ...]  # of each: cosine between those of two halves; NaN without halves


def find_components(
    source: Source, draw: Draw, config: PcaConfig, engine: EngineSettings
) -> Components:
    """Sample W on Ray, and take the principal components of its moments.

    Raises:
        InputError: W has not so many components or rows, or its samples do not spread.
        RunError: a worker failed.
    """
    check_fits(source, draw, config)
    halves = latent_moments(source.mapper, draw, engine)
    moments = whole(halves)
    directions = tuple(pca_of(moments, config))
    names, rows = _names(source.dataset, moments, directions)
    stability = np.full(config.components, np.nan)
    if len(halves) == 2:
        stability = halves_agree(*halves, config.components)
    return Components(directions, explained(moments), names, rows, tuple(stability.tolist()))


def check_fits(source: Source, draw: Draw, config: PcaConfig) -> None:
    """Refuse, before any work, what the generator has not.

    Raises:
        InputError: more components than W has numbers or than are sampled, or rows beyond W+'s.
    """
    if config.components > min(source.w_dim, draw.samples - 1):
        raise InputError(
            f"{WHO}: {config.components} components of {draw.samples:,} samples came; W of "
            f"{source.name} has {source.w_dim} numbers; expected at most as many, and more samples "
            "than components."
        )
    if config.layers and config.layers[1] > source.num_ws:
        raise InputError(
            f"{WHO}: layers {config.layers[0]}-{config.layers[1] - 1} came; {source.name} has the "
            f"rows 0 to {source.num_ws - 1} of W+."
        )


def make_cards(
    source: Source, draw: Draw, config: PcaConfig, found: Components
) -> list[DirectionCard]:
    """One card per component, in order; sigma is the root of the variance along it."""
    told = {"method": asdict(config), "samples": draw.samples, "psi": draw.psi}
    manifest = None if source.dataset is None else source.dataset.manifest
    made = Provenance(
        draw.id_of(source.mapper.fingerprint),
        draw.seed,
        json.dumps(told, sort_keys=True),
        code_version(),
        package_versions(manifest),
    )
    return [
        DirectionCard(
            attribute=direction.attribute,
            unit=direction.unit,
            method=direction.method,
            space=direction.space,
            layers=direction.layers,
            generator=source.name,
            generator_fingerprint=source.mapper.fingerprint,
            generator_licence=source.licence,
            vector=direction.vector.astype(np.float32),
            provenance=made,
            sigma=float(np.sqrt(direction.evidence["variance"])),
            evidence=dict(direction.evidence),
            stability=found.stability[k],
            stability_low=found.stability[k],
            stability_high=found.stability[k],
            notes=_note(source, draw, found, k),
        )
        for k, direction in enumerate(found.directions)
    ]


def _note(source: Source, draw: Draw, found: Components, k: int) -> str:
    note = UNSEEN.format(samples=draw.samples)
    if source.dataset is None or not found.names or found.names[k].attribute is None:
        return note
    name = found.names[k]
    dataset = source.dataset.dataset_id
    return note + SEEN.format(dataset=dataset, rows=found.rows, name=name, response=name.response)


def _names(
    dataset: Dataset | None, moments: Moments, directions: tuple[Direction, ...]
) -> tuple[tuple[Name, ...], int]:
    """Names by what a dataset measured of its images; none where only some rows of W+ move."""
    if dataset is None or directions[0].layers or latent_column(dataset.manifest) != "w":
        return (), 0
    fields = attribute_fields(dataset.manifest)
    # each once, by its short name: what a second extractor measures too would count twice
    columns = {name: f.name for name, f in fields.items() if name != f.name or name in CAMERA}
    if not columns or not dataset.receipts:
        return (), 0
    vectors = np.stack([direction.vector for direction in directions], axis=1)
    parts = []
    for table in dataset.tables(["w", *columns.values()]):
        read = {name: from_column(table.column(name)) for name in table.column_names}
        scores = np.stack([read[column] for column in columns.values()], axis=1)
        parts.append(((read["w"] - moments.mean) @ vectors, scores))
    along, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    responses, low, high = associations(along, scores)
    measured = int(np.isfinite(scores).any(axis=1).sum())
    return tuple(name_components(responses, list(columns), low, high)), measured

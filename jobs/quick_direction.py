"""One direction from a finished dataset in this process: read, mine, perhaps publish."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.cards import card_of, known_truth, settings_of
from jobs.mining_stage import make_config, settings_json
from mining.labels import (
    Label,
    check_labels,
    needed_columns,
    values_in,
    with_labels,
)
from mining.methods.registry import SCORE_METHODS
from mining.stored import latent_column
from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.registry import load, unknown
from schemas.samples import from_column
from schemas.settings import MiningSettings
from storage.catalog import Catalog, Publication
from storage.dataset import Dataset
from storage.files import absolute
from storage.selecting import select


def mine_quick(
    url: str,
    attribute: str,
    labels: Mapping[str, Label],
    method: str = "ridge",
    options: Mapping[str, Any] | None = None,
    where: str | None = None,
    seed: int = 0,
) -> DirectionCard:
    """The direction of one attribute or label, by a method that reads latents and scores.

    Args:
        url: the dataset's.
        where: an expression over its columns; other rows are left out.

    Raises:
        InputError: there is no such dataset, attribute, column, method or option; or the rows
            that are left cannot be mined.
        CorruptDataError: a shard is damaged.
    """
    dataset = Dataset(absolute(url))
    manifest = dataset.manifest
    if method not in SCORE_METHODS:
        raise unknown("method", method, SCORE_METHODS)
    config = make_config(method, options or {}, seed)
    check_labels(labels, manifest)
    fields = with_labels(manifest, labels)
    if attribute not in fields:
        raise unknown("attribute", attribute, fields)
    column = latent_column(manifest)
    reads = needed_columns(manifest, [attribute], labels)
    tables = list(select(dataset, where, list(dict.fromkeys([column, *reads.values()]))))
    if not tables:
        which = f"with {where}" if where else "yet"
        raise InputError(f"direction: {dataset.url} has no rows {which}; nothing can be mined.")
    table = pa.concat_tables(tables)
    scores = values_in(table, attribute, reads, labels)
    latents = from_column(table.column(column))
    found = _mined(latents, scores, attribute, method, config)
    vector = np.asarray(found.vector, np.float64).reshape(latents.shape[1:])
    found = dataclasses.replace(
        found,
        attribute=attribute,
        unit=fields[attribute].unit,
        space="w" if column == "w" else "w+",
        vector=vector,
    )
    sigma = float(np.std(latents.reshape(len(latents), -1) @ vector.ravel().astype(np.float32)))
    mining = MiningSettings(seed=seed)  # type: ignore[call-arg]
    settings = settings_of(settings_json(method, config, mining), labels.get(attribute), where)
    return card_of(dataset, found, sigma, settings, seed, known_truth(manifest))


def publish_quick(card: DirectionCard, url: str) -> Publication:
    """Publish the card alone."""
    return Catalog(url).publish([card])


def _mined(latents: NDArray, scores: NDArray, attribute: str, method: str, config: Any) -> Any:
    rows = np.isfinite(scores)
    if not rows.any():
        raise InputError(
            f"{attribute} is known in none of {len(scores):,} rows; see the extractors' statuses "
            "with `lode dataset info`."
        )
    flat = latents.reshape(len(latents), -1)
    mine = load("method", method, SCORE_METHODS)
    return mine(flat[rows].astype(np.float64), scores[rows], config)

"""A run of the points generator whose directions are planted: no mining, nothing measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mining.description import describe
from schemas.directions import DirectionCard, Provenance, Response
from storage.catalog import Catalog
from storage.dataset import Dataset
from tests.examples.points import MODES, PointsGenerator
from tests.storage.points_dataset import EXTRACTOR, make, settings

PER_STEP = 1.0  # every attribute of the points generator grows by about 1 along its true row


def planted_run(folder: Path) -> Dataset:
    """folder/dataset of 60 images, of which every 23rd has no face, and folder/catalog.

    The catalogue holds true directions by ridge, slanted ones by svm, and a random one.
    """
    told = settings({EXTRACTOR: {"blind_every": 23}}, samples=60, shard_size=30, thumbnail=0)
    dataset = make(folder / "dataset", describe(told))
    rows = PointsGenerator().truth_rows.astype(np.float64)
    yaw, pitch, smile, mouth = rows
    Catalog(str(folder / "catalog")).publish(
        [
            planted_card(dataset, "ridge", "yaw", yaw),
            planted_card(dataset, "ridge", "smile", smile),
            planted_card(dataset, "svm", "yaw", yaw + 0.5 * pitch),
            planted_card(dataset, "svm", "smile", smile - 0.5 * mouth),
            planted_card(dataset, "random", "yaw", 0.01 * yaw + mouth, per_step=0.01),
        ]
    )
    return dataset


def planted_card(
    dataset: Dataset,
    method: str,
    attribute: str,
    vector: np.ndarray,
    per_step: float | None = None,
    **told: Any,
) -> DirectionCard:
    """A card with a response of its own attribute; that is PER_STEP times the cosine to the truth.

    Args:
        per_step: another response; NaN for a card without one.
    """
    unit = vector / np.linalg.norm(vector)
    truth = PointsGenerator().truth_rows
    if per_step is None:
        per_step = PER_STEP * float(unit.ravel()[: len(truth[0])] @ truth[MODES.index(attribute)])
    responses = () if np.isnan(per_step) else (Response(attribute, "1", per_step, 0.9, 1.1, 1.0),)
    about = dataset.manifest.generator
    made = {
        "attribute": attribute,
        "unit": "1",
        "method": method,
        "space": "w",
        "generator": about["name"],
        "generator_fingerprint": about["fingerprint"],
        "generator_licence": about["licence"],
        "vector": unit.astype(np.float32),
        "provenance": Provenance(dataset.dataset_id, 0, "{}", "0.1.0"),
        "slope": 1.0,
        "sigma": 1.0,
        "responses": responses,
    }
    return DirectionCard(**{**made, **told})

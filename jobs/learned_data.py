"""What learned methods read of datasets: latents, scores, faces, sequences, inverted images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.control_data import descriptor_column
from jobs.learned_checks import POINTS, conditions_of, has_landmarks
from jobs.learned_codes import read_codes
from jobs.learned_sources import open_sequences, read_inverted
from jobs.mining_data import MiningData
from jobs.results_cache import digest
from mining.extending import decode
from mining.methods.learned import LearnedRows, ShapeCodes
from mining.methods.registry import SCORED
from mining.rendering import downscale
from mining.stored import latent_column, thumbnail_size
from schemas.errors import InputError
from schemas.settings import MiningSettings
from storage.dataset import SEQUENCE, Dataset
from storage.manifest import Manifest

EDGE = 16  # pixels of the small images that surrogates learn

Floats = NDArray[np.float32]


def read_rows(
    dataset: Dataset, data: MiningData, method: str, config: Any, mining: MiningSettings
) -> LearnedRows:
    """What one learned method reads, in rows of the dataset; those of its sequences come after.

    Args:
        data: what was read of the dataset for all methods.

    Raises:
        InputError: the sequences or the inverted latents are of another generator or width.
        CorruptDataError: a shard is damaged.
    """
    num_ws = dataset.manifest.generator["num_ws"]
    rows = LearnedRows(data.latents, data.space, data.shape, num_ws, facts=facts_of(dataset))
    if method in SCORED:
        names = conditions_of(config, mining)
        units = {name: data.fields[name].unit for name in names}
        told = {"scores": {name: data.scores[name] for name in names}, "units": units}
        return dataclasses.replace(rows, sequences=_sequences(dataset), **told)
    rows = dataclasses.replace(rows, **_faces(dataset, config, mining.landmarks))
    if config.sequences:
        other = _other(dataset, config, mining.landmarks)
        rows = _joined(rows, _sequence_rows(other, config, mining.landmarks))
        rows = dataclasses.replace(rows, facts={**rows.facts, "sequences": other.dataset_id})
    if config.inverted:
        rows = dataclasses.replace(rows, inverted=read_inverted(config.inverted, dataset.manifest))
    return rows


def facts_of(dataset: Dataset) -> dict[str, str]:
    """What an artefact says of the generator that it is of."""
    about = dataset.manifest.generator
    return {
        "generator": about["name"],
        "fingerprint": about["fingerprint"],
        "licence": about["licence"],
        "dataset": dataset.dataset_id,
    }


def _faces(dataset: Dataset, config: Any, landmarks: str) -> dict[str, Any]:
    """Landmarks, codes, descriptors, small images and sequences, as far as they are read.

    Through images only the landmarks are, where there are any: crops follow from them.
    """
    manifest, images = dataset.manifest, config.chain == "images"
    found: dict[str, Any] = {"sequences": _sequences(dataset)}
    wanted = {"landmarks": landmarks, "descriptors": _descriptor(manifest)}
    if images:
        wanted = {"landmarks": landmarks if has_landmarks(landmarks, manifest) else ""}
    for name, column in wanted.items():
        if column:
            found[name] = dataset.arrays([column])[column]
    if images:
        return found
    if config.source:
        found["codes"] = read_codes(dataset, config.source)
    if config.perceptual_weight or config.pixel_weight:
        found["pixels"] = _pixels(dataset)
    return found


def _sequences(dataset: Dataset) -> NDArray[np.int64] | None:
    if SEQUENCE not in {field.name for field in dataset.manifest.fields}:
        return None
    return dataset.arrays([SEQUENCE])[SEQUENCE].astype(np.int64)


def _descriptor(manifest: Manifest) -> str:
    """The column that tells faces apart; "" where none was measured."""
    try:
        return descriptor_column(manifest)
    except InputError:
        return ""


def _pixels(dataset: Dataset) -> Floats | None:
    """(N, EDGE, EDGE, 3) in -1..1, of the stored thumbnails; None where there are none."""
    size = thumbnail_size(dataset.manifest)
    if "thumbnail" not in {field.name for field in dataset.manifest.fields} or size < EDGE:
        return None
    parts = [_small(table, size) for table in dataset.tables(["thumbnail"])]
    return np.concatenate(parts)


def _small(table: pa.Table, size: int, most: int = 512) -> Floats:
    """One shard's thumbnails, a bounded number of them decoded at once."""
    starts = range(0, len(table), most)
    parts = [downscale(decode(table.slice(start, most), size), EDGE) for start in starts]
    return np.concatenate(parts).astype(np.float32) / 127.5 - 1


def _other(dataset: Dataset, config: Any, landmarks: str) -> Dataset:
    """The dataset of sequences that the settings name."""
    read = "" if config.chain == "images" else landmarks
    return open_sequences(config.sequences, dataset.manifest, read)


def _sequence_rows(other: Dataset, config: Any, landmarks: str) -> LearnedRows:
    """The rows of another dataset, with its sequences."""
    column = latent_column(other.manifest)
    latents = other.arrays([column])[column]
    about = other.manifest.generator
    flat, space = latents.reshape(len(latents), -1), "w" if column == "w" else "w+"
    rows = LearnedRows(flat, space, latents.shape[1:], about["num_ws"])
    return dataclasses.replace(rows, **_faces(other, config, landmarks))


def _joined(rows: LearnedRows, more: LearnedRows) -> LearnedRows:
    """All rows of both; what only one has measured is left out, but for landmarks."""
    count = len(rows)
    first = np.full(count, -1) if rows.sequences is None else rows.sequences
    last = np.full(len(more), -1) if more.sequences is None else more.sequences
    found: dict[str, Any] = {
        "latents": np.concatenate([rows.latents, more.latents]),
        "sequences": np.concatenate([first, np.where(last < 0, -1, last + first.max() + 1)]),
    }
    found["landmarks"] = _joined_landmarks(rows, more)
    for name in ("descriptors", "pixels"):
        both = getattr(rows, name), getattr(more, name)
        absent = any(part is None for part in both)
        found[name] = None if absent else np.concatenate(both)
    if rows.codes is not None and more.codes is not None:
        found["codes"] = _joined_codes(rows.codes, more.codes)
    return dataclasses.replace(rows, **found)


def _joined_landmarks(rows: LearnedRows, more: LearnedRows) -> Floats | None:
    """(N + M, 68, 2), NaN in the rows of what has none; None where neither has any."""
    parts = [rows.landmarks, more.landmarks]
    if all(part is None for part in parts):
        return None
    sizes = (len(rows), len(more))
    blank = [np.full((size, *POINTS), np.nan, np.float32) for size in sizes]
    return np.concatenate([b if p is None else p for p, b in zip(parts, blank, strict=True)])


def _joined_codes(one: ShapeCodes, other: ShapeCodes) -> ShapeCodes:
    if (one.names, one.units) != (other.names, other.units):
        raise InputError(
            f"direction_matrix: the dataset measures {', '.join(one.names)}, the sequences "
            f"{', '.join(other.names)}; expected the same of both."
        )
    moving = np.concatenate([one.moving, other.moving])
    return ShapeCodes(one.names, one.units, moving, np.concatenate([one.identity, other.identity]))


def check_rows(rows: LearnedRows, method: str, config: Any) -> None:
    """InputError where nothing was measured of what a method learns from."""
    if method in SCORED or config.chain == "images":
        return
    if rows.landmarks is None or not np.isfinite(rows.landmarks).any():
        raise InputError(
            f"{method}: landmarks were measured on none of {len(rows):,} images; see the "
            "extractors' statuses with `lode dataset info`."
        )


def told_rows(rows: LearnedRows) -> dict[str, Any]:
    """Everything in the rows by name, digests in place of arrays, as plain JSON."""
    codes = {} if rows.codes is None else vars(rows.codes)
    parts = {**vars(rows), **{f"codes {name}": told for name, told in codes.items()}}
    scores = {name: digest(values) for name, values in rows.scores.items()}
    found = {name: _told(part) for name, part in parts.items()}
    return {**found, "codes": None, "scores": scores, "facts": dict(rows.facts)}


def _told(part: Any) -> Any:
    if isinstance(part, np.ndarray):
        return digest(part)
    return dict(part) if isinstance(part, Mapping) else part

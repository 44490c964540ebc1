"""Invert a dataset: latents of its images by an encoder that is fitted to another dataset.

The encoder reads small images, landmarks and face descriptors, as far as both datasets hold them,
and is a regression in closed form. Nothing is rendered, and there is no Ray.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.inverting_features import EDGE, WHO, Features, Floats, flat, shared_features
from jobs.parents import open_whole
from jobs.progress import Progress
from mining.generators.base import KnownTruth
from mining.generators.registry import make_generator
from mining.methods.inversion import (
    Encoder,
    correlations,
    explained_share,
    fit_encoder,
    known_rows,
)
from mining.stored import latent_column, thumbnail_size
from schemas.errors import InputError
from schemas.samples import from_column
from storage.dataset import Dataset
from storage.files import Store, absolute
from storage.manifest import Manifest
from storage.selecting import ID, INDEX

MOST_ROWS = 20_000  # that the encoder is fitted to: the first ones of its dataset
MOST_NUMBERS = 2**25  # of their latents, which the fit holds some six times as float64
MOST_BYTES = 2**30  # of latents, as those who read the file take them
TRUTH, FACTS = "truth_parameters", ".json"


@dataclass(frozen=True)
class Inverted:
    """Latents of a dataset's images, and what is known of them."""

    latents: Floats  # (M, w_dim), or (M, num_ws, w_dim) where the encoder's dataset has W+
    facts: dict[str, Any]  # plain JSON
    place: str = ""  # where they were written


def invert(
    url: str,
    encoder_from: str,
    out: str,
    columns: Sequence[str] | None = None,
    edge: int = EDGE,
    force: bool = False,
) -> Inverted:
    """Write latents of a dataset's images to an .npy file, and what they are beside it.

    Rows without a measured face are left out, and so are those that the encoder was fitted to.

    Args:
        url: the dataset whose images are inverted, of whatever generator.
        encoder_from: the dataset that tells features and latents.
        out: file or URL that ends in .npy; FILE.json comes beside it.
        columns: that the encoder reads; None: landmarks and face descriptors that the same
            extractors measured in both datasets.
        edge: pixels of the small images that it reads too; 0 reads none.
        force: whether what stands at `out` may be replaced.

    Raises:
        InputError: something does not fit, or no row is left; nothing was written.
        CorruptDataError: a file of a dataset is damaged.
    """
    store, name = _target(out, force)
    images, teacher = open_whole(url), open_whole(encoder_from)
    reading = shared_features(images.manifest, teacher.manifest, columns, edge)
    _check_size(images, teacher)
    encoder, shape, known = _fit(teacher, reading)
    latents, indices, left = _inverted(images, reading, encoder, known)
    if not indices:
        raise InputError(
            f"{WHO}: of {images.rows:,} rows {left['known']:,} are of those that the encoder was "
            f"fitted to and {left['unmeasured']:,} without a face; expected another dataset for "
            "--encoder-from."
        )
    facts = {
        **_told(images, teacher, reading, encoder, shape),
        "rows": len(indices),
        "left_out": left,
        **_compared(images, teacher.manifest, latents, indices),
        "indices": indices,
    }
    found = Inverted(latents.reshape(-1, *shape), facts, store.path(name))
    _write(store, name, found, force)
    return found


def _target(out: str, force: bool) -> tuple[Store, str]:
    """The folder and the name of the file; InputError before any work where it is taken."""
    folder, _, name = absolute(out).rpartition("/")
    if not name.endswith(".npy") or name == ".npy":
        raise InputError(f"{WHO}: --out {out!r} came; expected a file that ends in .npy.")
    store = Store(folder or "/")
    for taken in [] if force else (name, f"{name}{FACTS}"):
        if store.exists(taken):
            raise InputError(
                f"{WHO}: {store.path(taken)} is there already; choose another --out, or add "
                "--force."
            )
    if store.exists():
        store.check_writable()
    return store, name


def _check_size(images: Dataset, teacher: Dataset) -> None:
    width = math.prod(teacher.field(latent_column(teacher.manifest)).shape)
    if 4 * images.rows * width > MOST_BYTES:
        raise InputError(
            f"{WHO}: {images.rows:,} latents of {width:,} numbers are more than {MOST_BYTES:,} "
            f"bytes; expected {MOST_BYTES // 4 // width:,} rows at most: choose some with "
            "lode dataset filter --sample."
        )


def _write(store: Store, name: str, found: Inverted, force: bool) -> None:
    """The facts first: where there are latents, their own facts are beside them."""
    data = io.BytesIO()
    np.save(data, found.latents, allow_pickle=False)
    told = json.dumps(found.facts, indent=1, allow_nan=False, ensure_ascii=False)
    if force:
        store.remove(name)
    store.replace(f"{name}{FACTS}", told.encode())
    if force:
        store.replace(name, data.getvalue())
    elif not store.create(name, data.getvalue()):
        raise InputError(f"{WHO}: {found.place} came to stand there meanwhile; add --force.")


def _fit(teacher: Dataset, reading: Features) -> tuple[Encoder, tuple[int, ...], set[str]]:
    """The encoder, the shape of a latent, and the ids of the samples that it was fitted to."""
    from threadpoolctl import threadpool_limits

    column = latent_column(teacher.manifest)
    shape = teacher.field(column).shape
    most = min(MOST_ROWS, max(MOST_NUMBERS // math.prod(shape), 3))
    features: dict[str, list[Floats]] = {}
    latents: list[Floats] = []
    ids: list[str] = []
    for table in _tables(teacher, reading, [ID, column], "encoder"):
        table = table.slice(0, most - len(ids))
        part = reading.of(table, thumbnail_size(teacher.manifest))
        seen = known_rows(part)
        for kind, values in part.items():
            features.setdefault(kind, []).append(values[seen])
        latents.append(flat(from_column(table.column(column)))[seen])
        ids += [name for name, used in zip(table.column(ID).to_pylist(), seen, strict=True) if used]
        if len(ids) >= most:
            break
    joined = {kind: np.concatenate(parts) for kind, parts in features.items()}
    with threadpool_limits(1):  # sums are added in one order
        return fit_encoder(joined, np.concatenate(latents)), shape, set(ids)


def _inverted(
    images: Dataset, reading: Features, encoder: Encoder, known: set[str]
) -> tuple[Floats, list[int], dict[str, int]]:
    """Latents (M, D) with their samples' indices, and how many rows were left out for what."""
    from threadpoolctl import threadpool_limits

    parts, indices, left = [], [], {"known": 0, "unmeasured": 0}
    with threadpool_limits(1):
        for table in _tables(images, reading, [ID, INDEX], "invert"):
            fresh = np.array([name not in known for name in table.column(ID).to_pylist()], bool)
            latents = encoder.invert(reading.of(table, thumbnail_size(images.manifest)))
            kept = fresh & np.isfinite(latents).all(axis=1)
            left["known"] += int((~fresh).sum())
            left["unmeasured"] += int((fresh & ~kept).sum())
            parts.append(latents[kept])
            indices += table.column(INDEX).to_numpy()[kept].tolist()
    return np.concatenate(parts), indices, left


def _tables(
    dataset: Dataset, reading: Features, more: Sequence[str], what: str
) -> Iterator[pa.Table]:
    with Progress(what, dataset.rows, "rows") as progress:
        for table in dataset.tables([*more, *reading.stored]):
            yield table
            progress.advance(len(table))


def _told(
    images: Dataset,
    teacher: Dataset,
    reading: Features,
    encoder: Encoder,
    shape: tuple[int, ...],
) -> dict[str, Any]:
    about = teacher.manifest.generator
    return {
        "dataset": images.dataset_id,
        "encoder_from": teacher.dataset_id,
        "generator": about["name"],
        "fingerprint": about["fingerprint"],
        "licence": about["licence"],
        "space": "w" if len(shape) == 1 else "w+",
        "shape": list(shape),
        "features": {kind: len(centre) for kind, centre in encoder.centres.items()},
        "edge": reading.edge,
        "fitted_to": encoder.reading.rows,
        "explained": round(encoder.explained, 4),
    }


def _compared(
    images: Dataset, teacher: Manifest, latents: Floats, indices: Sequence[int]
) -> dict[str, Any]:
    """How far the latents are those that made the images, where that is known."""
    column = latent_column(teacher)
    alike = images.manifest.generator["fingerprint"] == teacher.generator["fingerprint"]
    if not alike or column not in {field.name for field in images.manifest.fields}:
        return {}
    read = images.arrays([INDEX, column])
    true = flat(read[column])[np.isin(read[INDEX], indices)]
    share = explained_share(true, latents)
    found: dict[str, Any] = {"explained_here": round(share, 4)} if math.isfinite(share) else {}
    if TRUTH not in {field.name for field in images.manifest.fields}:
        return found
    generator = make_generator(teacher.generator["load"], **teacher.generator["options"])
    if isinstance(generator, KnownTruth):
        truth = generator.truth()
        along = [_along(each, truth.directions, truth.layers) for each in (true, latents)]
        found["parameters"] = {
            name: round(r, 3) if math.isfinite(r) else None
            for name, r in zip(truth.names, correlations(*along).tolist(), strict=True)
        }
    return found


def _along(latents: Floats, directions: Floats, layers: Sequence[int]) -> NDArray:
    """(N, P) of each latent along each true direction, in the row that it is read from."""
    rows = latents.reshape(len(latents), -1, directions.shape[1])
    place = [0] * len(layers) if rows.shape[1] == 1 else list(layers)
    return np.stack([rows[:, row] @ d for row, d in zip(place, directions, strict=True)], axis=1)

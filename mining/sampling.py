"""What one shard is: latents from a counter-based generator, images, measurements.

Shard k is a pure function of (manifest, k). Everything here runs without Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mining.evaluation.thumbnails import jpeg
from mining.extractors.base import Extractor, Measurement, concatenate, measure
from mining.extractors.registry import make_extractors
from mining.generators.base import Generator, KnownTruth, TrueFaces, truncate
from mining.generators.registry import make_generator
from mining.made_with import check_made_with, made_with
from mining.threads import limit_threads
from schemas.errors import InputError, RunError
from schemas.samples import Field, to_column
from schemas.settings import RunSettings
from storage.manifest import FORMAT, Manifest

IMAGE = "image"  # the column that carries pixels from the generator to the extractors
Watch = Callable[[int], None]  # told the number of a batch before it is made


def describe(settings: RunSettings) -> Manifest:
    """The manifest of the dataset that these settings make.

    Raises:
        InputError: a generator, an extractor or one of their options is unknown or unfit.
    """
    generator = make_generator(settings.generator.name, **settings.generator.options)
    extractors = make_extractors(settings.extractors)
    dataset = settings.dataset
    if dataset.cutoff is not None and dataset.cutoff > generator.num_ws:
        raise InputError(
            f"dataset.cutoff {dataset.cutoff} came; {generator.name} has {generator.num_ws} "
            "rows of W+."
        )
    fields = [*_latent_fields(generator, settings), *_truth_fields(generator)]
    if dataset.thumbnail:
        fields.append(Field("thumbnail", "binary", text=f"JPEG, {dataset.thumbnail} px"))
    for extractor in extractors:
        fields += _extractor_fields(extractor)
    content = {
        "format": FORMAT,
        "dataset": dataset.model_dump(),
        "generator": _about_generator(generator, settings),
        "extractors": [
            {
                "name": extractor.name,
                "load": load,
                "options": options,
                "fingerprint": extractor.fingerprint(),
                "licence": extractor.licence,
            }
            for extractor, (load, options) in zip(
                extractors, settings.extractors.items(), strict=True
            )
        ],
        "fields": [field.to_json() for field in fields],
        "made_with": dict(made_with()),
    }
    return Manifest(content)


class Renderer:
    """Makes the images of whole shards. Loads the generator once."""

    def __init__(self, manifest: Manifest):
        self.manifest = manifest
        about = manifest.generator
        self.generator = make_generator(about["load"], **about["options"])
        _check_same("generator", about, self.generator.fingerprint())
        check_made_with(manifest.made_with)
        limit_threads(manifest.settings["threads"])

    def __call__(self, shard: int, watch: Watch | None = None) -> pa.Table:
        """The shard's rows with latents, truth, thumbnails and an image column.

        Args:
            watch: told the number of each batch before it is rendered.
        """
        rows = self.manifest.rows(shard)
        z, w_plus = shard_latents(self.generator, self.manifest.settings, shard, len(rows))
        images, truth = self._images(w_plus, watch)
        columns: dict[str, pa.Array] = {
            "sample_id": pa.array(self.manifest.sample_ids(shard), pa.string()),
            "index": pa.array(rows, pa.int64()),
            "z": to_column(z),
        }
        tied = _is_tied(self.manifest.settings)
        columns["w"] = to_column(w_plus[:, 0])
        if not tied:
            columns["w_plus"] = to_column(w_plus)
        if truth is not None:
            columns["truth_parameters"] = to_column(truth.parameters)
            columns["truth_landmarks_2d"] = to_column(truth.landmarks_2d)
            columns["truth_landmarks_3d"] = to_column(truth.landmarks_3d)
        edge = self.manifest.settings["thumbnail"]
        if edge:
            quality = self.manifest.settings["thumbnail_quality"]
            columns["thumbnail"] = pa.array([jpeg(image, edge, quality) for image in images])
        columns[IMAGE] = pack_images(images)
        return pa.table(columns)

    def _images(
        self, w_plus: NDArray[np.float32], watch: Watch | None
    ) -> tuple[NDArray[np.uint8], TrueFaces | None]:
        images: list[NDArray[np.uint8]] = []
        truths: list[TrueFaces] = []
        for number, rows in enumerate(batches(len(w_plus), self.manifest.settings["batch_size"])):
            if watch is not None:
                watch(number)
            if isinstance(self.generator, KnownTruth):
                made, truth = self.generator.synthesize_with_truth(w_plus[rows])
                truths.append(truth)
            else:
                made = self.generator.synthesize(w_plus[rows])
            images.append(made)
        if not truths:
            return np.concatenate(images), None
        faces = TrueFaces(
            np.concatenate([truth.parameters for truth in truths]),
            np.concatenate([truth.landmarks_2d for truth in truths]),
            np.concatenate([truth.landmarks_3d for truth in truths]),
        )
        return np.concatenate(images), faces


class Measurer:
    """Runs the manifest's extractors over the images of whole shards. Loads them once."""

    def __init__(self, manifest: Manifest):
        self.manifest = manifest
        listed = {about["load"]: about["options"] for about in manifest.extractors}
        self.extractors = make_extractors(listed)
        for about, extractor in zip(manifest.extractors, self.extractors, strict=True):
            _check_same("extractor", about, extractor.fingerprint())
        check_made_with(manifest.made_with)
        limit_threads(manifest.settings["threads"])

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table with the extractors' columns in place of the image column."""
        images = self.images(table)
        size = self.manifest.settings["batch_size"]
        return self.fill(table, [self.measure(images[rows]) for rows in batches(len(images), size)])

    def images(self, table: pa.Table) -> NDArray[np.uint8]:
        """(N, H, W, 3) of a table that a renderer made."""
        return unpack_images(table.column(IMAGE), self.manifest.generator["resolution"])

    def measure(self, images: NDArray[np.uint8]) -> dict[str, Measurement]:
        """One batch through every extractor."""
        return measure(self.extractors, images)

    def fill(self, table: pa.Table, parts: Sequence[Mapping[str, Measurement]]) -> pa.Table:
        """The table with the measurements of its batches, in order, in place of the images."""
        columns = {name: table.column(name) for name in table.column_names if name != IMAGE}
        for extractor in self.extractors:
            whole = concatenate(extractor, [part[extractor.name] for part in parts])
            columns.update(_measured_columns(extractor, whole))
        return pa.table(columns)


def batches(count: int, size: int) -> list[slice]:
    """The rows of each batch: a dataset's batches never depend on who makes them."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def shard_rng(seed: int, shard: int) -> np.random.Generator:
    """Random numbers of one shard: a counter-based Philox keyed by (run seed, shard)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, shard])))


def shard_latents(
    generator: Generator, settings: Mapping[str, Any], shard: int, count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """z (count, z_dim) or (count, num_ws, z_dim), and W+ (count, num_ws, w_dim) of one shard."""
    rng = shard_rng(settings["seed"], shard)
    if settings["space"] == "w+":
        z = generator.sample_z(count * generator.num_ws, rng)
        w = np.concatenate([generator.map(row[None]) for row in z])
        w_plus = w.reshape(count, generator.num_ws, generator.w_dim)
        z = z.reshape(count, generator.num_ws, generator.z_dim)
    else:
        z = generator.sample_z(count, rng)
        w_plus = generator.broadcast(generator.map(z))
    return z, truncate(w_plus, generator.mean_w(), settings["psi"], settings["cutoff"])


def pack_images(images: NDArray[np.uint8]) -> pa.Array:
    """(N, H, W, 3) to fixed-size binary, one row per image."""
    flat = np.ascontiguousarray(images).reshape(len(images), -1)
    kind = pa.binary(flat.shape[1])
    return pa.Array.from_buffers(kind, len(flat), [None, pa.py_buffer(flat)])


def unpack_images(column: pa.ChunkedArray, resolution: int) -> NDArray[np.uint8]:
    """Fixed-size binary to (N, resolution, resolution, 3), without copying where it can."""
    packed = column.combine_chunks()
    if isinstance(packed, pa.ChunkedArray):
        packed = packed.chunk(0)
    width = packed.type.byte_width
    buffer = packed.buffers()[1]
    pixels = np.frombuffer(buffer, np.uint8, len(packed) * width, packed.offset * width)
    return pixels.reshape(len(packed), resolution, resolution, 3)


def _is_tied(settings: Mapping[str, Any]) -> bool:
    """Whether all rows of W+ are the same w."""
    return settings["space"] == "w" and (settings["cutoff"] is None or settings["psi"] == 1)


def _about_generator(generator: Generator, settings: RunSettings) -> dict[str, Any]:
    return {
        "name": generator.name,
        "load": settings.generator.name,
        "options": settings.generator.options,
        "fingerprint": generator.fingerprint(),
        "licence": generator.licence,
        "resolution": generator.resolution,
        "num_ws": generator.num_ws,
        "w_dim": generator.w_dim,
        "layer_names": list(generator.layer_names),
    }


def _latent_fields(generator: Generator, settings: RunSettings) -> list[Field]:
    per_layer = settings.dataset.space == "w+"
    z = (generator.num_ws, generator.z_dim) if per_layer else (generator.z_dim,)
    fields = [
        Field("sample_id", "string", text="unique for ever"),
        Field("index", "int64", text="0 .. samples - 1"),
        Field("z", "float32", z, "1", "the latent drawn from the prior"),
        Field("w", "float32", (generator.w_dim,), "1", "the first row of W+, truncated"),
    ]
    if not _is_tied(settings.dataset.model_dump()):
        shape = (generator.num_ws, generator.w_dim)
        fields.append(Field("w_plus", "float32", shape, "1", "the rows that made the image"))
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


def _extractor_fields(extractor: Extractor) -> list[Field]:
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


def _measured_columns(extractor: Extractor, found: Measurement) -> dict[str, pa.Array]:
    """The extractor's Arrow columns; values of unmeasured rows are null."""
    missing = ~found.measured()
    reasons = [found.reasons.get(row) for row in range(len(found))]
    columns: dict[str, pa.Array] = {
        f"{extractor.name}_status": pa.array(found.status, pa.string()),
        f"{extractor.name}_reason": pa.array(reasons, pa.string()),
    }
    for name, column in extractor.columns.items():
        empty = missing if column.dtype == "float32" else None
        columns[f"{extractor.name}_{name}"] = to_column(found.values[name], empty)
    return columns


def _check_same(kind: str, about: Mapping[str, Any], fingerprint: str) -> None:
    if about["fingerprint"] != fingerprint:
        raise RunError(
            f"{kind} {about['name']!r} on this machine has fingerprint {fingerprint[:12]}, the "
            f"manifest says {about['fingerprint'][:12]}: install the same versions and models "
            "on every node."
        )

"""What one shard is: latents from a counter-based generator, images, measurements.

Shard k is a pure function of (manifest, k). Everything here runs without Ray. The shards of an
extended dataset begin in extending.py, with what is stored of its parent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mining.evaluation.thumbnails import jpeg
from mining.extractors.base import Extractor, Measurement, concatenate, measure
from mining.extractors.registry import make_extractors
from mining.fields import is_tied
from mining.generators.base import Batch, Generator, Images, KnownTruth, Posed, TrueFaces
from mining.generators.registry import make_generator
from mining.latents import Latents, shard_latents
from mining.made_with import check_made_with
from mining.rendering import images_of, pack_images, true_images_of, unpack_images
from mining.sequences import frames, in_sequences, sequence_length
from mining.stored import seen_size, stored_sources
from mining.threads import limit_threads
from schemas.errors import RunError
from schemas.samples import to_column
from storage.dataset import CAMERA, FRAME, SEQUENCE, image_size
from storage.derived import new_extractors
from storage.manifest import Manifest

IMAGE = "image"  # the column that carries pixels from the generator to the extractors
Watch = Callable[[int], None]  # told the number of a batch before it is made
Seen = tuple[Images, Mapping[str, Measurement]]  # a batch, and what is known of it already


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
        rows, settings = self.manifest.rows(shard), self.manifest.settings
        latents = self._latents(shard, rows)
        images, thumbnails, truth = self.images(latents, watch)
        columns: dict[str, pa.Array] = {
            "sample_id": pa.array(self.manifest.sample_ids(shard), pa.string()),
            "index": pa.array(rows, pa.int64()),
            **_drawn_columns(settings, rows, latents),
            "w": to_column(latents.w_plus[:, 0]),
        }
        if not is_tied(settings):
            columns["w_plus"] = to_column(latents.w_plus)
        columns.update(_condition_columns(self.generator, latents))
        if truth is not None:
            columns["truth_parameters"] = to_column(truth.parameters)
            columns["truth_landmarks_2d"] = to_column(truth.landmarks_2d)
            columns["truth_landmarks_3d"] = to_column(truth.landmarks_3d)
        if settings["thumbnail"]:
            columns["thumbnail"] = pa.array(thumbnails)
        columns[IMAGE] = pack_images(images)
        return pa.table(columns)

    def _latents(self, shard: int, rows: range) -> Latents:
        settings = self.manifest.settings
        if in_sequences(settings):
            return frames(self.generator, settings, rows)
        return shard_latents(self.generator, settings, shard, len(rows))

    def images(
        self, latents: Latents, watch: Watch | None
    ) -> tuple[Images, list[bytes], TrueFaces | None]:
        """Images, thumbnails and truth; a batch's thumbnails are drawn while the next is made.

        A thumbnail shows what the extractors read, so it costs no second copy off the device.
        """
        settings, size = self.manifest.settings, image_size(self.manifest)
        edge, quality = settings["thumbnail"], settings["thumbnail_quality"]
        parts = batches(len(latents.w_plus), settings["batch_size"])
        images = np.empty((len(latents.w_plus), size, size, 3), np.uint8)
        thumbnails: list[bytes] = []
        truths: list[TrueFaces] = []
        for rows, (made, truth) in zip(parts, self._made(latents, parts, watch), strict=True):
            images[rows] = made
            truths += [] if truth is None else [truth]
            thumbnails += [jpeg(image, edge, quality) for image in made] if edge else []
        if not truths:
            return images, thumbnails, None
        faces = TrueFaces(
            np.concatenate([truth.parameters for truth in truths]),
            np.concatenate([truth.landmarks_2d for truth in truths]),
            np.concatenate([truth.landmarks_3d for truth in truths]),
        )
        return images, thumbnails, faces

    def _made(
        self, latents: Latents, parts: Sequence[slice], watch: Watch | None
    ) -> Iterator[tuple[Images, TrueFaces | None]]:
        def told() -> Iterator[Batch]:
            for number, rows in enumerate(parts):
                if watch is not None:
                    watch(number)
                yield latents[rows]

        size = image_size(self.manifest)
        if isinstance(self.generator, KnownTruth):
            yield from true_images_of(self.generator, told(), size)
        else:
            for images in images_of(self.generator, told(), size):
                yield images, None


class Measurer:
    """Runs the manifest's extractors over the images of whole shards. Loads them once.

    Of an extended dataset those are the ones that it adds; they read what is stored of the others.
    """

    def __init__(self, manifest: Manifest):
        self.manifest = manifest
        new = new_extractors(manifest)
        self._sources = stored_sources(manifest)
        listed = {about["load"]: about["options"] for about in new}
        self.extractors = make_extractors(listed, self._sources)
        for about, extractor in zip(new, self.extractors, strict=True):
            _check_same("extractor", about, extractor.fingerprint())
        check_made_with(manifest.made_with)
        limit_threads(manifest.settings["threads"])

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table with the extractors' columns in place of the image column."""
        return self.fill(table, [self.measure(*batch) for batch in self.batches(table)])

    def batches(self, table: pa.Table) -> Iterator[Seen]:
        """What the extractors see of each batch of a table that a renderer made."""
        images = self.images(table)
        for rows in batches(len(images), self.manifest.settings["batch_size"]):
            part = table.slice(rows.start, rows.stop - rows.start)
            yield images[rows], {each.name: each.measurement(part) for each in self._sources}

    def images(self, table: pa.Table) -> NDArray[np.uint8]:
        """(N, H, W, 3) of a table that a renderer made; black where no pixel is read of any."""
        size = seen_size(self.manifest)
        if IMAGE not in table.column_names:
            return np.broadcast_to(np.zeros((), np.uint8), (len(table), size, size, 3))
        return unpack_images(table.column(IMAGE), size)

    def measure(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> dict[str, Measurement]:
        """One batch through every extractor."""
        return measure(self.extractors, images, earlier)

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


def _drawn_columns(
    settings: Mapping[str, Any], rows: range, latents: Latents
) -> dict[str, pa.Array]:
    """z, or the places of frames in their sequences."""
    if not in_sequences(settings):
        return {"z": to_column(latents.z)}
    sequence, frame = np.divmod(np.asarray(rows, np.int64), sequence_length(settings))
    return {SEQUENCE: pa.array(sequence), FRAME: pa.array(frame)}


def _condition_columns(generator: Generator, latents: Latents) -> dict[str, pa.Array]:
    if latents.condition is None:
        return {}
    columns = {"condition": to_column(latents.condition)}
    if isinstance(generator, Posed):
        angles = np.asarray(generator.pose(latents.condition), np.float32)
        columns |= {name: to_column(angles[:, k]) for k, name in enumerate(CAMERA)}
    return columns


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
        gpu = " and give engine.generator.gpus the same model of GPU" if kind == "generator" else ""
        raise RunError(
            f"{kind} {about['name']!r} on this machine has fingerprint {fingerprint[:12]}, the "
            f"manifest says {about['fingerprint'][:12]}: install the same versions and models "
            f"on every node{gpu}."
        )

"""What is stored of a dataset's extractors, as the ones that are added to it read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from mining.extractors.base import Column, Measurement
from schemas.errors import InputError
from schemas.samples import Field, from_column
from storage.dataset import image_size
from storage.derived import NONE, RENDER, THUMBNAILS, stored_names
from storage.manifest import Manifest

CHOICES = ("auto", THUMBNAILS, RENDER, NONE)  # of images for extractors that are added


@dataclass(frozen=True)
class StoredSource:
    """An extractor's columns in a dataset; the extractor itself need not be installed."""

    name: str
    columns: Mapping[str, Column]

    def measurement(self, table: pa.Table) -> Measurement:
        """What the extractor said of the rows of a table, as it said it."""
        status = tuple(table.column(f"{self.name}_status").to_pylist())
        told = table.column(f"{self.name}_reason").to_pylist()
        reasons = {row: reason for row, reason in enumerate(told) if reason is not None}
        values = {
            name: from_column(table.column(f"{self.name}_{name}")).astype(column.dtype, copy=False)
            for name, column in self.columns.items()
        }
        return Measurement(status, values, reasons)


def stored_sources(manifest: Manifest) -> list[StoredSource]:
    """Those of an extended dataset's parent; none of another dataset."""
    return sources_of(manifest, stored_names(manifest))


def sources_of(manifest: Manifest, names: Sequence[str]) -> list[StoredSource]:
    """The named extractors' columns in a dataset."""
    return [StoredSource(name, _columns(name, manifest.fields)) for name in names]


def _columns(name: str, fields: Sequence[Field]) -> dict[str, Column]:
    own = {f"{name}_status", f"{name}_reason"}
    return {
        field.name.removeprefix(f"{name}_"): Column(
            field.shape, field.unit, field.text, field.dtype
        )
        for field in fields
        if field.name.startswith(f"{name}_") and field.name not in own
    }


def latent_column(manifest: Manifest) -> str:
    """The column of the latents that directions are mined in.

    Raises:
        InputError: it was left out of the dataset.
    """
    # with a cutoff the rows of W+ differ, but by their truncation alone: one w decides them all
    column = "w" if manifest.settings["space"] == "w" else "w_plus"
    if column not in {field.name for field in manifest.fields}:
        raise InputError(
            f"dataset {manifest.dataset_id} has no column {column}, the latents that directions "
            "are mined in; mine the dataset that it was filtered from, or keep that column."
        )
    return column


def seen_size(manifest: Manifest) -> int:
    """The edge in pixels of the images that the dataset's measuring extractors see."""
    return manifest.derived.get("image_size") or image_size(manifest)


def thumbnail_size(manifest: Manifest) -> int:
    """The edge in pixels of the stored thumbnails: images are never enlarged to them."""
    return min(manifest.settings["thumbnail"], image_size(manifest))


def choose_images(manifest: Manifest, asked: str, pixels: Sequence[str]) -> str:
    """Where extractors that are added to a dataset get their images from.

    Args:
        asked: one of CHOICES; "auto" is "none" where that will do, else "render".
        pixels: the extractors that read pixels.

    Raises:
        InputError: what is asked for cannot be.
    """
    if asked not in CHOICES:
        raise InputError(f"images {asked!r} came; expected {', '.join(CHOICES)}.")
    if asked == NONE and pixels:
        raise InputError(
            f"images none came; {', '.join(pixels)} cannot do without. Expected render, or "
            "thumbnails where those are large enough."
        )
    if asked == NONE or (asked == "auto" and not pixels):
        return NONE
    columns = {field.name for field in manifest.fields}
    who = f"dataset {manifest.dataset_id}"
    if asked == THUMBNAILS:
        if "thumbnail" not in columns:
            raise InputError(f"images thumbnails came; {who} stores none. Expected render.")
        return THUMBNAILS
    if not columns & {"w", "w_plus"}:
        stored = ", or thumbnails" if "thumbnail" in columns else ""
        needed = ", ".join(pixels) or "images render"
        raise InputError(
            f"{needed}: {who} stores no latents to make its images from again. Expected a dataset "
            f"with its column w or w_plus{stored}."
        )
    return RENDER

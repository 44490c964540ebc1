"""Datasets made of another: what their manifests hold beside everything that others do.

Under "derived", which is part of the identity:
    kind        "filtered": rows and columns of the parent; "extended": more extractors' columns
    root        id of the dataset that was sampled; the samples' ids begin with it
    parents     [{"dataset_id", "made_with", "derived"}], the last being theirs, where they are
                derived themselves: so a manifest tells its whole line without them
    indices     SHA-256 of the samples' indices, where rows were left out on the way
    filtered    where (canonical spelling), columns, sample, seed; null where not asked for
    extended    extractors (the new ones' names), images ("none", "thumbnails", "render"), and
                image_size where thumbnails were read, which decides what was measured
Under "here", which is not: parents [{"dataset_id", "url"}], where they lay.

The settings of the root stay, with the number of samples that are left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from schemas.errors import CorruptDataError, InputError, StorageError
from schemas.samples import Field
from storage.files import Store
from storage.manifest import DERIVED, DERIVED_FORMAT, HERE, Manifest
from storage.manifest import load as load_manifest

FILTERED, EXTENDED = "filtered", "extended"
NONE, THUMBNAILS, RENDER = "none", "thumbnails", "render"  # what extended datasets' images were
PARENTS = "parents"
MOST_THUMBNAIL = 1024  # pixels, as the setting dataset.thumbnail has it


@dataclass(frozen=True)
class Added:
    """What new extractors bring into a manifest."""

    extractors: Sequence[Mapping[str, Any]]  # what decides their output, as a manifest keeps it
    here: Mapping[str, Mapping[str, Any]]  # name in the settings -> what may differ
    fields: Sequence[Field]
    images: str  # NONE, THUMBNAILS or RENDER
    image_size: int | None = None  # of the thumbnails


def filtered(
    parent: Manifest,
    url: str,
    told: Mapping[str, Any],
    fields: Sequence[Field],
    samples: int,
    indices: str,
    made_with: Mapping[str, str],
) -> Manifest:
    """The manifest of some rows and columns of a dataset.

    Args:
        url: where the parent lies.
        told: where, columns, sample and seed.
        fields: the columns that are kept.
        samples: how many rows are.
        indices: SHA-256 of their indices.
    """
    content = _of(parent, url, made_with)
    content["dataset"] = {**parent.settings, "samples": samples}
    content["fields"] = [field.to_json() for field in fields]
    content[DERIVED] = {**_line(parent), "kind": FILTERED, **told, "indices": indices}
    return Manifest(content)


def extended(parent: Manifest, url: str, added: Added, made_with: Mapping[str, str]) -> Manifest:
    """The manifest of a dataset with more extractors' columns.

    Raises:
        InputError: an extractor stands in the dataset by the same name in the settings, or its
            columns do.
    """
    _check_new(parent, added)
    content = _of(parent, url, made_with)
    content["extractors"] = [*parent.content["extractors"], *added.extractors]
    content["fields"] = [*parent.content["fields"], *(field.to_json() for field in added.fields)]
    if added.here:
        before = content[HERE].get("extractors", {})
        content[HERE]["extractors"] = {**before, **added.here}
    told: dict[str, Any] = {
        "extractors": [about["name"] for about in added.extractors],
        "images": added.images,
    }
    if added.image_size is not None:
        told["image_size"] = added.image_size
    if parent.picked is not None:
        told["indices"] = parent.picked
    content[DERIVED] = {**_line(parent), "kind": EXTENDED, **told}
    return Manifest(content)


def _of(parent: Manifest, url: str, made_with: Mapping[str, str]) -> dict[str, Any]:
    here = {**parent.content.get(HERE, {}), PARENTS: [_place(parent, url)]}
    return {
        **parent.content,
        "format": DERIVED_FORMAT,
        "made_with": dict(made_with),
        HERE: here,
    }


def _place(parent: Manifest, url: str) -> dict[str, str]:
    return {"dataset_id": parent.dataset_id, "url": url}


def _line(parent: Manifest) -> dict[str, Any]:
    about: dict[str, Any] = {"dataset_id": parent.dataset_id, "made_with": dict(parent.made_with)}
    if parent.derived:
        about[DERIVED] = dict(parent.derived)
    return {"root": parent.root_id, PARENTS: [about]}


def check_new_names(parent: Manifest, loads: Iterable[str]) -> None:
    """Refuse extractors that stand in a dataset by the same name in the settings.

    Raises:
        InputError: names the first that does.
    """
    known = {about["load"] for about in parent.extractors}
    for load in loads:
        if load in known:
            raise InputError(
                f"extractor {load!r} stands in dataset {parent.dataset_id} already; to measure by "
                f"it in another way, write {load.partition('@')[0]}@two and give it a name of its "
                "own, where it takes one."
            )


def _check_new(parent: Manifest, added: Added) -> None:
    check_new_names(parent, (about["load"] for about in added.extractors))
    columns = {field.name for field in parent.fields}
    for field in added.fields:
        if field.name in columns:
            raise InputError(
                f"column {field.name!r} stands in dataset {parent.dataset_id} already; give the "
                "extractor that fills it another name."
            )


def new_extractors(manifest: Manifest) -> list[Mapping[str, Any]]:
    """The extractors that measure: all, or of an extended dataset those that it adds."""
    if manifest.derived.get("kind") != EXTENDED:
        return manifest.extractors
    names = manifest.derived["extractors"]
    return [about for about in manifest.extractors if about["name"] in names]


def stored_names(manifest: Manifest) -> list[str]:
    """The extractors whose columns are the parent's, in the order in which they ran."""
    if manifest.derived.get("kind") != EXTENDED:
        return []
    new = manifest.derived["extractors"]
    return [about["name"] for about in manifest.extractors if about["name"] not in new]


def parent_id(manifest: Manifest) -> str:
    """The id of the dataset that this one was made of."""
    return manifest.derived[PARENTS][0]["dataset_id"]


def parent_url(manifest: Manifest) -> str | None:
    """Where the parent lay when the dataset was made; None where nothing says so.

    Raises:
        CorruptDataError: what says so is no list of places; the id does not vouch for it.
    """
    places = manifest.content.get(HERE, {}).get(PARENTS, [])
    wanted = parent_id(manifest)
    try:
        return next((str(p["url"]) for p in places if p["dataset_id"] == wanted), None)
    except (KeyError, TypeError) as error:
        raise CorruptDataError(
            f"the manifest of dataset {manifest.dataset_id} is damaged: {PARENTS} under {HERE!r} "
            f"are no places of datasets: {error!r}"
        ) from None


def with_parent(manifest: Manifest, url: str) -> Manifest:
    """The manifest with its parent at another place.

    Raises:
        InputError: the dataset has no parent.
    """
    if not manifest.derived:
        raise InputError(f"a parent at {url} came; dataset {manifest.dataset_id} has none.")
    places = [{"dataset_id": parent_id(manifest), "url": url}]
    here = {**manifest.content.get(HERE, {}), PARENTS: places}
    return replace(manifest, content={**manifest.content, HERE: here})


def open_parent(manifest: Manifest) -> tuple[Store, Manifest]:
    """The parent of a derived dataset where it is still there.

    Raises:
        InputError: it is not, or another dataset lies in its place.
        CorruptDataError: its manifest is damaged.
    """
    wanted, url = parent_id(manifest), parent_url(manifest)
    who = f"dataset {manifest.dataset_id} was made of dataset {wanted}"
    hint = "Say where it lies with --parent URL."
    if url is None:
        raise InputError(f"{who}, and nothing says where that is. {hint}")
    try:
        store = Store(url)
        parent = load_manifest(store)
    except CorruptDataError:
        raise
    except (InputError, StorageError):
        raise InputError(f"{who}, which is no longer at {url}. {hint}") from None
    if parent.dataset_id != wanted:
        raise InputError(f"{who}; at {url} is dataset {parent.dataset_id}. {hint}")
    return store, parent


def lineage(manifest: Manifest) -> list[dict[str, Any]]:
    """Every step from the dataset back to the one that was sampled, the last step first.

    Each has kind, what was done, parent (an id), and url where it is known.
    """
    steps, derived, url = [], manifest.derived, None
    if derived:
        url = parent_url(manifest)
    while derived:
        parent = derived[PARENTS][0]
        told = {key: value for key, value in derived.items() if key not in (PARENTS, "root")}
        steps.append({**told, "parent": parent["dataset_id"], "url": url})
        derived, url = parent.get(DERIVED, {}), None
    return steps


def check_derived(manifest: Manifest) -> None:
    """Refuse what cannot be a derived dataset's manifest, before it is relied on.

    Raises:
        ValueError, TypeError, KeyError: what is wrong with it.
    """
    derived = manifest.derived
    while derived:
        if derived["kind"] not in (FILTERED, EXTENDED):
            raise ValueError(f"kind {derived['kind']!r}")
        (parent,) = derived[PARENTS]
        for key, digits in ((derived["root"], 16), (parent["dataset_id"], 16)):
            _check_hex(key, digits)
        if derived["kind"] == FILTERED or "indices" in derived:
            _check_hex(derived["indices"], 64)
        if derived["kind"] == EXTENDED:
            _check_extended(derived)
        derived = parent.get(DERIVED, {})
    if manifest.derived:
        parent_url(manifest)


def _check_extended(derived: Mapping[str, Any]) -> None:
    if not derived["extractors"] or derived["images"] not in (NONE, THUMBNAILS, RENDER):
        raise ValueError(f"extractors {derived['extractors']!r}, images {derived['images']!r}")
    if derived["images"] == THUMBNAILS and not 0 < derived["image_size"] <= MOST_THUMBNAIL:
        raise ValueError(f"image_size {derived['image_size']!r}")


def _check_hex(value: object, digits: int) -> None:
    if not isinstance(value, str) or not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
        raise ValueError(f"{value!r} is not {digits} hexadecimal digits")

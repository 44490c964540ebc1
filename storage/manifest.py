"""The manifest: everything that decides a dataset's bytes. Its hash names the dataset.

Beside that it keeps, under "here", what may differ from run to run: the options of a generator or
an extractor whose fingerprint tells of all that decides its output, such as where its files lie,
and what is said of their licences. A derived dataset's manifest says under "derived" what was made
of which parents (storage/derived.py), and under "here" where those lay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from schemas.errors import ConflictError, CorruptDataError, InputError
from schemas.samples import Field
from storage.files import Store

NAME = "manifest.json"
FORMAT = 1  # of a dataset that was sampled
DERIVED_FORMAT = 2  # of one that was made of another; who reads format 1 alone refuses it
# {"generator": told, "extractors": {load: told}} with options, licence and models: not hashed;
# of a derived dataset also "parents": [{"dataset_id", "url"}]
HERE = "here"
DERIVED = "derived"
MOST_FRAMES = 10_000  # of a sequence, as the setting dataset.sequences.length has it


@dataclass(frozen=True)
class Manifest:
    """What a dataset is made of; `content` is plain JSON."""

    content: Mapping[str, Any]

    @property
    def dataset_id(self) -> str:
        """16 hex digits of the SHA-256 of what decides the bytes."""
        return hashlib.sha256(_canonical(self.identity)).hexdigest()[:16]

    @property
    def identity(self) -> dict[str, Any]:
        """The content without what may differ from run to run."""
        return {key: value for key, value in self.content.items() if key != HERE}

    @property
    def settings(self) -> Mapping[str, Any]:
        """The dataset settings: samples, shard_size, seed, psi ..."""
        return self.content["dataset"]

    @property
    def generator(self) -> Mapping[str, Any]:
        """Name, options, fingerprint, licence and sizes of the generator."""
        return {**self.content["generator"], **self._here("generator")}

    @property
    def extractors(self) -> list[Mapping[str, Any]]:
        """Name, options, fingerprint and licence of each extractor, in the order they run."""
        here = self._here("extractors")
        return [{**about, **here.get(about["load"], {})} for about in self.content["extractors"]]

    def moved(
        self, generator: Mapping[str, Any], extractors: Mapping[str, Mapping[str, Any]]
    ) -> Manifest:
        """The manifest with these options in place of those that it was made with.

        A checksum that belonged to another path is dropped with it.

        Args:
            generator: options of the generator, such as a checkpoint's new place.
            extractors: the extractor's name in the settings -> options of it.

        Raises:
            InputError: there is no such extractor, or its options, or the generator's, are part
                of what the dataset is.
        """
        here = {**self.content.get(HERE, {})}
        if generator:
            here["generator"] = self._replaced(
                "generator.options", here.get("generator"), generator
            )
        parts = dict(here.get("extractors", {}))
        for load, options in extractors.items():
            parts[load] = self._replaced(f"extractors.{load}", parts.get(load), options)
        if parts:
            here["extractors"] = parts
        return replace(self, content={**self.content, HERE: here})

    def _replaced(
        self, key: str, told: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        if told is None:
            raise InputError(
                f"{key} came; of dataset {self.dataset_id} it is part of what the dataset is, or "
                "there is none. Options that may differ: "
                f"{', '.join(self.movable()) or 'none'}."
            )
        fixed = [name for name, value in options.items() if not isinstance(value, str)]
        if fixed:
            raise InputError(
                f"{key}.{fixed[0]} came; it names no file, but decides what the dataset is. "
                f"Options that may differ: {', '.join(self.movable()) or 'none'}."
            )
        before = {**told["options"]}
        if any(before.get(name) != value for name, value in options.items()):
            before.pop("sha256", None)
        return {**told, "options": {**before, **options}}

    def movable(self) -> list[str]:
        """The settings that name files or places, and may differ from run to run.

        A known name such as "face_landmarker" is found wherever the run is.
        """
        parts = {f"extractors.{load}": told for load, told in self._here("extractors").items()}
        if told := self._here("generator"):
            parts["generator.options"] = told
        return [
            f"{part}.{name}"
            for part, told in parts.items()
            for name, value in told["options"].items()
            if isinstance(value, str) and any(mark in value for mark in "/.~")
        ]

    def _here(self, part: str) -> Mapping[str, Any]:
        return self.content.get(HERE, {}).get(part, {})

    @property
    def fields(self) -> list[Field]:
        """The columns of the dataset."""
        return [Field.from_json(stored) for stored in self.content["fields"]]

    @property
    def made_with(self) -> Mapping[str, str]:
        """Library -> version that decide the bytes; {} in manifests of before they were noted."""
        return self.content.get("made_with", {})

    @property
    def derived(self) -> Mapping[str, Any]:
        """How the dataset was made of another, as storage/derived.py says; {} where it was not."""
        return self.content.get(DERIVED, {})

    @property
    def root_id(self) -> str:
        """The id of the dataset that was sampled: what the samples' own ids begin with."""
        return self.derived.get("root") or self.dataset_id

    @property
    def picked(self) -> str | None:
        """SHA-256 of the samples' indices where they are not 0 .. samples - 1, else None."""
        return self.derived.get("indices")

    @property
    def shards(self) -> int:
        """How many shards the dataset has."""
        return -(-self.settings["samples"] // self.settings["shard_size"])

    def rows(self, shard: int) -> range:
        """The rows of one shard by their place in the dataset.

        Where no sample was left out, these are the samples' indices too.
        """
        size, samples = self.settings["shard_size"], self.settings["samples"]
        return range(shard * size, min((shard + 1) * size, samples))

    def sample_ids(self, shard: int) -> list[str]:
        """The ids of one shard's samples, in order; unique for ever. Not for `picked` ones."""
        return self.ids_of(self.rows(shard))

    def ids_of(self, indices: Iterable[int]) -> list[str]:
        """The ids of the samples with these indices."""
        root = self.root_id
        return [f"{root}-{index:09d}" for index in indices]

    def shard_file(self, shard: int) -> str:
        """The shard's file, named as Hugging Face names shards."""
        return f"data/train-{shard:05d}-of-{self.shards:05d}.parquet"

    def receipt_file(self, shard: int) -> str:
        """The shard's receipt: without it the shard does not exist."""
        return f"receipts/{shard:05d}.json"

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return _canonical(self.content)

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Manifest:
        """Read a manifest.

        Raises:
            CorruptDataError: it is not the JSON of a manifest.
            InputError: a later version of LatentLode wrote it.
        """
        try:
            content = json.loads(data)
            version = content["format"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise CorruptDataError(
                f"{where} is not a manifest: {error}. Put back the one that the dataset was made "
                "with."
            ) from None
        if version not in (FORMAT, DERIVED_FORMAT):
            raise InputError(
                f"{where} has format {version}, this LatentLode reads {FORMAT} and "
                f"{DERIVED_FORMAT}."
            )
        sizes = content.get("dataset")
        for key in ("samples", "shard_size") if isinstance(sizes, Mapping) else ():
            if not isinstance(value := sizes.get(key, 1), int) or value < 1:
                raise CorruptDataError(f"{where} is damaged: its {key} is {value!r}.")
        if isinstance(sizes, Mapping) and not _are_sequences(told := sizes.get("sequences", {})):
            raise CorruptDataError(f"{where} is damaged: its sequences are {told!r}.")
        if (DERIVED in content) != (version == DERIVED_FORMAT):
            raise CorruptDataError(
                f"{where} is not a manifest: format {version} and {DERIVED!r} do not go together"
            )
        return cls(content)


def load(store: Store) -> Manifest:
    """The manifest of the dataset in a store.

    Raises:
        InputError: there is no dataset, or a later version of LatentLode wrote it.
        CorruptDataError: what stands there is not a manifest.
    """
    if not store.exists(NAME):
        store.names()  # a store that cannot be reached is told as such
        if store.exists(f"dataset/{NAME}"):
            raise InputError(
                f"dataset: {store.url} holds no {NAME}; did you mean {store.url}/dataset?"
            )
        raise InputError(
            f"dataset: {store.url} holds no {NAME}; "
            "make a dataset with: python jobs/generate_dataset.py --out ..."
        )
    return Manifest.from_bytes(store.read(NAME), store.path(NAME))


def claim(store: Store, manifest: Manifest, write: bool = True) -> Manifest:
    """Put the manifest into an empty store, or check that the same one stands there.

    Args:
        write: False only looks whether it could be put there.

    Returns:
        The manifest that stands, with this run's places of files. A finished dataset may have
        been made with other versions of the libraries: reading it needs none of them.

    Raises:
        ConflictError: the store holds another dataset, a part of one that other versions of the
            libraries made, or files that are not a dataset.
        InputError: the store cannot be written.
    """
    if not store.exists(NAME):
        strangers = [name for name in store.names() if not name.startswith(".")]
        if strangers:
            raise ConflictError(
                f"dataset: {store.url} holds {', '.join(strangers[:3])} but no {NAME}; "
                "choose an empty folder. Nothing was changed."
            )
        store.check_writable()
        if not write:
            return manifest
        store.create(NAME, manifest.to_bytes())
    standing = Manifest.from_bytes(store.read(NAME), store.path(NAME))
    here = {HERE: manifest.content[HERE]} if HERE in manifest.content else {}
    usable = Manifest({**standing.identity, **here})
    if standing.dataset_id == manifest.dataset_id:
        return usable
    difference = _difference(standing, manifest)
    if {**standing.identity, "made_with": {}} != {**manifest.identity, "made_with": {}}:
        raise ConflictError(
            f"dataset: {store.url} holds dataset {standing.dataset_id}, these settings make "
            f"{manifest.dataset_id} (other {difference}); "
            "choose another --out. Nothing was changed."
        )
    if len(store.names("receipts")) < standing.shards:
        raise ConflictError(
            f"dataset: {store.url} was begun with other versions of the libraries "
            f"({difference}); install those to go on, or choose another --out. Nothing was changed."
        )
    return usable


def _difference(one: Manifest, two: Manifest) -> str:
    """The first keys in which two manifests differ."""
    first, second = _flat(one.identity), _flat(two.identity)
    none = object()  # a key that is not there is not one that is null
    keys = [k for k in {**first, **second} if first.get(k, none) != second.get(k, none)]
    return ", ".join(sorted(keys)[:4])


def _are_sequences(told: Any) -> bool:
    """Whether this can be the setting dataset.sequences, or its absence."""
    if not isinstance(told, Mapping):
        return False
    length, smoothness = told.get("length", 1), told.get("smoothness", 0.0)
    if not isinstance(length, int) or not isinstance(smoothness, int | float):
        return False
    return 1 <= length <= MOST_FRAMES and 0 <= smoothness < 1


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, indent=1).encode()


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        parts = [_flat(inner, f"{prefix}{key}.") for key, inner in value.items()]
        return {key: inner for part in parts for key, inner in part.items()}
    return {prefix.rstrip("."): value}

"""Results that a rerun need not compute again: <out>/results/cache/<key>.safetensors.

A key is a SHA-256 over everything that decides a result, so an entry never goes stale; what is
damaged, or no result of that key, is passed over and made again. Entries of earlier settings stay
until all together exceed `MOST_BYTES`; then those go that were written longest ago.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.results_code import code_digest
from jobs.results_codec import Kinds, decode, encode
from jobs.versions import code_version, package_versions
from schemas.errors import InputError, StorageError
from storage.files import Store
from storage.manifest import Manifest

FOLDER = "results/cache"  # under the run's folder
SUFFIX = ".safetensors"
CACHED = "kept from before"  # what progress calls results that are not computed again
MOST_BYTES = 2 * 10**9  # of all entries
MOST_ENTRY = 256 * 10**6  # of one; a larger one is not kept, and not read
NAME = re.compile(f"[0-9a-f]{{64}}{re.escape(SUFFIX)}")  # of an entry; other files are let be
WRONG = (
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)  # what checks of a stranger's file meet
COMPUTING = ("face_recognition_models", "pillow", "torchdiffeq")  # beside what cards record


class ResultsCache:
    """The entries of one run's folder.

    Args:
        url: the run's folder or URL; None keeps and finds nothing.
        most: bytes of all entries that `prune` leaves.
    """

    def __init__(self, url: str | None = None, most: int = MOST_BYTES):
        self.found = self.made = 0
        self._store = None if url is None else Store(f"{url}/{FOLDER}")
        self._most = most
        self._used: set[str] = set()
        self._sizes = self._listed()

    def get(self, key: str, kinds: Kinds, fits: Callable[[Any], bool] | None = None) -> Any | None:
        """What was kept under a key; None where nothing was, or what is there cannot be used.

        Args:
            kinds: the dataclasses that it may consist of.
            fits: whether a value is what the caller expects, of the right shapes above all.
        """
        name = f"{key}{SUFFIX}"
        if self._store is None or not 0 < self._sizes.get(name, 0) <= MOST_ENTRY:
            return None
        try:
            value = decode(self._store.read(name), key, kinds)
            if fits is not None and not fits(value):
                return None
        except (StorageError, InputError, *WRONG):
            return None
        self.found += 1
        self._used.add(name)
        return value

    def put(self, key: str, value: Any) -> None:
        """Keep a result. Where there is no room for it, the run goes on without."""
        self.made += 1
        if self._store is None:
            return
        data = encode(key, value)
        if len(data) > MOST_ENTRY:
            return
        name = f"{key}{SUFFIX}"
        try:
            self._store.replace(name, data)
        except StorageError:
            return
        self._used.add(name)

    def prune(self) -> None:
        """Delete the oldest entries that this run did not use, until the rest is small enough.

        What cannot be deleted stays: a run does not end for what it has done without.
        """
        with contextlib.suppress(StorageError):
            self._prune()

    def _prune(self) -> None:
        if self._store is None:
            return
        sizes = self._listed()
        left = sum(sizes.values())
        if left <= self._most:
            return
        unused = [name for name in sizes if name not in self._used]
        for name in sorted(unused, key=lambda name: (self._age(name), name)):
            if left <= self._most:
                return
            self._store.remove(name)
            left -= sizes[name]

    def _listed(self) -> dict[str, int]:
        if self._store is None:
            return {}
        sizes = self._store.sizes("")
        return {name: size for name, size in sizes.items() if NAME.fullmatch(name)}

    def _age(self, name: str) -> str:
        """When an entry was written, as text that sorts; "" where the store does not say."""
        if self._store is None:
            return ""
        try:
            return self._store.fs.modified(self._store.path(name)).isoformat()
        except (NotImplementedError, OSError):
            return ""


def key_of(kind: str, *parts: Any) -> str:
    """The key of a result: of what kind it is, and everything that decides it, as plain JSON."""
    text = json.dumps([kind, *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def digest(array: NDArray[Any]) -> str:
    """SHA-256 of an array's type, shape and numbers."""
    array = np.ascontiguousarray(array)
    found = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def computed_by(manifest: Manifest, modules: Iterable[str]) -> Mapping[str, Any]:
    """What computes a result: this code and the packages behind it.

    Args:
        manifest: of the dataset that it comes from.
        modules: those that compute it; what they import is followed.
    """
    found = {}
    for name in COMPUTING:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    packages = {**package_versions(manifest), **found}
    return {"version": code_version(), "code": code_digest(*modules), "packages": packages}

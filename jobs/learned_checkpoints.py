"""What a training keeps between epochs: <out>/results/training/<key>.safetensors.

A key says everything that decides a training, as in `results_cache`, so what is found under it is
gone on from; what is damaged, or another's, is passed over, and the training begins again.
"""

from __future__ import annotations

import contextlib
import time

import numpy as np

from jobs.results_cache import MOST_ENTRY, NAME, SUFFIX, WRONG
from jobs.results_codec import decode, encode
from mining.methods.learned import Checkpoint
from schemas.errors import InputError, StorageError
from storage.files import Store

FOLDER = "results/training"  # under the run's folder
SHARE = 0.1  # of the time since the last one is what writing may take, at most
KINDS = {"Checkpoint": Checkpoint}


class Checkpoints:
    """The checkpoint of one training.

    Args:
        url: the run's folder or URL; None keeps and finds nothing.
        key: of the training.
    """

    def __init__(self, url: str | None, key: str):
        self._key, self._name = key, f"{key}{SUFFIX}"
        self._store = None if url is None else Store(f"{url}/{FOLDER}")
        self._took, self._ended = 0.0, time.monotonic()

    def last(self) -> Checkpoint | None:
        """Where an earlier training got to; None where there was none, or it cannot be used."""
        if self._store is None:
            return None
        try:
            if not 0 < self._store.sizes("").get(self._name, 0) <= MOST_ENTRY:
                return None
            found = decode(self._store.read(self._name), self._key, KINDS)
            return found if _is_checkpoint(found) else None
        except (StorageError, InputError, *WRONG):
            return None

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write it, unless that would slow the training down; without room for it, go on."""
        start = time.monotonic()
        if self._store is None or self._took > SHARE * (start - self._ended):
            return
        with contextlib.suppress(StorageError):
            self._store.replace(self._name, encode(self._key, checkpoint))
        self._ended = time.monotonic()
        self._took = self._ended - start


def forget(url: str | None) -> None:
    """Delete all checkpoints: every training is done. What cannot be deleted stays.

    Those of other settings, or of other code, go too: nobody came back for them.
    """
    if url is None:
        return
    store = Store(f"{url}/{FOLDER}")
    with contextlib.suppress(StorageError):
        for name in store.sizes(""):
            if NAME.fullmatch(name):
                store.remove(name)


def _is_checkpoint(found: object) -> bool:
    return (
        isinstance(found, Checkpoint)
        and type(found.epoch) is type(found.epochs) is int
        and 0 <= found.epoch <= found.epochs
        and all(isinstance(array, np.ndarray) for array in found.arrays.values())
        and all(isinstance(value, float) for row in found.losses for value in row)
    )

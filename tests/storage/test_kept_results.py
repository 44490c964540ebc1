"""Results that jobs keep, on an object store: here, where its server is."""

from __future__ import annotations

import numpy as np

from jobs.results_cache import FOLDER, ResultsCache
from storage.files import Store

KEYS = [digit * 64 for digit in "abc"]


def test_an_object_store_keeps_what_a_run_used(bucket, rng):
    values = {key: rng.normal(size=200) for key in KEYS}
    for key, value in values.items():
        ResultsCache(f"{bucket}/run").put(key, value)
    store = Store(f"{bucket}/run/{FOLDER}")
    store.replace("mine.safetensors", b"somebody's own")
    size = next(size for name, size in store.sizes("").items() if name[0] == "a")
    cache = ResultsCache(f"{bucket}/run", most=2 * size)
    np.testing.assert_array_equal(cache.get(KEYS[0], {}), values[KEYS[0]])
    cache.prune()
    left = store.names()
    assert f"{KEYS[0]}.safetensors" in left and "mine.safetensors" in left and len(left) == 3
    store.replace(f"{KEYS[0]}.safetensors", b"damaged")
    assert ResultsCache(f"{bucket}/run").get(KEYS[0], {}) is None

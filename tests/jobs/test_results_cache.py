"""Kept results: what comes back, and what is passed over."""

from __future__ import annotations

import dataclasses
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import save

from jobs import results_cache
from jobs.evaluation_kept import is_rescored
from jobs.mining_stage import _fits as mining_fits
from jobs.results_cache import FOLDER, ResultsCache
from jobs.results_codec import KEY as CODEC_KEY
from jobs.results_codec import VERSION, _sum, decode, encode
from mining.evaluation.rescoring import Measured, Rescored
from mining.evaluation.stability import Stability
from mining.methods.base import Direction
from schemas.errors import CorruptDataError
from tests.jobs.test_results_keys import mining_data

KINDS = {kind.__name__: kind for kind in (Direction, Measured, Rescored, Stability)}
KEY, OTHER = "a" * 64, "b" * 64
NAN = float("nan")


def direction(seed: int = 0) -> Direction:
    vector = np.random.default_rng(seed).normal(size=(2, 3))
    evidence = {"accuracy": 0.1 + 0.2, "rows": 7, "r2": NAN}
    return Direction("ridge", vector, NAN, "smile", "mm", "w+", (1, 2), evidence)


def rescored(rng) -> Rescored:
    return Rescored(
        steps=np.array([-1.0, 0.0, 1.0]),
        sigma=0.3,
        pairs=(("points", "yaw"), ("points", "smile")),
        units=("degrees", "1"),
        values=np.where(rng.random((2, 3, 2)) < 0.3, np.nan, rng.normal(size=(2, 3, 2))),
        distances=rng.random((2, 3)),
        statuses={"points": {"ok": 3, "no_face": 1}},
        thumbnails=((b"\xff\xd8one", b"", b"three"),),
    )


def test_what_comes_back_is_what_was_kept_to_the_last_bit(rng, tmp_path):
    cache = ResultsCache(str(tmp_path))
    stability = Stability((0.1, NAN), (), ((15, 0.3),), "2 rows: too few")
    values = (direction(), rescored(rng), stability, None, np.zeros((0, 2), np.float32))
    cache.put(KEY, list(values))
    found = ResultsCache(str(tmp_path)).get(KEY, KINDS)
    assert encode(KEY, found) == encode(KEY, values)
    one, many, steady, none, empty = found
    np.testing.assert_array_equal(one.vector, values[0].vector)
    assert one.evidence["accuracy"] == 0.1 + 0.2 and np.isnan(one.slope)
    assert (one.layers, one.unit) == ((1, 2), "mm")
    np.testing.assert_array_equal(many.values, values[1].values)
    assert many.thumbnails == values[1].thumbnails and many.statuses == values[1].statuses
    assert steady.sizes == ((15, 0.3),) and steady.reason == stability.reason
    assert none is None and empty.shape == (0, 2) and empty.dtype == np.float32


def test_whatever_byte_is_damaged_the_file_is_no_result():
    data = encode(KEY, direction())
    assert decode(data, KEY, KINDS).method == "ridge"
    for place in range(0, len(data), 7):
        wrong = bytearray(data)
        wrong[place] ^= 0x11
        with pytest.raises(CorruptDataError):
            decode(bytes(wrong), KEY, KINDS)
    for length in (0, 8, 100, len(data) - 1):
        with pytest.raises(CorruptDataError):
            decode(data[:length], KEY, KINDS)


def test_a_result_of_another_key_or_of_other_kinds_is_none():
    with pytest.raises(CorruptDataError, match="not that of"):
        decode(encode(OTHER, direction()), KEY, KINDS)
    with pytest.raises(CorruptDataError):
        decode(encode(KEY, direction()), KEY, {"Stability": Stability})


@pytest.mark.parametrize(
    "tree",
    [
        "[" * 100_000,
        '{"row": ' * 5_000 + "1" + "}" * 5_000,
        '{"kind": "Popen", "fields": {}}',
        '{"kind": "Direction", "fields": {"method": {"is": 1}}}',
        '{"array": "nowhere"}',
        '{"bytes": "all"}',
        '{"map": {"a": 1}}',
        '{"row": [{"bytes": [0, 3]}, {"bytes": [0, 3]}]}',  # a few bytes made many
        '{"bytes": [2, 1]}',
        "7",
        "",
    ],
)
def test_a_strangers_file_with_a_right_checksum_is_no_result(tree):
    arrays = {"bytes": np.zeros(3, np.uint8)}
    about = {"version": VERSION, "key": KEY, "sha256": _sum(tree, arrays), "tree": tree}
    with pytest.raises(CorruptDataError):
        decode(save(arrays, {CODEC_KEY: json.dumps(about)}), KEY, KINDS)


def test_what_does_not_fit_is_passed_over_and_not_counted(tmp_path):
    ResultsCache(str(tmp_path)).put(KEY, direction())
    cache = ResultsCache(str(tmp_path))
    assert cache.get(KEY, KINDS, lambda found: found.method == "svm") is None
    assert cache.get(OTHER, KINDS) is None and cache.found == 0
    path = tmp_path / FOLDER / f"{KEY}.safetensors"
    path.write_bytes(b"\x80\x04pickled, perhaps")
    assert ResultsCache(str(tmp_path)).get(KEY, KINDS) is None


def test_what_checks_of_a_result_stumble_over_is_no_result(tmp_path):
    wrong = dataclasses.replace(direction(), vector="no array")
    ResultsCache(str(tmp_path)).put(KEY, wrong)
    cache = ResultsCache(str(tmp_path))
    assert cache.get(KEY, KINDS).vector == "no array"
    assert cache.get(KEY, KINDS, lambda found: found.vector.shape == (2, 3)) is None
    assert cache.found == 1


def test_an_entry_larger_than_any_result_is_neither_read_nor_kept(tmp_path, monkeypatch):
    ResultsCache(str(tmp_path)).put(KEY, direction())
    size = (tmp_path / FOLDER / f"{KEY}.safetensors").stat().st_size
    monkeypatch.setattr(results_cache, "MOST_ENTRY", size)
    assert ResultsCache(str(tmp_path)).get(KEY, KINDS) is not None
    monkeypatch.setattr(results_cache, "MOST_ENTRY", size - 1)
    cache = ResultsCache(str(tmp_path))
    cache.put(OTHER, direction())
    assert cache.get(KEY, KINDS) is None
    assert not (tmp_path / FOLDER / f"{OTHER}.safetensors").exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"vector": np.zeros((2, 2))},
        {"vector": np.full((2, 3), NAN)},
        {"vector": [1.0]},
        {"method": "svm"},
        {"attribute": "yaw"},
        {"unit": 3},
        {"slope": "steep"},
        {"layers": ("1",)},
        {"layers": 1},
        {"evidence": {"accuracy": "high"}},
        {"evidence": (1, 2)},
    ],
    ids=str,
)
def test_a_strangers_direction_is_none_of_this_method_attribute_and_space(changed, tmp_path):
    fits = mining_fits(("ridge", "smile"), mining_data(shape=(2, 3)))
    ResultsCache(str(tmp_path)).put(KEY, [direction()])
    ResultsCache(str(tmp_path)).put(OTHER, [dataclasses.replace(direction(), **changed)])
    cache = ResultsCache(str(tmp_path))
    assert cache.get(KEY, KINDS, fits)[0].method == "ridge"
    assert cache.get(OTHER, KINDS, fits) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"sigma": 0.4},
        {"cosines": np.zeros((2, 2))},
        {"distances": np.zeros(6)},
        {"values": np.zeros((2, 3, 3))},
        {"units": ("1",)},
        {"steps": np.array([1, 0, 1])},
        {"thumbnails": ((b"one",),)},
        {"values": 3.0},
    ],
    ids=str,
)
def test_a_strangers_measurements_are_none_along_this_direction(changed, rng, tmp_path):
    whole = dataclasses.replace(rescored(rng), cosines=np.ones((2, 3)))
    ResultsCache(str(tmp_path)).put(KEY, whole)
    ResultsCache(str(tmp_path)).put(OTHER, dataclasses.replace(whole, **changed))
    cache = ResultsCache(str(tmp_path))
    assert cache.get(KEY, KINDS, is_rescored(0.3)) is not None
    assert cache.get(OTHER, KINDS, is_rescored(0.3)) is None


def test_runs_that_share_a_folder_find_whole_results_or_none(tmp_path):
    keys = [digit * 64 for digit in "0123"]
    values = {key: np.full(5000, float(number)) for number, key in enumerate(keys)}
    ResultsCache(str(tmp_path)).put(KEY, values[keys[0]])  # so that there is something to list

    def one_run(seed: int) -> int:
        found = 0
        for turn in range(12):
            cache = ResultsCache(str(tmp_path), most=100_000)  # room for two of five
            key = keys[(seed + turn) % 4]
            value = cache.get(key, KINDS)
            if value is None:
                cache.put(key, values[key])
            else:
                found += 1
                np.testing.assert_array_equal(value, values[key])
            cache.prune()
        return found

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one_run, range(4)))
    cache = ResultsCache(str(tmp_path))
    left = {path.name.removesuffix(".safetensors") for path in (tmp_path / FOLDER).iterdir()}
    assert left and all(np.isfinite(cache.get(key, KINDS)).all() for key in left)


def test_without_a_folder_nothing_is_kept_and_all_is_counted():
    cache = ResultsCache()
    cache.put(KEY, direction())
    cache.prune()
    assert cache.get(KEY, KINDS) is None and (cache.found, cache.made) == (0, 1)


def test_the_oldest_that_this_run_did_not_use_go_first(tmp_path):
    sizes = []
    for age, key in enumerate("cdef"):
        ResultsCache(str(tmp_path)).put(key * 64, direction())
        path = tmp_path / FOLDER / f"{key * 64}.safetensors"
        os.utime(path, (1e9 - age * 1e6, 1e9 - age * 1e6))  # c is the newest, f the oldest
        sizes.append(path.stat().st_size)
    own = tmp_path / FOLDER / "mine.safetensors"
    own.write_bytes(bytes(4 * max(sizes)))  # not of ours, so neither counted nor deleted
    cache = ResultsCache(str(tmp_path), most=2 * max(sizes))
    assert cache.get("f" * 64, KINDS) is not None
    cache.prune()
    left = {path.name[0] for path in (tmp_path / FOLDER).iterdir()}
    assert left == {"c", "f", "m"}
    cache.prune()
    assert left == {path.name[0] for path in (tmp_path / FOLDER).iterdir()}


def test_other_stores_keep_results_too():
    ResultsCache("memory://cached/run").put(KEY, direction())
    found = ResultsCache("memory://cached/run", most=1)
    np.testing.assert_array_equal(found.get(KEY, KINDS).vector, direction().vector)
    ResultsCache("memory://cached/run", most=1).prune()
    assert ResultsCache("memory://cached/run").get(KEY, KINDS) is None

"""Kept results: what comes back, what is passed over, and what changes a name."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from jobs.mining_data import MiningData
from jobs.mining_keys import MiningKeys
from jobs.results_cache import FOLDER, ResultsCache, digest, key_of
from jobs.results_code import _file, _imported, code_digest
from jobs.results_codec import KEY as CODEC_KEY
from jobs.results_codec import VERSION, _sum, decode, encode
from mining.evaluation.rescoring import Measured, Rescored
from mining.evaluation.stability import Stability, StabilityConfig
from mining.methods.base import Direction
from mining.methods.ridge import RidgeConfig
from mining.methods.svm import SvmConfig
from schemas.errors import CorruptDataError
from schemas.samples import Field
from storage.manifest import Manifest

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
    cache = ResultsCache(str(tmp_path), most=2 * max(sizes))
    assert cache.get("f" * 64, KINDS) is not None
    cache.prune()
    left = {path.name[0] for path in (tmp_path / FOLDER).iterdir()}
    assert left == {"c", "f"}
    cache.prune()
    assert left == {path.name[0] for path in (tmp_path / FOLDER).iterdir()}


def test_other_stores_keep_results_too():
    ResultsCache("memory://cached/run").put(KEY, direction())
    found = ResultsCache("memory://cached/run", most=1)
    np.testing.assert_array_equal(found.get(KEY, KINDS).vector, direction().vector)
    ResultsCache("memory://cached/run", most=1).prune()
    assert ResultsCache("memory://cached/run").get(KEY, KINDS) is None


def test_digests_tell_type_shape_and_numbers(rng):
    a = rng.normal(size=(4, 6))
    others = [a.reshape(6, 4), a.astype(np.float32), np.nextafter(a, 9), a.ravel(), a[:0]]
    assert len({digest(x) for x in (a, *others)}) == 6
    assert digest(np.asfortranarray(a)) == digest(a) == digest(a.copy())
    assert key_of("x", 1, [2]) != key_of("x", [1, 2])


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A package of somebody's own: a -> b -> c, a registry that names d."""
    folder = tmp_path / "lode_own_package"
    folder.mkdir()
    sources = {
        "__init__": "",
        "a": "from typing import TYPE_CHECKING\nfrom lode_own_package import b, registry\n"
        "if TYPE_CHECKING:\n    from lode_own_package.e import E\n",
        "b": "def late():\n    import lode_own_package.c\n",
        "c": "raise RuntimeError('imported')\n",
        "d": "",
        "e": "",
        "registry": "import lode_own_package.d\n",
    }
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield folder
    forget()


def forget() -> None:
    for known in (code_digest, _file, _imported):
        known.cache_clear()


def test_code_is_told_by_all_that_it_imports_and_nothing_is_run(package):
    def told(name: str) -> str:
        path = package / f"{name}.py"
        path.write_text(path.read_text() + "# changed\n")
        forget()
        return code_digest("lode_own_package.a")

    before = code_digest("lode_own_package.a")
    for name in ("d", "e", "registry"):
        assert told(name) == before  # listed, for type checkers, and the list itself
    for name in ("a", "b", "c"):
        after = told(name)
        assert after != before
        before = after
    assert "lode_own_package.c" not in sys.modules
    assert code_digest("no.such.module") != before


def mining_data(**changed) -> MiningData:
    made = MiningData(
        latents=np.arange(12, dtype=np.float32).reshape(4, 3),
        space="w",
        shape=(3,),
        scores={"yaw": np.array([1.0, 2, 3, 4]), "smile": np.array([1.0, 2, 3, NAN])},
        fields={name: Field(name, "float32", (), "degrees") for name in ("yaw", "smile")},
        landmarks=np.zeros((4, 2, 2), np.float32),
        weights={"a": np.ones((2, 3), np.float32)},
        rows={"a": 0},
    )
    return dataclasses.replace(made, **changed)


def test_a_key_changes_with_what_is_read_and_with_nothing_else():
    manifest = Manifest({"dataset": {}, "generator": {}, "extractors": [], "fields": []})
    ridge, data = RidgeConfig(), mining_data()

    def key(data=data, method="ridge", attribute="yaw", config=ridge, control="") -> str:
        return MiningKeys(data, manifest, control).direction(method, attribute, config)

    other = {**data.scores, "smile": np.ones(4)}
    same = [
        key(mining_data(scores=other)),
        key(mining_data(landmarks=np.ones((4, 2, 2), np.float32))),
        key(mining_data(weights={})),
        key(control="another model"),
    ]
    assert set(same) == {key()}
    scores = {**data.scores, "yaw": data.scores["yaw"] * 2}
    radians = {**data.fields, "yaw": Field("yaw", "float32", (), "radians")}
    changed = [
        key(),
        key(mining_data(scores=scores)),
        key(mining_data(latents=data.latents + 1)),
        key(mining_data(space="w+")),
        key(mining_data(fields=radians)),
        key(attribute="smile"),
        key(config=RidgeConfig(2.0)),
        key(method="svm", config=SvmConfig()),
        key(method="nrsfm"),
        key(method="nrsfm", control="another model"),
    ]
    assert len(set(changed)) == len(changed)
    keys, found = MiningKeys(data, manifest), Direction("ridge", np.eye(3)[0], 1.0, "yaw")
    plans = [StabilityConfig(), StabilityConfig(halves=4)]
    other = dataclasses.replace(found, vector=np.eye(3)[1])
    told = [keys.stability(made, ridge, plan) for made in (found, other) for plan in plans]
    assert len({*told, keys.direction("ridge", "yaw", ridge)}) == 5

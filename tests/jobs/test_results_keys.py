"""The names of kept results: what changes them, and that nothing else does."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from jobs import results_cache
from jobs.evaluation_keys import EvaluationKeys
from jobs.mining_data import MiningData
from jobs.mining_keys import MiningKeys
from jobs.mining_stage import Mined
from jobs.results_cache import digest, key_of
from jobs.results_code import _file, _imported, code_digest
from jobs.stability_stage import _measurable
from mining.description import describe
from mining.evaluation.stability import StabilityConfig
from mining.labels import make_labels
from mining.methods.base import Direction
from mining.methods.controlled import ControlledConfig
from mining.methods.ridge import RidgeConfig
from mining.methods.svm import SvmConfig
from schemas.samples import Field
from schemas.settings import RunSettings
from storage.manifest import Manifest

NAN = float("nan")


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


def described(**changed):
    """The manifest of a dataset of the points generator, and its evaluation's settings."""
    told = {
        "generator": {"name": "tests.examples.points:PointsGenerator"},
        "extractors": {"tests.examples.points:PointsExtractor": {}},
        "dataset": {"samples": 20, "shard_size": 10},
    }
    settings = RunSettings.model_validate(told | changed)
    return describe(settings), settings.evaluation


def test_measurements_hang_on_all_that_renders_and_measures_and_on_no_more(monkeypatch):
    name, reader = "tests.examples.points:PointsGenerator", "tests.examples.points:PointsExtractor"
    along = Direction("ridge", np.eye(3)[0], 1.0, "yaw")

    def keys(along=along, sigma=0.5, labels=None, **changed) -> tuple[str, str]:
        made = EvaluationKeys(*described(**changed), make_labels(labels or {}))
        return made.bases, made.rescored(along, sigma)

    same = [
        keys(),
        keys(dataset={"samples": 40, "shard_size": 20}),
        keys(evaluation={"bootstrap": 20}),
        keys(dataclasses.replace(along, method="svm", attribute="smile", evidence={"rows": 1})),
    ]
    assert len(set(same)) == 1
    label = {"wide": {"is": "points_yaw > 3", "unit": "1"}}
    images = [
        keys(),
        keys(generator={"name": name, "options": {"noise": 0.1}}),
        keys(extractors={reader: {"blind_every": 9}}),
        keys(dataset={"samples": 20, "shard_size": 10, "psi": 0.7}),
        keys(evaluation={"seed": 2}),
        keys(evaluation={"identities": 5}),
        keys(evaluation={"steps": [1.0]}),
        keys(evaluation={"strips": 1}),
        keys(evaluation={"descriptor": False}),
        keys(labels=label),
        keys(labels={"wide": {**label["wide"], "is": "points_yaw > 4"}}),
    ]
    assert len({one for one, _ in images}) == len({other for _, other in images}) == len(images)
    moved = [
        keys(),
        keys(sigma=0.6),
        keys(dataclasses.replace(along, vector=np.eye(3)[1])),
        keys(dataclasses.replace(along, layers=(1,))),
    ]
    assert len({one for one, _ in moved}) == 1 and len({other for _, other in moved}) == 4
    monkeypatch.setattr(results_cache, "package_versions", lambda manifest: {"numpy": "0"})
    assert set(keys()) & set(same[0]) == set()


def test_the_control_model_and_stability_hang_on_landmarks_where_these_are_read():
    manifest, _ = described()
    data, moved = mining_data(), mining_data(landmarks=np.ones((4, 2, 2), np.float32))
    keys, other = MiningKeys(data, manifest), MiningKeys(moved, manifest)
    assert len({keys.control([1]), keys.control([2]), other.control([1])}) == 3
    found, plan = Direction("nrsfm", np.eye(3)[0], 1.0, "yaw"), StabilityConfig()
    told = [of.stability(found, ControlledConfig(), plan, [1]) for of in (keys, other)]
    assert told[0] != told[1]
    ridge = dataclasses.replace(found, method="ridge")
    one, two = (of.stability(ridge, RidgeConfig(), plan) for of in (keys, other))
    assert one == two


def test_what_is_drawn_and_what_none_asked_for_is_not_mined_again():
    made = [Direction(method, np.eye(3)[0], 1.0, "yaw") for method in ("ridge", "random", "nrsfm")]
    mined = Mined((*made, Direction("pca", np.eye(3)[0], NAN, "pc1")), {}, None, {})

    def again(**stability) -> list[str]:
        mining = RunSettings.model_validate({"mining": {"stability": stability}}).mining
        return [one.method for one in _measurable(mined, mining)]

    assert again() == ["ridge"]
    assert again(control=True) == ["ridge", "nrsfm"]
    assert again(enabled=False) == []

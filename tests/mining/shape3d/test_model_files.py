"""The files behind a shape model, through the extractor: told, pinned, and never trusted."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from mining.extractors.base import OK, Measurement
from mining.extractors.shape3d import Shape3d
from mining.shape3d.model import DEVIATIONS, FULL
from mining.shape3d.readers.surrey import read_surrey
from schemas.errors import CorruptDataError, InputError
from tests.mining.shape3d import made_models
from tests.mining.shape3d.planted import planted


@pytest.fixture
def surrey(tmp_path) -> dict:
    """A model with blendshapes and landmarks in files of their own."""
    made = made_models.made()
    return {
        "model": str(made_models.sfm_bin(tmp_path / "m.bin", made, 1)),
        "model_kind": "surrey",
        "reader": {
            "blendshapes": str(made_models.sfm_blendshapes(tmp_path / "b.bin", made)),
            "landmarks": str(made_models.landmark_json(tmp_path / "l.json", made)),
        },
    }


def sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_every_file_is_told_and_pinned(surrey):
    files = [surrey["model"], surrey["reader"]["blendshapes"], surrey["reader"]["landmarks"]]
    pins = {f"{name}_sha256": sha256(path) for name, path in surrey["reader"].items()}
    pinned = {**surrey, "sha256": sha256(files[0]), "reader": {**surrey["reader"], **pins}}
    made = Shape3d(**pinned)
    assert [model.sha256 for model in made.models] == [sha256(path) for path in files]
    assert [model.name for model in made.models] == ["m.bin", "b.bin", "l.json"]
    assert ["Surrey" in model.licence for model in made.models] == [True, True, False]
    assert made.fingerprint() == Shape3d(**surrey).fingerprint()  # a pin decides nothing
    wrong = "0" * 64
    for bad in (
        {**pinned, "sha256": wrong},
        {**pinned, "reader": {**pinned["reader"], "blendshapes_sha256": wrong}},
        {**pinned, "reader": {**pinned["reader"], "landmarks_sha256": wrong}},
    ):
        with pytest.raises(CorruptDataError, match="expected 0000"):
            Shape3d(**bad)
    for reader, says in (
        ({"blendshapes_sha256": wrong}, "blendshapes_sha256 came without reader.blendshapes"),
        ({"blendshapes": 3}, "reader.blendshapes 3 came; expected a path or a URL"),
        ({"landmarks": files[2], "landmarks_sha256": 3}, "the sha256 3 of reader.landmarks"),
        ({"path": files[0]}, "the option model names the file"),
        ({"blendshape": files[1]}, "did you mean 'blendshapes'"),
    ):
        with pytest.raises(InputError, match=says):
            Shape3d(**{**surrey, "reader": reader})


def test_files_behind_urls_are_fetched_and_pinned(surrey, tmp_path, monkeypatch):
    import fsspec

    monkeypatch.setenv("LODE_CACHE", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    try:
        urls = {}
        for name, path in {"model": surrey["model"], **surrey["reader"]}.items():
            urls[name] = f"memory://shapes/{Path(path).name}"
            with fsspec.open(urls[name], "wb") as file:
                file.write(Path(path).read_bytes())
        pins = {f"{name}_sha256": sha256(path) for name, path in surrey["reader"].items()}
        told = {"sha256": sha256(surrey["model"]), "model": urls.pop("model")}
        made = Shape3d(model_kind="surrey", reader={**urls, **pins}, **told)
        assert made.fingerprint() == Shape3d(**surrey).fingerprint()
        assert [model.name for model in made.models] == ["m.bin", "b.bin", "l.json"]
        assert all(tmp_path / "cache" in model.path.parents for model in made.models)
        with fsspec.open(urls["blendshapes"], "wb") as file:
            file.write(b"something else")
        monkeypatch.setenv("LODE_CACHE", str(tmp_path / "other"))
        with pytest.raises(CorruptDataError):
            Shape3d(model_kind="surrey", reader={**urls, **pins}, **told)
    finally:
        store.store.clear()


def test_a_changed_file_changes_the_fingerprint_and_another_place_does_not(surrey, tmp_path):
    first = Shape3d(**surrey).fingerprint()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    reader = {
        name: shutil.copy(path, elsewhere / f"other-{name}{Path(path).suffix}")
        for name, path in surrey["reader"].items()
    }
    model = shutil.copy(surrey["model"], elsewhere)
    assert Shape3d(**{**surrey, "model": str(model), "reader": reader}).fingerprint() == first
    other = made_models.made(1)
    made_models.sfm_blendshapes(Path(surrey["reader"]["blendshapes"]), other)
    second = Shape3d(**surrey).fingerprint()
    made_models.landmark_json(Path(surrey["reader"]["landmarks"]), other)
    third = Shape3d(**surrey).fingerprint()
    made_models.sfm_bin(Path(surrey["model"]), other, 1)
    assert len({first, second, third, Shape3d(**surrey).fingerprint()}) == 4
    fewer = {**surrey, "reader": {**surrey["reader"], "identities": 2}}
    assert Shape3d(**fewer).fingerprint() != Shape3d(**surrey).fingerprint()


def test_names_of_a_file_replace_no_column(rng, surrey):
    made = made_models.made()
    made.names = ("yaw", "status", "Mouth Open (L)")
    path = Path(surrey["reader"]["blendshapes"])
    made_models.sfm_blendshapes(path, made)
    extractor = Shape3d(**surrey, noise=0.1)
    named = ["expression_yaw", "expression_status", "mouth_open_l"]
    assert list(extractor.columns)[-3:] == named
    assert "'Mouth Open (L)'" in extractor.columns["mouth_open_l"].text
    for name in (*named, "expression"):
        assert extractor.columns[name].unit == FULL
    assert extractor.columns["identity"].unit == DEVIATIONS
    shape = read_surrey(surrey["model"], path, surrey["reader"]["landmarks"])
    truth = planted(rng, shape.landmarks(), 4)
    images = np.zeros((4, 8, 8, 3), np.uint8)
    measurement = Measurement((OK,) * 4, {"landmarks": truth.points})
    found = extractor(images, {"dlib": measurement})
    np.testing.assert_allclose(found.values["yaw"], truth.angles[:, 0], atol=1.0)
    for k, name in enumerate(named):
        np.testing.assert_array_equal(found.values[name], found.values["expression"][:, k])
    made.names = ("a b", "a-b", "c")
    made_models.sfm_blendshapes(path, made)
    with pytest.raises(InputError, match="'a b' and 'a-b' would both be the column 'a_b'"):
        Shape3d(**surrey)

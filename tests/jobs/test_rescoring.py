"""`lode rescore` on Ray: planted directions come out, and what is measured is not made again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jobs.cluster import ray_session
from jobs.rescoring import open_catalog, rescore_directions
from jobs.rescoring_plan import RescoreSettings
from jobs.rescoring_store import keep_bases, read_bases
from jobs.rescoring_tasks import Kept, Part
from mining.evaluation.edit_scores_text import Rescoring
from schemas.errors import ConflictError, InputError
from schemas.settings import EngineSettings
from storage.artefacts import pack
from storage.files import Store
from tests.jobs.planted_directions import planted_run

pytestmark = pytest.mark.ray

# two parts, so that the order in which workers finish matters
SETTINGS = RescoreSettings(edits=60, bootstrap=200)
TABLES = ("rescore.json", "rescore.csv", "rescore.md")


def engine(workers: int = 2) -> EngineSettings:
    return EngineSettings.model_validate({"workers": workers, "object_store_mb": 128})


@pytest.fixture(scope="module", autouse=True)
def session():
    with ray_session(engine()):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    planted_run(folder)
    return folder


def rescored(run: Path, out: Path, chosen=slice(None), settings=SETTINGS, workers=2) -> Rescoring:
    url, catalog = open_catalog(str(run))
    cards = list(catalog.cards())[chosen]
    return rescore_directions(url, cards, Store(str(out)), settings, engine(workers))


@pytest.fixture(scope="module")
def undisturbed(run, tmp_path_factory) -> tuple[Rescoring, Path]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    return rescored(run, out), out


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in TABLES}


def test_planted_directions_move_what_they_are_for_and_no_more(undisturbed):
    found, _ = undisturbed
    step, effect = found.kinds["step"], found.kinds["effect"]
    told = {method.method: method for method in step.methods}
    assert told["ridge"].diagonality.value == 1.0
    # slanted by half of another attribute, so that half as much of it comes along; the leak is
    # over three others
    assert told["svm"].leak.value == pytest.approx(0.5 / np.sqrt(3), rel=0.3)
    assert told["ridge"].leak.value < 0.1
    assert told["random"].diagonality.value == 0.0
    assert step.shared == effect.shared == ("yaw", "smile")  # the control has no smile
    assert [o.lower for o in step.orderings] == []  # the paper has InterFaceGAN alone of these
    for row in effect.rows:  # at equal effect all move their own attribute alike
        # landed on 15 of the 60 images: the rest differ by how much a read-out of a turn bends
        assert row.own.value == pytest.approx(1.0, abs=0.1)
    assert {row.method for row in effect.rows} == {"ridge", "svm"}
    assert "yaw · random, at equal effect" in found.skipped


def test_identity_is_the_angle_between_descriptors(undisturbed):
    found, _ = undisturbed
    # descriptors are the four amounts: a step of 1 along one of them turns them, the mean of
    # 1 - cosine over four normal numbers is planted by drawing them
    rng = np.random.default_rng(0)
    before = rng.normal(size=(20_000, 4))
    after = before + [1.0, 0, 0, 0]
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    truth = float(np.mean(1 - (before * after).sum(axis=1) / norms))
    for row in found.kinds["step"].rows:
        if row.method == "ridge":
            assert row.identity.low * 0.8 < truth < row.identity.high * 1.2


def test_a_call_that_goes_on_gives_what_an_undisturbed_one_gives(run, undisturbed, tmp_path):
    _, whole = undisturbed
    out = tmp_path / "out"
    rescored(run, out, slice(2), workers=1)  # stopped after two directions
    edits = sorted((out / "edits").iterdir())
    assert len(edits) == 2 + 2 * 2  # two parts of unedited images; two directions, two kinds
    (out / "edits" / "unedited-00001.safetensors").unlink()
    rescored(run, out)
    assert contents(out) == contents(whole)


def test_what_is_damaged_or_lost_is_made_again_and_nothing_else(run, undisturbed, tmp_path):
    _, whole = undisturbed
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    edits = sorted((out / "edits").iterdir())
    lost = [path for path in edits if path.name.endswith("-step-1.safetensors")][:3]
    lost[0].unlink()
    lost[1].write_bytes(lost[1].read_bytes()[:-40])
    lost[2].write_bytes(b"not safetensors")
    (out / "rescore.md").unlink()
    before = {path: path.stat().st_mtime_ns for path in edits if path not in lost}
    rescored(run, out, workers=1)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert contents(out) == contents(whole)


def test_another_kind_of_edit_goes_on_and_another_number_of_edits_does_not(
    run, undisturbed, tmp_path
):
    _, whole = undisturbed
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    twice = replace(SETTINGS, step=2.0, by_effect=None)
    found = rescored(run, out, slice(1), twice, workers=1)
    assert set(found.kinds) == {"step"} and found.kinds["step"].rows[0].step == 2.0
    names = {path.name.partition("-")[2] for path in (out / "edits").glob("*-*-*")}
    assert names == {"step-1.safetensors", "step-2.safetensors", "effect-1.safetensors"}
    with pytest.raises(ConflictError, match="holds edits of another number of edits; expected"):
        rescored(run, out, slice(1), replace(SETTINGS, edits=61))
    with pytest.raises(ConflictError, match="holds edits of another seed"):
        rescored(run, out, slice(1), replace(SETTINGS, seed=2))
    told = json.loads((out / "rescoring.json").read_text())
    told["version and packages"]["numpy"] = "0"
    (out / "rescoring.json").write_text(json.dumps(told))
    with pytest.raises(ConflictError, match="holds edits of another version and packages"):
        rescored(run, out, slice(1))
    (out / "rescoring.json").write_text("[]")
    with pytest.raises(ConflictError, match="another generator and extractors and"):
        rescored(run, out, slice(1))


@pytest.mark.parametrize(
    "changed",
    [
        {"picked": np.array([0, 20])},
        {"picked": np.array([1, 0])},
        {"picked": np.array([-1, 0])},
        {"picked": np.array([0.0, 1.0])},
        {"picked": np.array([0])},
        {"values": np.zeros(2)},
        {"values": np.zeros((3, 4))},
        {"values": np.zeros((2, 4), np.int64)},
        {"descriptors": np.zeros((2, 3, 1))},
        {"more": np.zeros(1)},
    ],
    ids=str,
)
def test_a_strangers_unedited_images_are_none(changed, tmp_path):
    store, part = Store(str(tmp_path)), Part(0, 10)
    kept = Kept(np.array([0, 19]), np.zeros((2, 4)), np.zeros((2, 0)))
    keep_bases(store, part, kept)
    (name,) = (tmp_path / "edits").iterdir()
    assert read_bases(store, part).picked.tolist() == [0, 19]
    name.write_bytes(pack({**vars(kept), **changed}))
    assert read_bases(store, part) is None


def test_runs_and_catalogues_are_told_apart(run, tmp_path):
    url, catalog = open_catalog(str(run))
    assert url == f"{run}/dataset" and len(catalog.cards()) == 5
    named, same = open_catalog(f"{run}/catalog", dataset=f"{run}/dataset")
    assert (named, same.url) == (url, catalog.url)
    assert open_catalog(str(tmp_path), f"{run}/catalog", url)[1].url == catalog.url
    with pytest.raises(InputError, match="is a catalogue; expected --dataset too"):
        open_catalog(f"{run}/catalog")
    with pytest.raises(InputError, match="holds no finished run; expected the --out"):
        open_catalog(str(tmp_path))
    with pytest.raises(InputError, match="does not exist; expected the --out"):
        open_catalog(str(tmp_path / "none"))


def test_the_files_hold_what_is_returned(undisturbed):
    found, out = undisturbed
    told = json.loads((out / "rescore.json").read_text())
    assert set(told["edits"]) == {"step", "effect"}
    row = told["edits"]["effect"]["directions"][0]
    assert row["own"]["value"] == found.kinds["effect"].rows[0].own.value
    assert "60 held-out images" in told["facts"]["edits"]
    assert (out / "rescore.md").read_text().startswith("# Re-scoring of 5 directions")

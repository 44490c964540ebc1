"""Directions that nobody asked for: mined, measured, published and shown, faces or none."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from jobs.cards import named
from jobs.mining_data import mined_attributes, read_styles, without
from jobs.mining_stage import check_mining
from mining.description import describe
from schemas.directions import DirectionCard, Provenance, Response
from schemas.errors import InputError
from schemas.settings import RunSettings
from storage.catalog import Catalog
from storage.dataset import Dataset
from tests.examples.points import PointsGenerator

ROOT = Path(__file__).parents[2]
NOISE = "tests.examples.noise:NoiseGenerator"
POINTS = "tests.examples.points"
RANDOM = yaml.safe_load((ROOT / "jobs" / "configs" / "random64.yaml").read_text())
FACELESS = {
    **RANDOM,
    "dataset": {**RANDOM["dataset"], "samples": 24, "shard_size": 12, "image_size": 48},
    "engine": {"workers": 2, "object_store_mb": 128},
    "mining": {
        "attributes": ["yaw", "smile"],
        "methods": {
            "ridge": {},
            "nrsfm": {},
            "sefa": {"components": 3, "layers": [1, 3]},
            "pca": {"components": 2},
        },
    },
    "evaluation": {
        "identities": 3,
        "steps": [-1.0, 1.0],
        "bootstrap": 50,
        "strips": 1,
        "descriptor": False,
    },
}


def mine(settings: dict, folder: Path, environment) -> subprocess.CompletedProcess:
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({**settings, "out": str(folder / "out")}))
    command = [sys.executable, str(ROOT / "jobs" / "mine_directions.py"), "--config", str(path)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def card(slope: float = math.nan, **moves: float) -> DirectionCard:
    """Of "sefa1", with responses at a spread of 2."""
    responses = tuple(Response(k, "mm", v, v - 1, v + 1, 2.0) for k, v in moves.items())
    made = Provenance("d", 0, "{}", "0")
    vector = np.eye(1, 4, dtype=np.float32)[0]
    return DirectionCard(
        "sefa1", "1", "sefa", "w", "g", "f", "l", vector, made, slope=slope, responses=responses
    )


def test_an_aimless_direction_is_judged_by_what_it_moves_most():
    found = named(card(yaw=1.0, smile=-4.0, roll=math.nan))
    assert found.aimless and found.own.attribute == "smile"
    assert (found.unit, found.effect, found.effect_relative) == ("mm", -4.0, -2.0)
    assert (found.effect_low, found.effect_high) == (-5.0, -3.0)
    assert found.leak == pytest.approx(0.25)
    assert "moves smile most: -4 mm per unit step, 95 % -5 to -3" in found.notes
    assert found.direction_id == card().direction_id


def test_where_nothing_was_measured_it_says_so():
    for found in (named(card()), named(card(yaw=math.nan))):
        assert found.aimless and found.own is None and math.isnan(found.effect)
        assert found.unit == "1" and "is not known" in found.notes


def test_what_stays_where_it_is_is_not_what_it_moves():
    """No step in W moves a camera."""
    found = named(card(camera_yaw=0.0))
    assert found.own is None and found.effect_on is None and "is not known" in found.notes
    assert named(card(camera_yaw=0.0, smile=0.5)).effect_on == "smile"


def test_a_direction_with_an_aim_is_never_judged_by_another_attribute():
    for aimed in (card(slope=2.0, yaw=1.0), card(sefa1=math.nan, yaw=1.0)):
        assert not aimed.aimless and math.isnan(aimed.effect) and math.isnan(aimed.leak)


def described(**mining):
    settings = RunSettings.model_validate(
        {
            "generator": {"name": mining.pop("generator", NOISE)},
            "extractors": {f"{POINTS}:PointsExtractor": {}},
            "mining": mining,
        }
    )
    return settings.mining, describe(settings)


def test_attributes_are_asked_for_by_supervised_methods_alone():
    mining, manifest = described(methods={"sefa": {}, "pca": {}}, attributes=["no such"])
    assert mined_attributes(mining) == []
    check_mining(mining, manifest)
    mining, manifest = described(methods={"pca": {}, "ridge": {}}, attributes=["no such"])
    with pytest.raises(InputError, match="unknown attribute 'no such'"):
        check_mining(mining, manifest)


@pytest.mark.parametrize(
    ("methods", "generator", "said"),
    [
        ({"sefa": {"layers": [2, 5]}}, NOISE, r"layers \[2, 5\] came; noise has 4 rows"),
        ({"pca": {"components": 17}}, NOISE, "components is 17; W has 16"),
        ({"sefa": {"layers": [3, 1]}}, NOISE, "first < last"),
        ({"sefa": {"layer": 1}}, NOISE, "no option 'layer'; did you mean 'layers'"),
        ({"sefi": {}}, NOISE, "unknown method 'sefi'; did you mean 'sefa'"),
    ],
)
def test_a_mistake_is_told_before_any_work(methods, generator, said):
    mining, manifest = described(methods=methods, generator=generator)
    with pytest.raises(InputError, match=said):
        check_mining(mining, manifest)


def test_style_weights_are_read_where_a_method_does_and_it_is_skipped_where_there_are_none():
    engine = RunSettings().engine
    mining, manifest = described(methods={"sefa": {}})
    (weights, rows), skipped = read_styles(mining, manifest, engine)
    assert list(weights) == list(rows) == ["a", "b", "c", "d"] and skipped == {}
    mining, manifest = described(methods={"sefa": {}}, generator=f"{POINTS}:PointsGenerator")
    with pytest.raises(InputError, match="'points' has no style weights, which this method reads"):
        read_styles(mining, manifest, engine)
    both, _ = described(methods={"sefa": {}, "pca": {}})
    styles, skipped = read_styles(both, manifest, engine)
    assert styles == ({}, {}) and "'points' has no style weights" in skipped["sefa"]
    assert list(without(both, skipped).methods) == ["pca"] and list(both.methods) == ["sefa", "pca"]
    alone, _ = described(methods={"pca": {}})
    assert read_styles(alone, manifest, engine) == (({}, {}), {})


@pytest.fixture(scope="module")
def faceless(tmp_path_factory, environment) -> subprocess.CompletedProcess:
    return mine(FACELESS, tmp_path_factory.mktemp("faceless"), environment)


@pytest.mark.slow
@pytest.mark.ray
def test_a_run_that_finds_no_face_goes_to_its_end_and_says_so(faceless):
    assert faceless.returncode == 1, faceless.stderr  # what was asked for could not all be mined
    said = json.loads(faceless.stdout)
    assert (said["rows"], said["directions"], said["diagonality"]) == (24, 5, None)
    assert set(said["failures"]) == {"ridge yaw", "ridge smile", "nrsfm (control model)"}
    for why in said["failures"].values():
        assert "measured on none of 24 images" in why
    assert Dataset(said["dataset"]).statuses()["dlib"] == {"no_face": 24}
    lines = [json.loads(line) for line in faceless.stderr.splitlines() if line.startswith("{")]
    (done,) = [x for x in lines if (x["stage"], x["state"]) == ("generate", "done")]
    assert done["notes"] == {"dlib no_face": 24}
    page = Path(said["report"]).read_text()
    assert "None of the 24 images could be measured (24 × dlib: no face)" in page
    assert '<dt>images measured</dt><dd>24</dd><dd class="note">48 px</dd>' in page


@pytest.mark.slow
@pytest.mark.ray
def test_its_directions_are_published_with_nothing_measured(faceless):
    cards = Catalog(json.loads(faceless.stdout)["catalog"]).cards()
    names = {"sefa1@1-2", "sefa2@1-2", "sefa3@1-2", "pc1", "pc2"}
    assert {card.attribute for card in cards} == names
    for found in cards:
        assert found.aimless and found.own is None and math.isnan(found.effect)
        assert found.evidence["edits"] == 6 and found.evidence["edits_measured"] == 0
        assert "is not known" in found.notes and found.sigma > 0
        assert found.layers == ((1, 2) if found.method == "sefa" else ())
        assert np.linalg.norm(found.vector) == pytest.approx(1)
    first = next(card for card in cards if card.attribute == "pc1")
    assert first.sigma**2 * 24 / 23 == pytest.approx(first.evidence["variance"], rel=1e-5)


@pytest.mark.ray
@pytest.mark.slow
def test_without_supervised_methods_nothing_is_asked_of_faces(tmp_path, environment):
    settings = {
        **FACELESS,
        "generator": {"name": f"{POINTS}:PointsGenerator"},
        "extractors": {f"{POINTS}:PointsExtractor": {}},
        "dataset": {"samples": 60, "shard_size": 20, "thumbnail": 0},
        "mining": {"methods": {"pca": {"components": 3}}},
    }
    done = mine(settings, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["directions"], said["failures"]) == (3, {})
    truth = PointsGenerator().truth_rows
    for found in Catalog(said["catalog"]).cards():
        strongest = max(found.responses, key=lambda response: abs(response.relative))
        assert found.own == strongest and found.effect == strongest.per_step
        assert f"moves {strongest.attribute} most" in found.notes
        order = ["yaw", "pitch", "smile", "mouth_open"].index(strongest.attribute)
        planted = float(found.vector @ truth[order])  # what a unit step truly moves it by
        assert found.effect == pytest.approx(planted, abs=0.15)
    page = Path(said["report"]).read_text()
    assert "effect on " in page and "Nothing measured" not in page

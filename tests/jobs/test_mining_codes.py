"""Directions of the shape model's codes: asked for, mined, measured and published."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jobs.mining_data import mined_attributes, needs_control
from jobs.mining_stage import check_mining, make_config, settings_json
from mining.description import describe
from schemas.errors import InputError
from schemas.settings import RunSettings
from storage.catalog import Catalog

ROOT = Path(__file__).parents[2]
POINTS = "tests.examples.points"
SETTINGS = {
    "generator": {"name": f"{POINTS}:PointsGenerator"},
    "extractors": {f"{POINTS}:PointsExtractor": {}},
    "dataset": {"samples": 200, "shard_size": 50, "thumbnail": 0},
    "engine": {"workers": 2, "object_store_mb": 128},
    "mining": {
        "landmarks": "points_landmarks",
        "nrsfm": {"components": 3},
        "regressor": {"hidden": [64, 64]},
        "methods": {"codes": {"hold": []}, "pca": {"components": 2}},
    },
    "evaluation": {
        "identities": 3,
        "steps": [-1.0, 1.0],
        "bootstrap": 50,
        "strips": 1,
        "descriptor": False,
    },
}


def described(**codes):
    mining = {**SETTINGS["mining"], "methods": {"codes": codes}}
    settings = RunSettings.model_validate({**SETTINGS, "mining": mining})
    return settings.mining, describe(settings)


def test_codes_need_the_control_model_and_no_attributes():
    mining, manifest = described(codes=["yaw", "alpha_2"])
    assert needs_control(mining) and mined_attributes(mining) == []
    check_mining(mining, manifest)
    told = json.loads(settings_json("codes", make_config("codes", {}, 7), mining))
    assert told["method"]["seed"] == 7 and told["shape"]["components"] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"codes": ["alpha_3"]}, "unknown code 'alpha_3'; did you mean 'alpha_"),
        ({"hold": ["poses"]}, "unknown part of q in codes.hold 'poses'; did you mean 'pose'"),
        ({"held": []}, "no option 'held'; did you mean 'hold'"),
    ],
)
def test_a_mistake_is_told_before_any_work(options, said):
    mining, manifest = described(**options)
    with pytest.raises(InputError, match=said):
        check_mining(mining, manifest)


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_publishes_one_direction_per_code_and_measures_those_it_can(tmp_path, environment):
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({**SETTINGS, "out": str(tmp_path / "out")}))
    command = [sys.executable, str(ROOT / "jobs" / "mine_directions.py"), "--config", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["directions"], said["failures"]) == (13, {})
    cards = {x.attribute: x for x in Catalog(said["catalog"]).cards() if x.method == "codes"}
    assert set(cards) == {
        *("k11", "k12", "k22", "pitch", "yaw", "roll", "alpha_0", "alpha_1", "alpha_2"),
        *("t_x", "t_y"),
    }
    for name, card in cards.items():
        assert card.space == "w" and 0 < card.evidence["agreement"] <= 1
        assert card.aimless == (name not in ("pitch", "yaw", "roll"))
        assert math.isnan(card.slope) == card.aimless
        assert card.own is not None or name == "roll"  # which this extractor does not measure
    assert cards["yaw"].own.attribute == "yaw"  # its own response, not the strongest
    assert abs(cards["yaw"].effect) > 0
    assert "moves" in cards["t_x"].notes and not cards["yaw"].notes

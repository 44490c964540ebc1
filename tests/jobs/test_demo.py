"""The demo's own settings reach what the README promises of them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from mining.evaluation.matrix import rescoring_matrix
from storage.catalog import Catalog

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
# cosine of the best direction to the true one, from dlib alone
GOALS = {
    "yaw": 0.93,
    "pitch": 0.83,
    "roll": 0.92,
    "mouth_open": 0.80,
    "smile": 0.72,
    "eye_closed": 0.68,
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory, environment) -> dict:
    command = [sys.executable, str(ROOT / "jobs" / "mine_directions.py")]
    command += ["--out", str(tmp_path_factory.mktemp("demo"))]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(1500)
def test_every_method_mines_every_attribute(demo):
    assert demo["rows"] == 1500
    assert demo["directions"] == 35  # 28 and the control's
    assert demo["failures"] == {} and demo["near_duplicates"] == []
    assert demo["diagonality"] > 0.9  # of the 28


def test_the_control_is_far_from_every_true_direction(demo):
    control = [card for card in Catalog(demo["catalog"]).cards() if card.method == "random"]
    assert len(control) == 7 and all(math.isnan(card.stability) for card in control)
    known = [card.truth_cosine for card in control if card.truth_cosine is not None]
    assert known and max(map(abs, known)) < 5 / math.sqrt(512)  # chance gives a fifth of that


@pytest.mark.parametrize("attribute", GOALS)
def test_the_best_direction_is_near_the_truth(demo, attribute):
    card = Catalog(demo["catalog"]).best(attribute, space="w")
    assert card.truth_cosine is not None
    assert card.truth_cosine >= GOALS[attribute]


@pytest.mark.parametrize("attribute", GOALS)
def test_edits_move_the_right_attribute_most(demo, attribute):
    cards = Catalog(demo["catalog"]).cards(attribute)
    mined = set(GOALS) | {"brow_raise"}
    for card in mined_ones(cards):
        relative = {r.attribute: abs(r.relative) for r in card.responses if r.attribute in mined}
        assert max(relative, key=lambda name: relative[name]) == attribute, card.method


def mined_ones(cards) -> list:
    """All but the random control's."""
    return [card for card in cards if card.method != "random"]


def test_every_card_carries_what_it_costs(demo):
    for card in Catalog(demo["catalog"]).cards():
        assert 0 < card.identity_cost < 1
        assert card.evidence["edits_measured"] > 0.7 * card.evidence["edits"]


def test_the_report_is_whole_and_light(demo):
    page = Path(demo["report"])
    assert 500_000 < page.stat().st_size < 5_000_000
    assert rescoring_matrix(mined_ones(Catalog(demo["catalog"]).cards())).judged == 28

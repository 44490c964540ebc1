"""Cards say what was measured along their directions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jobs.cards import make_cards, named
from jobs.evaluation_stage import Evaluated
from jobs.mining_stage import Mined
from mining.evaluation.rescoring import Rescored
from mining.methods.base import Direction
from schemas.settings import RunSettings
from storage.catalog import Catalog
from tests.jobs.planted_dataset import Made, write_dataset

STEPS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
PAIRS = (("plan", "yaw"), ("plan", "age"))


def evaluated(attribute: str, slopes, seed: int) -> Evaluated:
    """Twenty identities that answer by these slopes of yaw and age."""
    rng = np.random.default_rng(seed)
    vector = rng.normal(size=8)
    found = Direction("ridge", vector / np.linalg.norm(vector), np.nan, attribute, "degrees")
    values = STEPS[:, None] * slopes + rng.normal(size=(20, 1, 2))
    distances = np.full(values.shape[:2], np.nan)
    rescored = Rescored(STEPS, 1.0, PAIRS, ("degrees", "1"), values, distances, {}, ())
    return Evaluated(found, 1.0, rescored)


@pytest.fixture
def cards(tmp_path, rng):
    """Of a direction of yaw, of one that moves nothing, and of one mined for no attribute."""
    made = Made({name: rng.normal(size=40) for _, name in PAIRS}, units={"yaw": "degrees"})
    dataset = write_dataset(tmp_path / "dataset", {"plan": made}, 40)
    told = {"mining": {"attributes": ["yaw", "age"], "methods": {"ridge": {}}}}
    tried = [("yaw", (-4.0, 1.0)), ("age", (0.0, 0.0)), ("pc0", (1.0, -3.0))]
    mined = Mined((), {"ridge": "{}"}, None, {})
    return make_cards(
        RunSettings.model_validate(told),
        dataset,
        mined,
        [evaluated(name, slopes, seed) for seed, (name, slopes) in enumerate(tried)],
    )


def test_a_card_is_calibrated_in_the_unit_of_what_it_moves(cards):
    yaw, age, aimless = cards
    assert yaw.calibration.step == pytest.approx(-0.25) and yaw.unit == "degrees"
    assert (yaw.calibration.low, yaw.calibration.high) == pytest.approx((-8, 8))
    np.testing.assert_allclose(yaw.calibration.values, -4 * STEPS, atol=1e-9)
    assert age.calibration is None  # it answers to nothing
    assert aimless.effect_on == "age" and aimless.unit == "1"
    assert aimless.calibration.step == pytest.approx(-1 / 3)


def test_an_aimless_card_says_how_much_of_its_response_its_name_is(cards):
    aimless = cards[2]
    assert aimless.notes.startswith("Mined without an attribute; of those measured it moves age ")
    squares = [response.relative**2 for response in aimless.responses]
    share = 100 * max(squares) / sum(squares)
    assert 70 < share < 100 and f", {share:.0f} % of its squared response." in aimless.notes
    age, yaw = (aimless.response(name) for name in ("age", "yaw"))
    unsure = replace(aimless, responses=(replace(age, low=-9.0, high=3.0), yaw))
    assert named(unsure).notes.endswith("; its interval holds 0, what it moves for sure is yaw.")
    neither = replace(aimless, responses=(replace(age, low=-9.0, high=3.0),))
    assert named(neither).notes.endswith("; its interval holds 0.")
    unmeasured = replace(aimless, responses=(replace(age, low=np.nan, high=np.nan),))
    assert named(unmeasured).notes.endswith(" per unit step.")


def test_a_catalogue_keeps_what_a_card_says_of_itself(cards, tmp_path):
    catalog = Catalog(str(tmp_path / "catalog"))
    catalog.publish(cards)
    for card in cards:
        assert catalog.get(card.direction_id).calibration == card.calibration

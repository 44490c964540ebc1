"""The criteria by which the best direction is chosen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from schemas.errors import InputError
from storage.ranking import MEASUREMENTS, choose, gain
from tests.storage.sample_cards import responses, sample_card


def card(effect: float, leak: float, truth: float | None = None, **changes):
    return sample_card(
        responses=responses("smile", effect, leak), truth_cosine=truth, notes=f"{effect}", **changes
    )


def columns(*cards):
    values = {name: [getattr(card, name) for card in cards] for name in MEASUREMENTS}
    return {name: np.array(each, float) for name, each in values.items()}


def test_the_truth_decides_where_it_is_known():
    strong, true = card(effect=9.0, leak=0.0, truth=0.5), card(effect=1.0, leak=2.0, truth=0.9)
    assert choose([strong, true]) is true
    assert choose([card(99.0, 0.0), true]) is true  # ahead of those without a truth
    assert choose([card(1.0, 0.0, truth=-0.99), strong]) is strong  # the wrong way is no good


def test_a_strong_clean_effect_decides_elsewhere():
    weak, dirty, clean = card(1.0, leak=0.1), card(4.0, leak=3.0), card(3.0, leak=0.1)
    assert choose([weak, dirty, clean]) is clean
    assert choose([card(-3.0, leak=0.1), weak]).effect == -3.0  # its sign is only a convention
    assert gain(columns(clean)) == pytest.approx(3.0 / 2.0 * 0.5 / 1.1)  # spread 2, sigma 0.5


def test_an_unmeasured_leak_or_sigma_counts_as_one():
    lone = sample_card(responses=responses("smile", 4.0, 0.1)[:1], sigma=math.nan)
    assert gain(columns(lone)) == pytest.approx(4.0 / 2.0 / 2.0)


def test_sigma_makes_spaces_comparable():
    z = card(1.0, leak=0.1, space="z", sigma=1.0)
    w = card(2.0, leak=0.1, space="w", sigma=0.2)
    assert choose([w, z]) is z


@pytest.mark.parametrize(
    ("by", "wins"), [("truth_cosine", 1), ("effect", 0), ("leak", 1), ("identity_cost", 2)]
)
def test_every_criterion(by, wins):
    cards = [
        card(5.0, leak=0.5, truth=0.2, identity_cost=0.3),
        card(2.0, leak=0.1, truth=0.9, identity_cost=0.2),
        card(3.0, leak=0.4, identity_cost=0.1),
    ]
    assert choose(cards, by) is cards[wins]


def test_what_was_not_measured_stands_aside():
    unmeasured, measured = sample_card(responses=(), truth_cosine=None), card(1.0, leak=0.1)
    assert choose([measured, unmeasured]) is measured
    with pytest.raises(InputError, match="none of 1 directions was measured for 'identity_cost'"):
        choose([measured], "identity_cost")


def test_of_equals_the_last_published():
    first, second = card(1.0, leak=0.1), card(1.0, leak=0.1)
    assert choose([first, second]) is second


def test_an_unknown_criterion_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'truth_cosine'"):
        choose([sample_card()], "truth_cosin")

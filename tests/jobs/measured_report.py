"""A small report with everything that can be measured of its directions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from jobs.report.data import ReportData
from jobs.report.response_curves import ResponseCurve
from mining.evaluation.stability import Stability
from schemas.directions import Calibration, DirectionCard, Response
from tests.jobs.test_report import make_card, make_data

STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)  # in sigma
SIGMA = 1.25


def smiling(method: str, seed: int, effect: float = 0.8) -> DirectionCard:
    """A smile that drags the age along."""
    answers = (
        Response("smile", "1", effect, effect - 0.2, effect + 0.2, 1.0),
        Response("age", "years", 0.5, 0.2, 0.8, 10.0),
    )
    return replace(make_card("smile", method, seed), unit="1", responses=answers)


def measured(card: DirectionCard) -> DirectionCard:
    """The card with a calibration that holds to 1 sigma, and with stability."""
    reach = abs(card.effect) * SIGMA
    values = tuple(reach * max(-1.0, min(1.0, step)) for step in STEPS)
    steps = tuple(SIGMA * step for step in STEPS)
    made = Calibration(1 / card.effect, -reach, reach, values, steps, 0.9, 0.08)
    return replace(card, calibration=made, stability=0.93, stability_low=0.9, stability_high=0.95)


def curve_of(card: DirectionCard) -> ResponseCurve:
    """Straight, with an interval that grows with the step."""
    own = card.own
    assert own is not None
    mean = own.per_step * SIGMA * np.array(STEPS)
    room = 0.1 * abs(own.per_step) * np.abs(STEPS)
    steps, *lines = (
        tuple(line.tolist()) for line in (SIGMA * np.array(STEPS), mean, mean - room, mean + room)
    )
    return ResponseCurve(card.direction_id, own.attribute, own.unit, steps, *lines, identities=20)


def make_measured(name: str = "yaw") -> ReportData:
    """Two of four directions calibrated and stable, all with curves and changes of identity."""
    base = make_data(name)
    cards = (*base.cards[:2], smiling("svm", 4), smiling("robust_pca", 5, 0.6))
    cards = (*(measured(card) for card in cards[:2]), *cards[2:])
    sizes = ((120, 0.7), (300, 0.85), (600, 0.96))
    found = Stability((0.9, 0.94, 0.95), (0.97, 0.99), sizes, "12 rows: too few")
    changes = (0.011, 0.012, 0.03, 0.02)
    return replace(
        base,
        cards=cards,
        skipped={"sefa": f"{name}: a generator without style weights"},
        response_curves=tuple(curve_of(card) for card in cards),
        stability={card.direction_id: found for card in cards[:2]},
        identity={
            card.direction_id: (change, 0.8 * change, 1.2 * change)
            for card, change in zip(cards, changes, strict=True)
        },
    )

"""The truth leaderboard from planted cards: what stands on it, in which order, and its texts."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from mining.evaluation.leaderboard import Board, leak_of, scores_of
from mining.evaluation.leaderboard_text import as_csv, as_json, as_markdown, marked, shown
from mining.generators.base import Truth
from schemas.directions import Artefact, DirectionCard, Provenance, Response

NAN = float("nan")
TRUTH = Truth(("yaw", "smile"), ("degrees", "1"), (0, 0), np.eye(4, dtype=np.float32)[:2])
NAMES = {"yaw": "yaw", "grin": "smile"}  # a column that reads the truth's smile


def card(method, attribute, vector, answers, sigma=2.0, slope=1.0, cost=0.1) -> DirectionCard:
    """answers: attribute -> (per step, spread)."""
    responses = tuple(
        Response(name, "1", value, value, value, spread)
        for name, (value, spread) in answers.items()
    )
    vector = np.asarray(vector, np.float32) / np.linalg.norm(vector)
    return DirectionCard(
        attribute, "1", method, "w", "toy", "0" * 64, "none", vector, Provenance("d", 0, "{}", "1"),
        sigma=sigma, slope=slope, responses=responses, identity_cost=cost,
    )  # fmt: skip


def two_methods(samples=500):
    cards = [
        card("ridge", "yaw", [1, 0, 0, 0], {"yaw": (8.0, 4.0), "grin": (0.1, 0.5)}),
        card("ridge", "grin", [0, 1, 0, 1], {"yaw": (0.4, 4.0), "grin": (0.5, 0.5)}),
        card("pca", "pc1", [-1, 0, 1, 0], {"yaw": (-8.0, 4.0), "grin": (0.1, 0.5)}, slope=NAN),
        card("pca", "pc2", [0, 0, 1, 1], {"yaw": (1.0, 4.0), "grin": (0.5, 0.5)}, slope=NAN),
    ]
    return scores_of(cards, samples, TRUTH, NAMES, {("ridge", "yaw"): 0.5, ("pca", ""): 0.25})


def board(*sizes) -> Board:
    scores = [score for size in sizes for score in two_methods(size)]
    return Board(tuple(scores), {"generator": "toy"}, {}, {}, {})


def test_what_has_no_vector_stands_by_what_its_card_says():
    made = card("flow", "yaw", [1, 0, 0, 0], {"yaw": (4.0, 4.0), "grin": (0.1, 0.5)})
    flow = dataclasses.replace(
        made,
        vector=np.empty(0, np.float32),
        artefact=Artefact("flow", "0" * 64, 9),
        truth_cosine=0.75,
    )
    whole = dataclasses.replace(flow, attribute="all", slope=NAN, responses=(), truth_cosine=None)
    (score,) = scores_of([flow, whole], 500, TRUTH, NAMES, {("flow", ""): 3.0})
    assert (score.attribute, score.cosine, score.seconds) == ("yaw", 0.75, 3.0)
    assert (score.effect, score.leak) == (pytest.approx(2), pytest.approx(0.2))


def test_each_method_has_one_direction_of_each_attribute():
    found = {(score.method, score.attribute): score for score in two_methods()}
    assert set(found) == {(m, a) for m in ("ridge", "pca") for a in NAMES}
    yaw, grin = found["ridge", "yaw"], found["ridge", "grin"]
    assert (yaw.cosine, yaw.effect, yaw.chosen) == (pytest.approx(1), pytest.approx(4), "")
    assert yaw.leak == pytest.approx(0.2 / 2) and yaw.seconds == 0.5
    assert grin.cosine == pytest.approx(np.sqrt(0.5)) and np.isnan(grin.seconds)
    assert yaw.identity_per_spread == pytest.approx(0.1 / 4)


def test_of_components_the_one_that_moves_the_attribute_most_is_turned_so_that_it_grows():
    found = {score.attribute: score for score in two_methods() if score.method == "pca"}
    assert found["yaw"].chosen == "pc1" and found["grin"].chosen == "pc2"
    assert found["yaw"].cosine == pytest.approx(np.sqrt(0.5))  # of minus pc1
    assert found["yaw"].effect == pytest.approx(4) and found["yaw"].seconds == 0.25
    assert found["grin"].cosine == 0  # the truth has no say in which is taken


def test_methods_are_ranked_by_their_mean_cosine_at_the_largest_size():
    made = board(500, 2000)
    assert made.samples == (500, 2000) and made.methods == ("ridge", "pca")
    np.testing.assert_allclose(made.table(500, "cosine"), [[1, 0.5**0.5], [0.5**0.5, 0]], atol=1e-6)
    assert made.mean("ridge", 500, "cosine") == pytest.approx((1 + 0.5**0.5) / 2)
    assert made.mean("ridge", 500, "seconds") == 0.5
    assert np.isnan(made.mean("ridge", 77, "cosine"))


def test_a_leak_of_what_does_not_move_is_infinite_and_of_what_is_alone_unknown():
    still = (Response("yaw", "1", 0.0, 0, 0, 4.0), Response("grin", "1", 1.0, 1, 1, 0.5))
    assert np.isinf(leak_of(still, "yaw")) and leak_of(still, "grin") == 0
    assert np.isnan(leak_of(still[:1], "yaw")) and np.isnan(leak_of(still, "age"))


def test_an_identity_cost_of_what_does_not_move_is_infinite():
    (score,) = scores_of(
        [card("svm", "yaw", [1, 0, 0, 0], {"yaw": (0.0, 4.0)})], 500, TRUTH, {"yaw": "yaw"}, {}
    )
    assert score.effect == 0 and np.isinf(score.identity_per_spread)
    assert np.isnan(dataclasses.replace(score, identity=NAN).identity_per_spread)
    assert np.isnan(dataclasses.replace(score, effect=NAN).identity_per_spread)


def test_texts_hold_every_number_and_mark_the_best():
    made = board(500, 2000)
    rows = list(csv.DictReader(io.StringIO(as_csv(made))))
    assert len(rows) == 8 and {row["samples"] for row in rows} == {"500", "2000"}
    assert float(rows[0]["cosine"]) == pytest.approx(1)
    told = json.loads(json.dumps(as_json(made), allow_nan=False))
    assert told["scores"][1]["seconds"] is None and len(told["scores"]) == 8
    text = as_markdown(made)
    assert "| ridge | **0.854**" in text and "cosine at 2,000" in text
    assert marked([0.5, 0.2, NAN], "leak") == ["0.50", "**0.20**", "–"]
    assert marked([0.5, 0.2], "seconds") == ["0.50", "0.20"]
    assert shown(-0.0002, "cosine") == "0.000" and shown(-0.2, "cosine") == "-0.200"
    assert shown(float("inf"), "leak") == "∞" and shown(123.4, "seconds") == "123"


def test_a_board_of_nothing_has_no_rows():
    empty = Board((), {}, {"500 samples: svm yaw": "too few"}, {}, {})
    assert empty.samples == () and as_csv(empty).count("\n") == 1
    assert "method" in as_markdown(empty)

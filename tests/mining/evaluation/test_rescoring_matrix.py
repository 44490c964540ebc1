"""The matrix over many directions, and the leaderboard against the truth."""

from __future__ import annotations

import numpy as np
import pytest

from mining.evaluation.matrix import direction_names, rescoring_matrix, truth_leaderboard
from schemas.directions import DirectionCard, Provenance, Response


def card(attribute, method, answers, cosine=None, space="w", seed=0) -> DirectionCard:
    """answers: attribute -> (per step, spread)."""
    responses = tuple(
        Response(name, "degrees", value, value - 1, value + 1, spread)
        for name, (value, spread) in answers.items()
    )
    made = Provenance("data", seed, "{}", "0.1.0")
    vector = np.eye(4, dtype=np.float32)[0]
    return DirectionCard(
        attribute, "degrees", method, space, "toy", "0" * 64, "none", vector, made,
        responses=responses, truth_cosine=cosine,
    )  # fmt: skip


def test_rows_columns_and_both_units():
    cards = [
        card("yaw", "ridge", {"yaw": (8.0, 4.0), "smile": (0.1, 0.2)}),
        card("smile", "ridge", {"smile": (0.2, 0.2), "pitch": (3.0, 2.0)}),
    ]
    matrix = rescoring_matrix(cards)
    assert matrix.names == ("yaw · ridge", "smile · ridge")
    assert matrix.attributes == ("yaw", "smile", "pitch")
    assert matrix.own == (0, 1)
    np.testing.assert_allclose(matrix.raw, [[8.0, 0.1, np.nan], [np.nan, 0.2, 3.0]])
    np.testing.assert_allclose(matrix.relative, [[2.0, 0.5, np.nan], [np.nan, 1.0, 1.5]])
    assert (matrix.diagonality, matrix.judged) == (0.5, 2)  # smile's direction moves pitch more


def test_a_negative_own_response_still_moves_most():
    matrix = rescoring_matrix([card("yaw", "pca", {"yaw": (-8.0, 4.0), "smile": (0.1, 0.2)})])
    assert matrix.diagonality == 1.0


def test_another_reading_of_the_own_quantity_is_no_rival():
    moved = {"mouth_open": (1.0, 1.0), "jaw_open": (0.9, 0.5), "shape3d_mouth_open": (3.0, 1.0)}
    mouth = card("mouth_open", "ridge", {**moved, "smile": (0.2, 0.2)})
    smile = card("smile", "ridge", {**moved, "smile": (0.2, 0.2)})  # for it they are rivals
    matrix = rescoring_matrix([mouth, smile])
    assert (matrix.diagonality, matrix.judged) == (0.5, 2)
    assert rescoring_matrix([card("mouth_open", "ridge", moved)]).judged == 0  # nothing to beat


def test_a_column_without_a_spread_is_no_rival_and_is_told():
    flat, empty = (3e-6, float("nan")), (float("nan"), float("nan"))
    answers = {"yaw": (8.0, 4.0), "nose_sneer": flat, "smile": (0.1, 0.2), "lost": empty}
    matrix = rescoring_matrix([card("yaw", "ridge", answers)])
    assert (matrix.diagonality, matrix.judged) == (1.0, 1)
    assert matrix.spreadless == ("nose_sneer",)  # what was not measured has no spread to lack


def test_directions_that_cannot_be_judged_are_left_out():
    cards = [
        card("component_1", "pca", {"yaw": (8.0, 4.0), "smile": (0.1, 0.2)}),
        card("yaw", "ridge", {"yaw": (8.0, 4.0)}),
        card("yaw", "svm", {"yaw": (float("nan"), 4.0), "smile": (0.1, 0.2)}),
    ]
    matrix = rescoring_matrix(cards)
    assert matrix.own == (-1, 0, 0)
    assert matrix.judged == 0 and np.isnan(matrix.diagonality)
    empty = rescoring_matrix([])
    assert empty.raw.shape == (0, 0) and np.isnan(empty.diagonality)


def test_names_are_unique_and_no_longer_than_needed():
    same = [card("yaw", "ridge", {}, seed=seed) for seed in (0, 1)]
    other = [card("yaw", "ridge", {}, space="w+"), card("smile", "ridge", {})]
    names = direction_names(same + other)
    assert len(set(names)) == 4
    assert names[2:] == ("yaw · ridge · w+", "smile · ridge")
    assert names[0] == f"yaw · ridge · w · {same[0].direction_id[:8]}"


def test_the_leaderboard_puts_the_best_mean_first():
    board = truth_leaderboard(
        [
            card("yaw", "pca", {}, cosine=0.5),
            card("yaw", "ridge", {}, cosine=0.9),
            card("yaw", "ridge", {}, cosine=0.7, seed=1),
            card("smile", "ridge", {}, cosine=0.6),
            card("smile", "sefa", {}),
            card("smile", "pca", {}, cosine=float("nan")),
        ]
    )
    assert board is not None
    assert board.methods == ("ridge", "pca")
    assert board.attributes == ("yaw", "smile")
    np.testing.assert_allclose(board.cosines, [[0.8, 0.6], [0.5, np.nan]])
    assert board.means == pytest.approx([0.7, 0.5])
    assert truth_leaderboard([card("yaw", "pca", {})]) is None

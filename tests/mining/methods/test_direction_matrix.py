"""Delta w = A Delta p: what a matrix moves, what it reads, and what it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mining.methods.direction_matrix import directions_of
from mining.methods.matrix_config import PRESETS, MatrixConfig
from mining.methods.matrix_rivals import inverse
from schemas.errors import InputError
from tests.mining.methods.planted_matrix import made


def rows_of_w_plus(rng, count=5, rows=4, width=6):
    return rng.normal(size=(count, rows, width)).astype(np.float32)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_no_change_moves_nothing(space, rng):
    matrix, w_plus = made(space=space), rows_of_w_plus(rng)
    assert not matrix.delta(np.zeros((5, 3))).any()
    np.testing.assert_array_equal(matrix.moved(w_plus, {}), w_plus)
    np.testing.assert_array_equal(matrix.moved(w_plus, np.zeros(3)), w_plus)
    np.testing.assert_array_equal(matrix.transferred(w_plus, w_plus), w_plus)


def test_what_is_named_moves_by_its_own_column_and_a_whole_change_by_a(rng):
    plain = made()
    alone = rng.normal(size=plain.vectors.shape)
    matrix = made(alone=alone)
    w_plus = rng.normal(size=(3, plain.num_ws, plain.latent_shape[-1]))
    name = plain.names[1]
    step = matrix.moved(w_plus, {name: 2.0}) - w_plus
    np.testing.assert_allclose(step, np.broadcast_to(2 * alone[1], step.shape), atol=1e-5)
    whole = np.array([[0.0, 2.0, 0.0]])
    np.testing.assert_array_equal(matrix.moved(w_plus, whole), plain.moved(w_plus, whole))
    found = directions_of(matrix)[1]
    np.testing.assert_allclose(found.vector, alone[1] / np.linalg.norm(alone[1]))
    assert found.slope == pytest.approx(1 / np.linalg.norm(alone[1]))


def test_a_bias_moves_a_latent_even_then(rng):
    matrix = made(bias=np.ones(6))
    assert matrix.delta(np.zeros((1, 3))).tolist() == [[1.0] * 6]


def test_a_named_change_is_that_column(rng):
    matrix, w_plus = made(), rows_of_w_plus(rng)
    moved = matrix.moved(w_plus, {"pitch": 2.0, "yaw": -1.0})
    step = 2 * matrix.vectors[1] - matrix.vectors[0]
    np.testing.assert_allclose(moved, w_plus + step, atol=1e-5)
    np.testing.assert_array_equal(moved, matrix.moved(w_plus, np.array([-1.0, 2.0, 0.0])))


def test_only_its_rows_of_w_plus_move(rng):
    w_plus = rows_of_w_plus(rng)
    moved = made(layers=(1, 2)).moved(w_plus, {"yaw": 3.0})
    np.testing.assert_array_equal(moved[:, [0, 3]], w_plus[:, [0, 3]])
    assert (moved[:, [1, 2]] != w_plus[:, [1, 2]]).any(axis=2).all()


def test_a_transfer_gives_the_targets_parameters(rng):
    matrix = made()
    matrix = dataclasses.replace(matrix, vectors=inverse(matrix.reading, np.ones(6)))
    source, target = np.repeat(rng.normal(size=(2, 5, 1, 6)), 4, axis=2)
    wanted = matrix.parameters(matrix.latents(target))
    moved = matrix.transferred(source, target)
    np.testing.assert_allclose(matrix.parameters(matrix.latents(moved)), wanted, atol=1e-5)
    turned = matrix.parameters(matrix.latents(matrix.transferred(source, target, ["yaw"])))
    before = matrix.parameters(matrix.latents(source))
    np.testing.assert_allclose(turned[:, 0], wanted[:, 0], atol=1e-5)
    np.testing.assert_allclose(turned[:, 1:], before[:, 1:], atol=1e-5)


def test_one_target_serves_all_sources(rng):
    matrix, source = made(), rows_of_w_plus(rng)
    target = rows_of_w_plus(rng, 1)
    alike = matrix.transferred(source, np.repeat(target, 5, axis=0))
    np.testing.assert_allclose(matrix.transferred(source, target), alike, atol=1e-6)


def test_a_w_is_read_off_the_rows_that_move(rng):
    w = rng.normal(size=(3, 1, 6))
    w_plus = np.concatenate([np.repeat(w, 2, axis=1), rng.normal(size=(3, 2, 6))], axis=1)
    np.testing.assert_array_equal(made(layers=(0, 1)).latents(w_plus), w[:, 0])


def test_columns_are_directions_that_say_their_step(rng):
    matrix = made(layers=(0, 1), evidence={"r2_pitch": 0.5})
    found = directions_of(matrix)
    assert [each.attribute for each in found] == ["yaw", "pitch", "roll"]
    for each, column in zip(found, matrix.vectors, strict=True):
        assert np.linalg.norm(each.vector) == pytest.approx(1)
        np.testing.assert_allclose(each.vector / each.slope, column)  # one unit of the parameter
        assert (each.method, each.unit, each.layers) == ("direction_matrix", "degrees", (0, 1))
    assert found[1].evidence["r2"] == 0.5
    wide = directions_of(made(space="w+"))
    assert wide[0].vector.shape == (4, 6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"jaw": 1.0}, "unknown parameter of the direction matrix 'jaw'"),
        (np.zeros(2), r"a change \(2,\) came; expected \(3,\)"),
        (np.zeros((4, 3)), "4 changes came for 5 latents"),
        ({"yaw": float("nan")}, "NaN"),
    ],
)
def test_changes_that_do_not_fit_are_refused(change, said, rng):
    with pytest.raises(InputError, match=said):
        made().moved(rows_of_w_plus(rng), change)


def test_latents_of_another_generator_are_refused(rng):
    with pytest.raises(InputError, match="another generator"):
        made().moved(rows_of_w_plus(rng, rows=3), {"yaw": 1.0})
    with pytest.raises(InputError, match="another generator"):
        made().transferred(rows_of_w_plus(rng), rows_of_w_plus(rng, width=5))


@pytest.mark.parametrize(
    "changed",
    [
        {"vectors": np.zeros((3, 5))},
        {"offset": np.zeros(2)},
        {"units": ("degrees",)},
        {"space": "z"},
        {"space": "w+"},
        {"latent_shape": (2, 3)},
        {"bias": np.zeros(5)},
        {"alone": np.zeros((3, 5))},
        {"names": ("yaw", "yaw", "roll")},
        {"scale": np.zeros(3)},
        {"layers": (3, 1)},
        {"layers": (0, 4)},
        {"num_ws": 0},
    ],
)
def test_parts_that_do_not_fit_are_refused(changed):
    with pytest.raises(InputError, match="direction_matrix"):
        dataclasses.replace(made(), **changed)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"chain": "video"}, "unknown chain of direction_matrix 'video'"),
        ({"training": "real"}, "unknown training"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"identity_weight": -1.0}, "identity_weight is -1"),
        ({"shape_weight": 0.0, "eye_weight": 0.0, "mouth_weight": 0.0}, "nothing says"),
        ({"single": 1.5}, "single is 1.5"),
        ({"tail": 0.5}, "tail is 0.5"),
        ({"batch": 0}, "batch is 0"),
        ({"epochs": -1}, "epochs is -1"),
        ({"layers": (3, 2)}, "layers"),
        ({"parameters": ("yaw", "yaw")}, "repeat"),
        ({"held_out": 0.9}, "held_out"),
    ],
)
def test_settings_out_of_range_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        MatrixConfig(**options)


def test_the_papers_numbers():
    paper = PRESETS["paper"]
    assert (paper.learning_rate, paper.batch, paper.steps * paper.epochs) == (1e-4, 12, 20_000)
    assert paper.steps * paper.paired_epochs == 150_000
    assert (paper.identity_weight, paper.perceptual_weight, paper.reach) == (10, 10, 6)
    assert (paper.layers, paper.expressions, paper.single, paper.bias) == ((0, 8), 12, 0.5, False)

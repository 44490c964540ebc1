"""The training on planted people: what it finds, that it resumes, and what it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mining.generators.head.parameters import PARAMETERS
from mining.generators.registry import make_generator
from mining.methods.direction_matrix import mine_direction_matrix
from mining.methods.learned import LearnedRows, ShapeCodes
from mining.methods.matrix_file import matrix_of
from mining.methods.matrix_mining import coordinates, in_w_plus, ordered, taken
from mining.methods.matrix_pairs import SYNTHETIC, Pool, drawn, mode_of, stages_of
from schemas.errors import InputError, RunError
from tests.mining.methods.planted_matrix import CONFIG, NAMES, ROWS, UNITS, D, K, cosines, people


@pytest.fixture(scope="module")
def planted():
    return people()


@pytest.fixture(scope="module")
def unpaired():
    return people(sequences=0)


def mined(rows, config=CONFIG, **more):
    found = mine_direction_matrix(rows, config, **more)
    return matrix_of(found.artefact, "it"), found


class Killed(Exception):
    """A training that is stopped from outside."""


def stopped_after(rows, config, epochs, **more):
    """The checkpoint of the last whole epoch of a training that is stopped."""
    kept = []

    def keep(checkpoint):
        kept.append(checkpoint)
        if checkpoint.epoch == epochs:
            raise Killed

    with pytest.raises(Killed):
        mine_direction_matrix(rows, config, keep=keep, **more)
    return kept[-1]


def with_inverted(rows, seed=3):
    noisy = rows.latents[:80] + 0.1 * np.random.default_rng(seed).normal(size=(80, D))
    return dataclasses.replace(rows, inverted=noisy.astype(np.float32))


# what it finds


def test_pairs_find_the_planted_columns(planted):
    matrix, found = mined(planted.rows)
    assert (matrix.names, matrix.mode) == (NAMES, "paired")
    assert cosines(matrix, planted.motion).min() > 0.98
    ratio = np.linalg.norm(matrix.vectors, axis=1) / np.linalg.norm(planted.motion, axis=1)
    np.testing.assert_allclose(ratio, 1, atol=0.1)  # steps are of a unit each
    assert [each.attribute for each in found.directions] == list(NAMES)
    assert found.kind == "matrix" and found.evidence["r2_read_yaw"] > 0.95


def test_pairs_keep_identity_out_where_it_leaks_into_what_is_measured():
    leaking = people(leak=2.0)
    alone = dataclasses.replace(CONFIG, training="synthetic")
    paired, unpaired = mined(leaking.rows)[0], mined(leaking.rows, alone)[0]
    assert cosines(paired, leaking.motion)[3] > 0.97
    assert cosines(unpaired, leaking.motion)[3] < 0.8


@pytest.mark.parametrize("start", ["zeros", "normal"])
def test_losses_alone_find_pose(unpaired, start):
    config = dataclasses.replace(
        CONFIG,
        start=start,
        training="synthetic",
        steps=60,
        epochs=4,
        learning_rate=5e-3,
        latent_weight=1e-3,
        surrogate={"epochs": 20, "hidden": []},
    )
    matrix, found = mined(unpaired.rows, config)
    assert cosines(matrix, unpaired.motion)[:3].min() > 0.9
    assert found.evidence["held_out_loss"] < 0.3 * found.evidence["start_loss"]
    curve = found.curves[0]
    assert len(curve.training) == len(curve.held_out) == 4
    assert min(curve.held_out) == found.evidence["held_out_loss"]  # the best epoch is kept


def test_a_step_of_no_change_is_none_without_a_bias(planted):
    matrix, _ = mined(planted.rows, dataclasses.replace(CONFIG, start="zeros", bias=True))
    assert matrix.bias is not None and matrix.delta(np.zeros((1, K))).any()
    matrix, _ = mined(planted.rows)
    assert matrix.bias is None and not matrix.delta(np.zeros((1, K))).any()


def test_w_plus_moves_its_rows_alone():
    config = dataclasses.replace(CONFIG, layers=(1, 3), paired_epochs=1)
    matrix, _ = mined(people(space="w+").rows, config)
    columns = matrix.vectors.reshape(K, ROWS, D)
    assert matrix.layers == (1, 2)
    assert not columns[:, [0, 3]].any() and columns[:, [1, 2]].any(axis=2).all()


def test_rows_beyond_the_last_of_w_plus_are_left_out(planted):
    matrix, _ = mined(planted.rows, dataclasses.replace(CONFIG, layers=(1, 8), paired_epochs=0))
    assert matrix.layers == (1, 2, 3)
    with pytest.raises(InputError, match="4 rows of W"):
        mined(planted.rows, dataclasses.replace(CONFIG, layers=(4, 8)))


def test_published_columns_do_not_hold_what_is_hardly_measured(rng):
    good = people(sequences=200)
    codes, spread = good.rows.codes, good.truth.std(axis=0)
    measured = codes.moving.copy()
    noise = 3 * rng.normal(size=len(measured))
    traces = 0.5 * good.truth[:, -1] / spread[-1] - 0.8 * good.truth[:, 0] / spread[0]
    measured[:, -1] = spread[-1] * (traces + noise)  # the last parameter: little of itself
    spoiled = dataclasses.replace(good.rows, codes=dataclasses.replace(codes, moving=measured))
    matrix, found = mined(spoiled)
    assert cosines(matrix, good.motion)[0] < 0.9  # holding it drags the last motion along
    assert cosines(matrix.by_name(), good.motion)[:-1].min() > 0.97
    columns = np.stack([each.vector / each.slope for each in found.directions])
    np.testing.assert_allclose(columns, matrix.columns, rtol=1e-9)


def test_named_parameters_still_hold_the_others(planted):
    config = dataclasses.replace(CONFIG, parameters=("smile", "yaw"))
    some, whole = mined(planted.rows, config)[0], mined(planted.rows)[0]
    assert some.names == ("smile", "yaw")
    np.testing.assert_array_equal(some.vectors, whole.vectors[[3, 0]])
    np.testing.assert_array_equal(some.columns, whole.columns[[3, 0]])
    with pytest.raises(InputError, match="unknown parameter of direction_matrix 'jaw'"):
        mined(planted.rows, dataclasses.replace(CONFIG, parameters=("jaw",)))


def test_heads_take_the_targets_pose_and_expression_and_keep_the_rest():
    """The embedded generator, measured without images: true parameters, noise, and identity that
    leaks into the smile."""
    head = make_generator("head", resolution=64, entanglement=0.3)
    rng, names = np.random.default_rng(8), head.truth().names
    moving = [names.index(name) for name in NAMES]
    axes = head.truth().directions.astype(float)
    motion = axes[[k for k, each in enumerate(PARAMETERS) if each.layer in ("pose", "expression")]]
    person = np.concatenate([np.arange(200), 200 + np.repeat(np.arange(60), 4)])
    own, other = (head.map(head.sample_z(n, rng)).astype(float) for n in (260, 440))
    w = own[person] + (other - own[person]) @ motion.T @ motion
    true = head.parameters(head.broadcast(w.astype(np.float32))).astype(float)
    codes = true[:, moving] + 0.1 * true[:, moving].std(axis=0) * rng.normal(size=(440, K))
    codes[:, 3:] /= true[:, moving[3:]].std(axis=0)
    still = [k for k in range(len(names)) if PARAMETERS[k].layer not in ("pose", "expression")]
    spread = true[:, still].std(axis=0)
    codes[:, 3] += true[:, still[0]] / spread[0]
    rows = LearnedRows(
        w.astype(np.float32),
        "w",
        w.shape[1:],
        head.num_ws,
        codes=ShapeCodes(NAMES, UNITS, codes, (true[:, still] / spread)[:, :5]),
        sequences=np.where(person >= 200, person, -1),
    )
    matrix, _ = mined(rows)
    fresh = head.broadcast(head.map(head.sample_z(200, rng)))
    before, wanted = (head.parameters(part).astype(float) for part in (fresh[:100], fresh[100:]))
    after = head.parameters(matrix.transferred(fresh[:100], fresh[100:])).astype(float)
    assert np.abs(after - wanted)[:, moving[:3]].mean(axis=0).max() < 3  # degrees
    for k in moving[3:]:
        assert np.corrcoef(after[:, k], wanted[:, k])[0, 1] > 0.85
    assert (np.abs(after - before)[:, still] / spread).mean() < 0.15


# equal results


@pytest.mark.parametrize(
    ("changes", "inverted"),
    [
        ({}, False),
        ({"training": "synthetic", "start": "zeros", "metric": "none", "bias": True}, False),
        (
            {"start": "normal", "schedule": "constant", "weight_decay": 1e-3, "inside": False},
            False,
        ),  # two stages
        ({"start": "normal", "change": "codes"}, True),  # mixed, then pairs
    ],
)
def test_resumed_after_any_epoch_is_the_same_to_the_last_byte(planted, changes, inverted):
    config = dataclasses.replace(CONFIG, **changes)
    rows = with_inverted(planted.rows) if inverted else planted.rows
    seen = []
    whole = mine_direction_matrix(rows, config, keep=seen.append)
    assert [each.epoch for each in seen] == list(range(1, seen[-1].epochs + 1))
    for start in seen:
        again = mine_direction_matrix(rows, config, start)
        assert again.artefact == whole.artefact
        assert again.curves == whole.curves


def test_a_checkpoint_survives_what_comes_after_it(planted):
    kept = []
    mine_direction_matrix(planted.rows, CONFIG, keep=kept.append)
    first = stopped_after(planted.rows, CONFIG, 1)
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, kept[0].arrays[name])


@pytest.mark.parametrize("training", ["synthetic", "paired"])
def test_shuffled_rows_and_other_threads_give_the_same_bytes(planted, training, rng):
    config = dataclasses.replace(CONFIG, training=training)
    order = rng.permutation(len(planted.rows))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        shuffled = mine_direction_matrix(taken(planted.rows, order), config)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert shuffled.artefact == mine_direction_matrix(planted.rows, config).artefact


def test_another_seed_gives_another_matrix(planted):
    config = dataclasses.replace(CONFIG, training="synthetic", start="zeros")
    other = dataclasses.replace(config, seed=1)
    first, second = (mined(planted.rows, each)[0] for each in (config, other))
    assert (first.vectors != second.vectors).any()


# pairs


def test_pairs_of_sequences_are_of_one_sequence_and_differ(planted):
    rows = ordered(planted.rows)
    (stage,) = stages_of(rows, CONFIG)
    draw = drawn(stage.training, 500, K, CONFIG, 0.0, (1,))
    assert (rows.sequences[draw.source] == rows.sequences[draw.target]).all()
    assert (draw.source != draw.target).all() and (draw.alone == -1).all()
    seen = set(rows.sequences[draw.source])
    held = drawn(stage.held_out, 100, K, CONFIG, 0.0, (2,))
    assert seen and not seen & set(rows.sequences[held.source])


def test_half_of_a_batch_changes_one_parameter_and_half_is_inverted(unpaired):
    rows = with_inverted(unpaired.rows)
    (stage,) = stages_of(rows, dataclasses.replace(CONFIG, training="mixed"))
    draw = drawn(stage.training, 400, K, CONFIG, 0.5, (1,))
    inverted = draw.source >= len(rows)
    np.testing.assert_array_equal(inverted, draw.target >= len(rows))
    assert inverted.mean() == 0.5
    assert (draw.alone[inverted] >= 0).mean() == (draw.alone[~inverted] >= 0).mean() == 0.5
    assert set(draw.alone) == {-1, *range(K)}
    assert np.abs(draw.amount).max() <= CONFIG.reach < 1.1 * np.abs(draw.amount).max()


def test_a_pool_of_two_swaps_them(rng):
    first, second = Pool(np.array([5, 9]), np.array([0, 2])).pairs(50, rng)
    assert set(first) == {5, 9} and (first + second == 14).all()


def test_what_the_rows_allow_is_trained(planted, unpaired):
    auto = dataclasses.replace(CONFIG, training="auto")
    assert mode_of(planted.rows, auto) == "paired"
    assert mode_of(with_inverted(unpaired.rows), auto) == "mixed"
    assert mode_of(unpaired.rows, auto) == SYNTHETIC


def test_coordinates_of_motion_hold_no_identity(planted):
    basis = coordinates(planted.rows, np.ones(D), paired=True)
    assert basis.shape == (K, D)
    inside = planted.motion @ np.linalg.pinv(basis) @ basis
    np.testing.assert_allclose(inside, planted.motion, atol=1e-6)


def test_rows_of_w_are_laid_out_as_w_plus(unpaired):
    rows = in_w_plus(with_inverted(unpaired.rows))
    assert (rows.space, rows.shape) == ("w+", (ROWS, D))
    latents = rows.latents.reshape(-1, ROWS, D)
    np.testing.assert_array_equal(latents, np.repeat(unpaired.rows.latents[:, None], ROWS, axis=1))
    assert rows.inverted.shape == (80, ROWS * D)


# what it refuses


@pytest.mark.parametrize(
    ("training", "said"),
    [("paired", "needs sequences of one identity"), ("mixed", "needs latents of inverted images")],
)
def test_what_is_not_there_is_said(unpaired, training, said):
    with pytest.raises(InputError, match=said):
        mined(unpaired.rows, dataclasses.replace(CONFIG, training=training))


def test_images_need_a_generator(unpaired):
    with pytest.raises(InputError, match="without a generator"):
        mined(unpaired.rows, dataclasses.replace(CONFIG, chain="images"))


def test_a_checkpoint_of_another_training_is_refused(planted):
    start = stopped_after(planted.rows, CONFIG, 1)
    for changed in (
        dataclasses.replace(start, epochs=9),
        dataclasses.replace(start, epoch=2),
        dataclasses.replace(start, arrays={**start.arrays, "matrix": np.zeros((2, 2))}),
        dataclasses.replace(start, arrays={}),
    ):
        with pytest.raises(InputError, match="of another training"):
            mine_direction_matrix(planted.rows, CONFIG, changed)


def test_a_rate_that_is_far_too_high_is_said(unpaired):
    config = dataclasses.replace(CONFIG, training="synthetic", learning_rate=1e30)
    with pytest.raises(RunError, match="lower the rate"):
        mined(unpaired.rows, config)


def test_a_parameter_that_never_changes_is_named(unpaired):
    codes = unpaired.rows.codes
    moving = codes.moving.copy()
    moving[:, 4] = 1.0
    rows = dataclasses.replace(unpaired.rows, codes=dataclasses.replace(codes, moving=moving))
    with pytest.raises(InputError, match="mouth_open never changes"):
        mined(rows, dataclasses.replace(CONFIG, training="synthetic"))

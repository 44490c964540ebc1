"""Surrogates: they bend where the truth bends, say honestly how well, and come back from files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mining.methods.gcv_ridge import fit_ridge
from mining.methods.surrogate import (
    Surrogate,
    SurrogateConfig,
    split,
    surrogate_options,
    train_surrogate,
)
from mining.methods.surrogate_torch import differentiable_reading, differentiable_surrogate
from schemas.errors import CorruptDataError, InputError, RunError

QUICK = SurrogateConfig(hidden=(32,), epochs=20)


@pytest.fixture(scope="module")
def bent():
    """2,000 latents of 30 numbers: three targets of two directions, two of them bent."""
    rng = np.random.default_rng(3)
    latents, axes = rng.normal(size=(2000, 30)), rng.normal(size=(30, 2)) / np.sqrt(30)
    a, b = (latents @ axes).T
    targets = np.stack([20 * np.tanh(2 * a), a + b, a * b], axis=1)
    return latents, targets + 0.05 * rng.normal(size=targets.shape)


@pytest.fixture(scope="module")
def surrogate(bent):
    return train_surrogate(bent[0][:1500], bent[1][:1500])


def test_reads_bends_that_a_linear_reading_cannot(bent, surrogate):
    latents, targets = bent[0][1500:], bent[1][1500:]
    gaps = targets - surrogate.predict(latents)
    r2 = 1 - (gaps**2).mean(axis=0) / targets.var(axis=0)
    assert (r2 > [0.98, 0.97, 0.75]).all()
    np.testing.assert_allclose(surrogate.r2, r2, atol=0.1)  # as it says of itself
    assert (surrogate.r2_linear[[0, 2]] < [0.93, 0.1]).all()
    np.testing.assert_allclose(surrogate.r2_linear[1], surrogate.r2[1], atol=0.03)


def test_no_layers_are_the_ridge_reading(bent):
    linear = train_surrogate(*bent, SurrogateConfig(hidden=(), epochs=1, learning_rate=1e-12))
    reading = fit_ridge(*bent)
    np.testing.assert_allclose(
        linear.predict(bent[0]), reading.read(bent[0]), atol=0.1 * bent[1].std(axis=0).max()
    )


def test_shuffled_rows_give_the_same_surrogate(bent, rng):
    order = rng.permutation(400)
    one = train_surrogate(bent[0][:400], bent[1][:400], QUICK)
    other = train_surrogate(bent[0][order], bent[1][order], QUICK)
    assert one.arrays().keys() == other.arrays().keys()
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name], err_msg=name)


def test_threads_do_not_change_it_and_are_given_back(bent):
    before = torch.get_num_threads()
    one = train_surrogate(bent[0][:400], bent[1][:400], QUICK)
    try:
        torch.set_num_threads(3)
        other = train_surrogate(bent[0][:400], bent[1][:400], QUICK)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(one.weights[-1], other.weights[-1])


def test_rows_with_gaps_and_constant_targets(bent):
    targets = np.concatenate([bent[1][:400], np.full((400, 1), 7.0)], axis=1)
    holed = targets.copy()
    holed[5, 0] = np.nan
    found = train_surrogate(bent[0][:400], holed, QUICK)
    kept = np.arange(400) != 5
    by_hand = train_surrogate(bent[0][:400][kept], targets[kept], QUICK)
    np.testing.assert_array_equal(found.weights[0], by_hand.weights[0])
    np.testing.assert_allclose(found.predict(bent[0][:9])[:, 3], 7.0, atol=1e-6)


def test_groups_are_held_out_whole():
    groups = np.array([4, 4, -1, 2, 2, -1, 9, 9, -1, -1])
    held, kept = split(groups, 0.4, seed=1)
    assert set(held) | set(kept) == set(range(10)) and not set(held) & set(kept)
    together = [set(groups[held]) & set(groups[kept]) - {-1}]
    assert together == [set()]
    renamed = np.array([70, 70, -1, 80, 80, -1, 10, 10, -1, -1])
    np.testing.assert_array_equal(split(renamed, 0.4, seed=1)[0], held)


def test_what_is_learned_by_heart_of_a_group_is_not_called_read(rng):
    """Targets that are the group's alone: rows split apart would seem readable."""
    groups = np.repeat(np.arange(60), 10)
    spots, own = rng.normal(size=(60, 40)), rng.normal(size=(60, 1))
    latents = spots[groups] + 0.05 * rng.normal(size=(600, 40))
    targets = own[groups]
    config = SurrogateConfig(epochs=20, held_out=0.3)
    assert train_surrogate(latents, targets, config).r2[0] > 0.5
    assert train_surrogate(latents, targets, config, groups).r2[0] < 0.3


def test_torch_forms_are_the_numpy_ones_with_gradients(bent, surrogate):
    latents = bent[0][:50]
    x = torch.from_numpy(latents).requires_grad_()
    found = differentiable_surrogate(surrogate, torch.float64)(x)
    np.testing.assert_allclose(found.detach().numpy(), surrogate.predict(latents), atol=1e-10)
    (slope,) = torch.autograd.grad(found[:, 0].sum(), x)
    step = 1e-6 * np.ones(30)
    ahead = surrogate.predict(latents + step)[:, 0] - surrogate.predict(latents - step)[:, 0]
    np.testing.assert_allclose(slope.numpy() @ step, ahead / 2, rtol=1e-4)
    read = differentiable_reading(surrogate.reading, torch.float64)(x)
    np.testing.assert_allclose(read.detach().numpy(), surrogate.reading.read(latents), atol=1e-10)


def test_comes_back_from_its_arrays(bent, surrogate):
    again = Surrogate.from_arrays(surrogate.arrays())
    np.testing.assert_array_equal(again.predict(bent[0]), surrogate.predict(bent[0]))
    assert surrogate.predict(bent[0][:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("other", np.zeros(2), "unknown arrays other"),
        ("weights.9", np.zeros((2, 2)), "weights.3 of the surrogate is missing"),
        ("mean", np.zeros(3, np.float32), "expected 1 axes of float64"),
        ("r2", np.array([1.0, np.nan, 0.0]), "NaN"),
        ("spread", np.zeros(3), "not above 0"),
        ("biases.0", np.zeros(95), "do not fit together"),
        ("reading.weights", np.zeros((3, 29)), "do not fit together"),
    ],
)
def test_damaged_arrays_are_refused(surrogate, name, value, message):
    with pytest.raises(CorruptDataError, match=message):
        Surrogate.from_arrays({**surrogate.arrays(), name: value})


@pytest.mark.parametrize("name", ["skip", "reading.centre", "biases.1", "weights.2", "r2_linear"])
def test_missing_arrays_are_refused(surrogate, name):
    arrays = surrogate.arrays()
    del arrays[name]
    with pytest.raises(CorruptDataError, match="missing|do not fit|unknown arrays"):
        Surrogate.from_arrays(arrays)


def test_a_surrogate_without_layers_is_refused(surrogate):
    arrays = {k: v for k, v in surrogate.arrays().items() if not k.startswith("weights")}
    with pytest.raises(CorruptDataError, match="0 layers, expected 1..16"):
        Surrogate.from_arrays(arrays)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": (0,)}, r"hidden\[0\] is 0"),
        ({"hidden": (8,) * 16}, "16 layers"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"weight_decay": -1.0}, "weight_decay is -1"),
        ({"batch": 0}, "batch is 0"),
        ({"epochs": 1.5}, "epochs is 1.5"),
        ({"held_out": 1.0}, r"held_out is 1.0, expected inside \(0, 1\)"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_settings_are_errors(options, message):
    with pytest.raises(InputError, match=message):
        SurrogateConfig(**options)


def test_settings_come_from_yaml():
    assert SurrogateConfig(hidden=[8, 4]).hidden == (8, 4)
    made = surrogate_options({"hidden": [8, 4], "epochs": 3}, seed=5)
    assert made == SurrogateConfig(hidden=(8, 4), epochs=3, seed=5)
    assert surrogate_options({"seed": 2}, seed=5).seed == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": [8]}, "has no option 'widths'"),
        ({"hidden": 96}, "hidden = 96: input should be a valid tuple"),
        ({"learning_rate": None}, "learning_rate = None: input should be a valid number"),
        ({"held_out": "few"}, "held_out = 'few': input should be a valid number"),
    ],
)
def test_settings_of_another_kind_are_errors(options, message):
    with pytest.raises(InputError, match=f"settings 'surrogate'.*{message}"):
        surrogate_options(options)


def test_wrong_rows_are_errors(bent):
    latents, targets = bent
    with pytest.raises(InputError, match=r"latents \(9, 30\) and targets \(2000, 3\)"):
        train_surrogate(latents[:9], targets)
    with pytest.raises(InputError, match="4 of 2000 rows"):
        train_surrogate(latents, np.where(np.arange(2000)[:, None] < 4, targets, np.nan))
    with pytest.raises(InputError, match="one whole number a row"):
        train_surrogate(latents, targets, groups=np.zeros(3, int))
    with pytest.raises(InputError, match="leaves 0 to train on"):
        train_surrogate(latents[:9], targets[:9], groups=np.zeros(9, int))
    with pytest.raises(InputError, match="NaN or infinity"):
        train_surrogate(np.where(latents > 3, np.inf, latents), targets)
    for row in range(20):  # held out or not
        holed = latents[:20].copy()
        holed[row, 9] = np.nan
        with pytest.raises(InputError, match="NaN or infinity"):
            train_surrogate(holed, targets[:20], QUICK)


def test_a_rate_that_blows_up_is_said(bent):
    wild = dataclasses.replace(QUICK, learning_rate=1e200, weight_decay=0.0)
    with pytest.raises(RunError, match="not finite in epoch 0; lower the rate"):
        train_surrogate(bent[0][:300], bent[1][:300], wild)

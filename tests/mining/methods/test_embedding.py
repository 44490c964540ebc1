"""The embedding regressor: what it learns, its derivatives, its repeatability, its refusals."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from mining.methods.embedding import Embedding, EmbeddingConfig, train_embedding
from schemas.errors import InputError, RunError

ROWS, WIDTH, NUMBERS = 500, 10, 16
QUICK = EmbeddingConfig(hidden=(64,), epochs=40, weight_decay=0.01)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Descriptors that follow the first four numbers of the latent, with 10 % noise."""
    rng = np.random.default_rng(5)
    latents = rng.normal(size=(ROWS, WIDTH))
    clean = np.tanh(0.4 * latents[:, :4] @ rng.normal(size=(4, NUMBERS)))
    noise = 0.1 * clean.std() * rng.normal(size=clean.shape)
    return latents, 0.3 + 0.1 * (clean + noise)


@pytest.fixture(scope="module")
def trained(data) -> Embedding:
    return train_embedding(*data, QUICK)


def test_learns_what_can_be_learnt_and_says_how_much(data, trained):
    assert 0.9 < trained.r2 < 0.995  # noise alone leaves 0.99
    held_out = trained.held_out_loss[trained.best_epoch]
    assert trained.r2 == pytest.approx(1 - held_out, abs=0.05)  # the loss counts in spreads
    fresh = np.random.default_rng(6).normal(size=(50, WIDTH))
    assert trained.predict(fresh).shape == (50, NUMBERS)


def test_noise_is_not_called_learnt(data, rng):
    found = train_embedding(data[0], rng.normal(size=data[1].shape), QUICK)
    assert found.r2 < 0.05


def test_keeps_loss_curves_and_stops_early_only_where_told(data, trained):
    assert len(trained.train_loss) == len(trained.held_out_loss)
    assert trained.best_epoch == int(np.argmin(trained.held_out_loss))
    hasty = dataclasses.replace(QUICK, learning_rate=0.1, epochs=200, patience=2)
    early = train_embedding(*data, hasty)
    assert len(early.train_loss) == early.best_epoch + 3 < 200
    forced = train_embedding(*data, dataclasses.replace(hasty, epochs=10, patience=None))
    assert len(forced.train_loss) == 10


def test_jacobian_is_the_derivative_and_pullback_its_product(data, trained, rng):
    at, step = data[0][:5], 1e-6
    jacobian = trained.jacobian(at)
    assert jacobian.shape == (5, NUMBERS, WIDTH)
    for axis in range(WIDTH):
        move = step * np.eye(WIDTH)[axis]
        slope = (trained.predict(at + move) - trained.predict(at - move)) / (2 * step)
        np.testing.assert_allclose(jacobian[:, :, axis], slope, atol=1e-7)
    grads = rng.normal(size=(5, NUMBERS))
    expected = np.einsum("ne,ned->nd", grads, jacobian)
    np.testing.assert_allclose(trained.pullback(at, grads), expected, atol=1e-12)
    shared = np.einsum("e,ned->nd", grads[0], jacobian)
    np.testing.assert_allclose(trained.pullback(at, grads[0]), shared, atol=1e-12)


def test_threads_and_row_order_do_not_matter_and_threads_come_back(data, trained, rng):
    order = rng.permutation(ROWS)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        again = train_embedding(data[0][order], data[1][order], QUICK)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    for one, other in zip(trained.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.r2 == trained.r2


def test_another_seed_is_another_network(data, trained):
    other = train_embedding(*data, dataclasses.replace(QUICK, seed=1))
    assert np.abs(other.weights[0] - trained.weights[0]).max() > 1e-3


def test_pickles_as_plain_arrays(data, trained):
    copy = pickle.loads(pickle.dumps(trained))
    np.testing.assert_array_equal(copy.predict(data[0]), trained.predict(data[0]))


def test_refuses_rows_that_do_not_pair_up(data):
    latents, descriptors = data
    with pytest.raises(InputError, match=r"\(500, 10\).*\(499, 16\)"):
        train_embedding(latents, descriptors[1:], QUICK)
    with pytest.raises(InputError, match="4 rows"):
        train_embedding(latents[:4], descriptors[:4], QUICK)
    broken = descriptors.copy()
    broken[3, 2] = np.nan
    with pytest.raises(InputError, match="descriptors hold NaN"):
        train_embedding(latents, broken, QUICK)
    with pytest.raises(InputError, match="descriptors.*all equal"):
        train_embedding(latents, np.ones_like(descriptors), QUICK)
    with pytest.raises(InputError, match="leaves 1"):
        train_embedding(latents[:5], descriptors[:5], dataclasses.replace(QUICK, held_out=0.8))


def test_predict_refuses_another_width(trained):
    with pytest.raises(InputError, match=r"embedding: latents are \(3, 4\), expected \(N, 10\)"):
        trained.predict(np.zeros((3, 4)))


@pytest.mark.parametrize(
    "setting",
    [
        {"learning_rate": 0.0},
        {"batch": 0},
        {"hidden": (0,)},
        {"patience": 0},
        {"held_out": 1.0},
        {"averaging": 1.0},
        {"whiten": 1.5},
        {"weight_decay": -1.0},
        {"seed": -1},
    ],
    ids=str,
)
def test_refuses_settings_that_cannot_be(setting):
    with pytest.raises(InputError, match=f"embedding: {next(iter(setting))}"):
        EmbeddingConfig(**setting)


def test_a_rate_that_diverges_ends_the_run(data):
    with pytest.raises(RunError, match="lower the rate"):
        train_embedding(*data, dataclasses.replace(QUICK, learning_rate=1e200))

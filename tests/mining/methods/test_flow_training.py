"""The attribute flow's training: both objectives learn, and it goes on as if never stopped."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from mining.methods.attribute_flow import mine_attribute_flow
from mining.methods.flow_config import PRESETS
from mining.methods.flow_file import flow_of
from mining.methods.flow_network import first_weights, integrate, shapes, velocity
from mining.methods.flow_rows import flow_rows
from mining.methods.flow_training import _batch, _likelihood, train
from mining.methods.learned import Checkpoint, LearnedRows
from mining.methods.training import one_torch_thread
from schemas.errors import InputError, RunError
from tests.mining.methods.flow_cases import BRIEF, planted

SEED = 20_26
LIKELIHOOD = dataclasses.replace(
    BRIEF, objective="likelihood", balance=0.0, epochs=2, tolerance=1e-4
)


@pytest.fixture(scope="module")
def case():
    return planted(np.random.default_rng(SEED), count=600)


class Stopped(Exception):
    """In place of a kill."""


def stopped_after(epochs: int, rows: LearnedRows, config) -> Checkpoint:
    """The checkpoint of a training that ends there."""
    kept: list[Checkpoint] = []

    def keep(checkpoint: Checkpoint) -> None:
        kept.append(checkpoint)
        if len(kept) == epochs:
            raise Stopped

    with pytest.raises(Stopped):
        mine_attribute_flow(rows, config, keep=keep)
    assert [each.epoch for each in kept] == list(range(1, epochs + 1))
    return kept[-1]


@pytest.mark.parametrize(
    "config",
    [BRIEF, dataclasses.replace(BRIEF, fill=150, epochs=3), LIKELIHOOD],
    ids=["matching", "filled", "likelihood"],
)
def test_going_on_gives_the_bytes_of_never_having_stopped(case, config):
    kept: list[Checkpoint] = []
    whole = mine_attribute_flow(case.rows, config, keep=kept.append)
    stopped = stopped_after(1, case.rows, config)
    for name, array in stopped.arrays.items():
        np.testing.assert_array_equal(array, kept[0].arrays[name])  # they survive what comes after
    for checkpoint in kept[:-1]:
        resumed = mine_attribute_flow(case.rows, config, start=checkpoint)
        assert resumed.artefact == whole.artefact
        assert resumed.curves == whole.curves
        for one, other in zip(resumed.directions, whole.directions, strict=True):
            np.testing.assert_array_equal(one.vector, other.vector)
            assert one.slope == other.slope and one.evidence == other.evidence


def test_a_finished_training_is_only_measured_again(case):
    kept: list[Checkpoint] = []
    whole = mine_attribute_flow(case.rows, BRIEF, keep=kept.append)
    again = mine_attribute_flow(case.rows, BRIEF, start=kept[-1], keep=kept.append)
    assert again.artefact == whole.artefact and len(kept) == BRIEF.epochs


def test_a_checkpoint_of_something_else_is_refused(case):
    checkpoint = stopped_after(1, case.rows, BRIEF)
    for settings in ({"hidden": (9,)}, {"epochs": 5}, {"embedded": 0}, {"attributes": ("yaw",)}):
        with pytest.raises(InputError, match="of another network or of other settings"):
            mine_attribute_flow(case.rows, dataclasses.replace(BRIEF, **settings), start=checkpoint)


@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_shuffled_rows_give_the_same_bytes(case, balance):
    config = dataclasses.replace(BRIEF, balance=balance)
    order = np.random.default_rng(1).permutation(len(case.rows))
    shuffled = dataclasses.replace(
        case.rows,
        latents=case.rows.latents[order],
        scores={name: each[order] for name, each in case.rows.scores.items()},
    )
    first, second = (mine_attribute_flow(rows, config) for rows in (case.rows, shuffled))
    assert first.artefact == second.artefact


def test_another_seed_gives_another_flow(case):
    other = dataclasses.replace(BRIEF, seed=1)
    assert mine_attribute_flow(case.rows, BRIEF).artefact != (
        mine_attribute_flow(case.rows, other).artefact
    )


@pytest.mark.parametrize("trace", ["hutchinson", pytest.param("exact", marks=pytest.mark.slow)])
def test_likelihood_learns_the_conditional_density(trace, rng):
    """N(2 a, 0.5^2) in one of three numbers: 1.419 - 0.693 / 3 nats a number, 1.419 without a."""
    latents = rng.normal(size=(1000, 3))
    score = rng.normal(size=1000)
    latents[:, 0] = 2 * score + 0.5 * latents[:, 0]
    rows = LearnedRows(latents.astype(np.float32), "w", (3,), 1, {"age": score})
    config = dataclasses.replace(
        LIKELIHOOD, denoise=False, trace=trace, hidden=(32,), epochs=8, learning_rate=2e-2
    )
    mined = mine_attribute_flow(rows, config)
    flow = flow_of(mined.artefact)
    scaled = math.log(2 * math.pi * math.e) / 2 + (math.log(0.5)) / 3 - math.log(flow.spread)
    (curve,) = mined.curves
    assert curve.held_out[0] > min(curve.held_out)
    assert min(curve.held_out) == pytest.approx(scaled, abs=0.15)  # of 64 rows
    moved = flow.changed(latents[:100], "age", 0.5, score[:100, None]) - latents[:100]
    assert moved.mean(axis=0) == pytest.approx([1, 0, 0], abs=0.2)


def test_the_estimated_trace_is_the_exact_one_on_average(case, rng):
    """The likelihood is that of the change of variables, whose determinant is worked out here."""
    weights = first_weights(3, 1, (8,), 0, seed=0)
    weights["layer.1.weight"] += 0.2
    weights = {name: array.double() for name, array in weights.items()}
    x = torch.from_numpy(rng.normal(size=(1, 3)))
    told = torch.from_numpy(rng.normal(size=(1, 1)))

    def back(point: torch.Tensor) -> torch.Tensor:
        return integrate(weights, point, told, (1.0, 0.0), "dopri5", 1e-10)[0]

    jacobian = torch.autograd.functional.jacobian(back, x)[0, :, 0]
    noise = back(x)
    density = torch.linalg.slogdet(jacobian)[1] - 0.5 * noise.square().sum()
    truth = (1.5 * math.log(2 * math.pi) - density) / 3
    exact = dataclasses.replace(LIKELIHOOD, trace="exact", tolerance=1e-9)
    draws = torch.Generator().manual_seed(0)
    assert _likelihood(weights, x, told, draws, exact).item() == pytest.approx(
        truth.item(), abs=1e-6
    )
    rough = dataclasses.replace(exact, trace="hutchinson", tolerance=1e-6)
    tries = [_likelihood(weights, x, told, draws, rough).item() for _ in range(20)]
    error = np.std(tries) / math.sqrt(len(tries))
    assert abs(np.mean(tries) - truth.item()) < 4 * error + 1e-6


def test_a_flow_starts_as_the_identity(rng):
    weights = first_weights(5, 2, (7, 6), 4, seed=0)
    assert {name: tuple(array.shape) for name, array in weights.items()} == shapes(5, 2, (7, 6), 4)
    x, told = torch.randn(3, 5), torch.randn(3, 2)
    assert (velocity(weights, torch.rand(3), x, told) == 0).all()


def test_few_rows_are_filled_up_with_mixtures_and_edits_land(rng):
    """80 rows of 64 numbers: by themselves they are learnt by heart."""
    rows = planted(rng, count=80, width=64).rows
    config = dataclasses.replace(BRIEF, hidden=(32,), embedded=16, epochs=25, learning_rate=5e-3)
    filled = mine_attribute_flow(rows, config)
    alone = mine_attribute_flow(rows, dataclasses.replace(config, fill=0))
    assert filled.evidence["mixed"] == 1 - 72 / (16 * 64)
    assert alone.evidence["mixed"] == 0
    assert filled.evidence["miss"] < 0.2 < 0.5 < alone.evidence["miss"]


def test_mixtures_have_the_rows_covariance_and_their_own_conditions(case):
    rows = flow_rows(case.rows, BRIEF)
    x, conditions = torch.from_numpy(rows.x), torch.from_numpy(rows.conditions)
    seen = len(x) - rows.held_out
    draws = torch.Generator().manual_seed(0)
    numbers = torch.arange(seen - 2, seen + 4000)
    some, told = _batch((x, conditions), numbers, seen, draws)
    assert (some[:2] == x[seen - 2 : seen]).all() and len(some) == len(told) == 4002
    slope = torch.linalg.lstsq(x.double(), conditions.double()).solution
    assert (some.double() @ slope - told).abs().max() < 1e-4
    ratio = torch.linalg.eigvals(torch.linalg.solve(x.T @ x / len(x), some.T @ some / len(some)))
    assert ratio.real.min() > 0.75 and ratio.real.max() < 1.3


def test_held_out_rows_are_not_trained_on(case):
    """Their conditions may be anything without changing the weights after one epoch."""
    with one_torch_thread():
        rows = flow_rows(case.rows, BRIEF)
        config = dataclasses.replace(BRIEF, epochs=1)
        spoilt = rows.conditions.copy()
        spoilt[-rows.held_out :] += 5
        first = train(rows, config)
        second = train(dataclasses.replace(rows, conditions=spoilt), config)
    assert first.training == second.training and first.held_out != second.held_out
    for name, array in first.network.items():
        np.testing.assert_array_equal(array, second.network[name])


def test_a_rate_that_is_too_high_is_said(case):
    with pytest.raises(RunError, match="not finite in epoch 0; lower the rate"):
        mine_attribute_flow(case.rows, dataclasses.replace(BRIEF, learning_rate=1e30))


def test_the_styleflow_preset_trains(case):
    """Its objective and layers, narrower and on few rows: it is slow at its size."""
    config = dataclasses.replace(PRESETS["styleflow"], hidden=(8,) * 4, epochs=1, batch=50)
    mined = mine_attribute_flow(case.rows, config)
    assert mined.evidence["reversible"] < 1e-2
    assert {each.attribute for each in mined.directions} == {"yaw", "smile"}

"""Gradient edits: known optima, rows that do not mix, terms that hold, refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mining.editing.analytic import edit_to_codes
from mining.editing.gradient import PRESETS, GradientConfig, edit_by_gradient
from mining.editing.networks import torch_landmarks, torch_regressor
from mining.editing.terms import EmbeddingTerm, LatentTerm
from schemas.errors import InputError, RunError
from tests.mining.editing import planted

WIDTH = 30
LONG = GradientConfig(steps=400, tolerance=0.0, every=1)
OPTIMISERS = {"sgd": LONG, "adam": dataclasses.replace(LONG, optimiser="adam", learning_rate=0.01)}


@pytest.fixture
def linear(rng):
    return planted.control(planted.linear_regressor(rng, WIDTH), rng)


@pytest.fixture
def bent(rng):
    return planted.control(planted.network(rng, WIDTH), rng)


def asked(control, start, rng, size=0.5):
    """Targets some spreads away from where the latents are."""
    codes = control.regressor.predict(start)
    return codes + size * control.regressor.spread * rng.normal(size=codes.shape)


def test_the_networks_in_torch_are_those_of_the_arrays(bent, rng):
    latents = rng.normal(size=(5, WIDTH))
    found = torch_regressor(bent.regressor)(torch.from_numpy(latents))
    np.testing.assert_allclose(found.numpy(), bent.regressor.predict(latents), atol=1e-12)
    landmarks = torch_landmarks(bent.shape)(found)
    np.testing.assert_allclose(landmarks.numpy(), bent.landmarks(latents), atol=1e-12)


@pytest.mark.parametrize("config", OPTIMISERS.values(), ids=OPTIMISERS)
def test_a_linear_regressor_is_solved(linear, rng, config):
    start = rng.normal(size=(3, WIDTH))
    target = asked(linear, start, rng)
    edit = edit_by_gradient(linear, start, target, config)
    assert (np.abs(edit.missed) < 2e-3 * linear.regressor.spread).all()
    np.testing.assert_array_equal(edit.codes[-1], linear.regressor.predict(edit.latents))
    np.testing.assert_array_equal(edit.trajectory[0], start)


def test_gradient_descent_ends_at_the_shortest_edit(linear, rng):
    start = rng.normal(size=(3, WIDTH))
    target = asked(linear, start, rng)
    found = edit_by_gradient(linear, start, target, LONG)
    shortest = edit_to_codes(linear.regressor, start, target)  # the pseudo-inverse, equation (14)
    np.testing.assert_allclose(found.latents, shortest.latents, atol=2e-3)


@pytest.mark.parametrize("config", OPTIMISERS.values(), ids=OPTIMISERS)
def test_landmarks_land_where_the_target_codes_put_them(bent, rng, config):
    start = rng.normal(size=(3, WIDTH))
    target = asked(bent, start, rng, size=0.3)
    edit = edit_by_gradient(bent, start, target, dataclasses.replace(config, objective="landmarks"))
    wanted = bent.shape.project(target)
    before = np.linalg.norm(bent.landmarks(start) - wanted)
    after = np.linalg.norm(bent.landmarks(edit.latents) - wanted)
    assert after < (0.05 if config.optimiser == "sgd" else 0.1) * before
    assert edit.objective[-1].sum() < 0.01 * edit.objective[0].sum()


def test_the_objectives_are_the_equations(bent, rng):
    start = rng.normal(size=(2, WIDTH))
    target = asked(bent, start, rng)
    codes, spread = bent.regressor.predict(start), bent.regressor.spread
    first = {
        (objective, scaled): edit_by_gradient(
            bent, start, target, GradientConfig(objective, steps=1, scaled=scaled)
        ).objective[0]
        for objective, scaled in (("codes", True), ("codes", False), ("landmarks", False))
    }
    gap = codes - target
    np.testing.assert_allclose(first["codes", True], ((gap / spread) ** 2).mean(axis=1))
    np.testing.assert_allclose(first["codes", False], (gap**2).sum(axis=1))
    moved = bent.landmarks(start) - bent.shape.project(target)
    np.testing.assert_allclose(first["landmarks", False], (moved**2).sum(axis=(1, 2)))


def test_the_papers_step_is_the_raw_gradient(linear, rng):
    start = rng.normal(size=(2, WIDTH))
    target = asked(linear, start, rng)
    edit = edit_by_gradient(
        linear, start, target, dataclasses.replace(PRESETS["paper"], steps=1, learning_rate=0.3)
    )
    for row in range(2):
        jacobian = linear.regressor.jacobian(start[row : row + 1])[0]
        slope = 2 * jacobian.T @ (edit.codes[0, row] - target[row])
        np.testing.assert_allclose(edit.latents[row], start[row] - 0.3 * slope, atol=1e-12)


def test_adam_is_torchs(linear, rng):
    start = rng.normal(size=(1, WIDTH))
    target = asked(linear, start, rng)
    config = GradientConfig(
        optimiser="adam", steps=20, learning_rate=0.02, scaled=False, tolerance=0.0
    )
    w = torch.from_numpy(start.copy()).requires_grad_()
    adam = torch.optim.Adam([w], lr=0.02)
    for _ in range(20):
        adam.zero_grad()
        loss = (torch_regressor(linear.regressor)(w) - torch.from_numpy(target)).square().sum()
        loss.backward()
        adam.step()
    found = edit_by_gradient(linear, start, target, config)
    np.testing.assert_allclose(found.latents, w.detach().numpy(), atol=1e-9)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_row_does_not_depend_on_the_rows_beside_it(bent, rng, optimiser):
    config = dataclasses.replace(OPTIMISERS[optimiser], steps=40, tolerance=1e-3, batch=4)
    start = rng.normal(size=(6, WIDTH))
    target = asked(bent, start, rng, size=1.0)
    target[2] = bent.regressor.predict(start)[2]  # a row that is there already
    term = LatentTerm(bent.regressor.radius, weight=0.1)
    together = edit_by_gradient(bent, start, target, config, [term])
    for row in range(6):
        alone = edit_by_gradient(bent, start[row : row + 1], target[row : row + 1], config, [term])
        np.testing.assert_allclose(alone.trajectory[:, 0], together.trajectory[:, row], atol=1e-8)
        np.testing.assert_allclose(alone.objective[:, 0], together.objective[:, row], atol=1e-8)


def test_the_loss_never_rises_whatever_the_rate(bent, rng):
    start = rng.normal(size=(4, WIDTH))
    target = asked(bent, start, rng, size=2.0)
    edit = edit_by_gradient(bent, start, target, GradientConfig(learning_rate=50.0))
    assert (np.diff(edit.objective, axis=0) <= 0).all()
    assert (edit.objective[-1] < 0.2 * edit.objective[0]).all()


def test_rows_rest_where_the_loss_no_longer_changes(linear, rng):
    start = rng.normal(size=(3, WIDTH))
    target = asked(linear, start, rng)
    edit = edit_by_gradient(linear, start, target, GradientConfig(steps=400, tolerance=1e-4))
    assert edit.rested.all()
    np.testing.assert_array_equal(edit.trajectory[-1], edit.trajectory[-2])
    assert not edit_by_gradient(linear, start, target, GradientConfig(steps=3)).rested.any()


def test_the_trajectory_keeps_every_nth_point_and_the_last(linear, rng):
    start = rng.normal(size=(2, WIDTH))
    target = asked(linear, start, rng)
    all_points = edit_by_gradient(linear, start, target, GradientConfig(steps=10, every=1))
    some = edit_by_gradient(linear, start, target, GradientConfig(steps=10, every=4))
    np.testing.assert_array_equal(some.trajectory, all_points.trajectory[[0, 4, 8, 10]])
    assert some.objective.shape == (11, 2) and some.terms.shape == (11, 0, 2)
    assert some.codes.shape == (4, 2, planted.CODES)


def test_codes_of_weight_0_are_free(linear, rng):
    start = rng.normal(size=(2, WIDTH))
    target = linear.regressor.predict(start)
    target[:, 4] += 0.3  # yaw
    weights = np.zeros(planted.CODES)
    weights[4] = 1
    edit = edit_by_gradient(linear, start, target, LONG, weights=weights)
    np.testing.assert_allclose(edit.codes[-1][:, 4], target[:, 4], atol=1e-6)
    row = linear.regressor.jacobian(start)[0, 4]
    moved = edit.latents - start  # along the gradient of yaw alone
    np.testing.assert_allclose(moved - np.outer(moved @ row, row) / (row @ row), 0, atol=1e-9)


def test_a_latent_term_gives_the_ridge_solution(linear, rng):
    start = rng.normal(size=(2, WIDTH))
    target = asked(linear, start, rng)
    radius = linear.regressor.radius
    edit = edit_by_gradient(linear, start, target, LONG, [LatentTerm(radius, weight=0.5)])
    scaled = linear.regressor.jacobian(start)[0] / linear.regressor.spread[:, None]
    gap = (target - linear.regressor.predict(start)) / linear.regressor.spread
    normal = scaled.T @ scaled / planted.CODES + 0.5 / radius**2 * np.eye(WIDTH)
    expected = np.linalg.solve(normal, scaled.T @ gap.T / planted.CODES).T
    np.testing.assert_allclose(edit.latents - start, expected, atol=1e-3)
    np.testing.assert_allclose(
        edit.terms[-1, 0], 0.5 * ((edit.latents - start) ** 2).sum(axis=1) / radius**2
    )


def test_the_embedding_term_holds_the_descriptor_at_the_same_code(bent, rng):
    """Yaw can be had by many latents; the term picks one that leaves the descriptor."""
    start = rng.normal(size=(4, WIDTH))
    embedding = planted.linear_embedding(rng.normal(size=(6, WIDTH)))
    target = bent.regressor.predict(start)
    target[:, 4] += 0.5 * bent.regressor.spread[4]
    weights = np.zeros(planted.CODES)
    weights[4] = 1
    config = GradientConfig(steps=600, tolerance=0.0)
    drift, yaw = [], []
    for terms in ([], [EmbeddingTerm(embedding, weight=0.05)]):
        edit = edit_by_gradient(bent, start, target, config, terms, weights)
        change = embedding.predict(edit.latents) - embedding.predict(start)
        drift.append(np.linalg.norm(change, axis=1))
        yaw.append(edit.codes[-1][:, 4] - edit.codes[0][:, 4])
    np.testing.assert_allclose(yaw[1], yaw[0], rtol=0.1)
    assert (drift[1] < 0.35 * drift[0]).all()


def test_the_demo_and_the_paper_say_what_they_are():
    paper, demo = PRESETS["paper"], PRESETS["demo"]
    assert (paper.objective, paper.optimiser, paper.learning_rate, paper.steps) == (
        "codes",
        "sgd",
        1.0,
        100,
    )
    assert (demo.objective, demo.learning_rate, demo.steps) == ("landmarks", 0.7, 30)


def test_a_rate_that_diverges_ends_the_run(bent, rng):
    start = rng.normal(size=(2, WIDTH))
    config = dataclasses.replace(PRESETS["paper"], learning_rate=1e30)
    with pytest.raises(RunError, match="not finite in step.*lower the learning rate"):
        edit_by_gradient(bent, start, asked(bent, start, rng), config)


def test_refusals(bent, rng):
    start = rng.normal(size=(2, WIDTH))
    target = asked(bent, start, rng)
    with pytest.raises(InputError, match=r"start is \(2, 29\), expected \(2, 30\)"):
        edit_by_gradient(bent, start[:, 1:], target)
    with pytest.raises(InputError, match=r"target is \(2, 9\), expected \(2, 10\)"):
        edit_by_gradient(bent, start, target[:, 1:])
    with pytest.raises(InputError, match="target holds NaN"):
        edit_by_gradient(bent, start, target * np.nan)
    with pytest.raises(InputError, match="objective is landmarks"):
        edit_by_gradient(
            bent, start, target, GradientConfig("landmarks"), weights=np.ones(planted.CODES)
        )
    with pytest.raises(InputError, match="weights are all 0"):
        edit_by_gradient(bent, start, target, weights=np.zeros(planted.CODES))
    with pytest.raises(InputError, match=r"gave \(\) for 2 latents, expected \(2,\)"):
        edit_by_gradient(bent, start, target, terms=[lambda w, w0: (w - w0).sum()])


@pytest.mark.parametrize(
    "setting",
    [
        {"objective": "code"},
        {"optimiser": "lbfgs"},
        {"steps": 0},
        {"learning_rate": 0.0},
        {"tolerance": -1.0},
        {"every": 0},
        {"batch": 0},
    ],
    ids=str,
)
def test_refuses_settings_that_cannot_be(setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        GradientConfig(**setting)


@pytest.mark.parametrize("term", [LatentTerm, EmbeddingTerm])
def test_terms_refuse_weights_below_0(term, rng):
    about = 1.0 if term is LatentTerm else planted.linear_embedding(np.eye(3))
    with pytest.raises(InputError, match="weight is -1"):
        term(about, weight=-1.0)

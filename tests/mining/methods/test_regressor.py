"""The regressor: what it learns, its derivatives, its repeatability, its refusals."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from mining.methods.camera import rotation
from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from mining.methods.regressor import (
    PRESETS,
    Regressor,
    RegressorConfig,
    clip_codes,
    held_out_rows,
    train_regressor,
    whitening,
)
from mining.methods.shape_model import ShapeModel, amplitudes, codes_from
from mining.methods.unshrinking import stretches
from schemas.errors import InputError, RunError

ROWS, WIDTH, POINTS = 400, 12, 20
QUICK = RegressorConfig(hidden=(48, 48), epochs=35, weight_decay=0.01)


@dataclasses.dataclass(frozen=True)
class Task:
    latents: np.ndarray
    landmarks: np.ndarray
    model: ShapeModel


@pytest.fixture(scope="module")
def task() -> Task:
    """Landmarks that are a smooth function of the first four numbers of the latent."""
    rng = np.random.default_rng(3)
    latents = rng.normal(size=(ROWS, WIDTH))
    solid = 0.15 * rng.normal(size=(3, POINTS))
    theta = latents[:, :3] * [0.2, 0.3, 0]
    turns = np.stack([np.stack(row, axis=1) for row in rotation(theta)[:2]], axis=1)
    points = turns @ solid + 0.5 + 0.03 * latents[:, 2:4, None]
    points = points + 5e-4 * rng.normal(size=points.shape)
    landmarks = points.transpose(0, 2, 1)
    return Task(latents, landmarks, fit_nrsfm(landmarks, NrsfmConfig(components=2)))


def train(task: Task, config=QUICK, order=slice(None)) -> Regressor:
    return train_regressor(
        task.latents[order],
        task.model.codes[order],
        task.model,
        task.landmarks[order],
        config,
    )


@pytest.fixture(scope="module")
def trained(task) -> Regressor:
    return train(task)


def test_the_rows_that_are_held_out_can_be_told(rng):
    """They follow the rows into any order, and change with the seed."""
    latents, codes = rng.normal(size=(40, 6)), rng.normal(size=(40, 10))
    landmarks, config = rng.uniform(size=(40, 5, 2)), RegressorConfig(held_out=0.25)
    held = held_out_rows(latents, codes, landmarks, config)
    assert len(held) == 10 and (np.diff(held) > 0).all()
    order = rng.permutation(40)
    again = held_out_rows(latents[order], codes[order], landmarks[order], config)
    assert set(order[again]) == set(held)
    assert set(
        held_out_rows(latents, codes, landmarks, RegressorConfig(held_out=0.25, seed=1))
    ) != set(held)


def test_predicts_landmarks_through_the_shape_model(task, trained):
    gaps = task.model.project(trained.predict(task.latents)) - task.landmarks
    assert (gaps**2).mean() < 0.05 * task.landmarks.var(axis=0).mean()


def test_keeps_loss_curves_and_the_best_epoch(task, trained):
    curves = (trained.train_loss, trained.held_out_loss, trained.held_out_landmarks)
    assert len({len(curve) for curve in curves}) == 1
    assert trained.best_epoch == int(np.argmin(trained.held_out_loss))
    assert trained.train_loss[-1] < 0.5 * trained.train_loss[0]
    assert trained.held_out_landmarks[trained.best_epoch] < 0.1 * task.landmarks.var(axis=0).mean()


def test_equation_12_alone_is_the_mean_over_the_coordinates(task):
    config = dataclasses.replace(QUICK, code_weight=0.0, epochs=2)
    alone = train(task, config)
    assert alone.held_out_loss == alone.held_out_landmarks
    # nothing learnt yet in the first epoch's mean: near the landmarks' own variance
    assert alone.train_loss[0] < 3 * task.landmarks.var(axis=0).mean()


def test_stops_early_only_where_told(task):
    patient = train(task, dataclasses.replace(QUICK, learning_rate=0.02, epochs=30, patience=2))
    assert len(patient.train_loss) < 30
    assert len(patient.train_loss) == patient.best_epoch + 3
    forced = train(task, dataclasses.replace(QUICK, learning_rate=0.02, epochs=12, patience=None))
    assert len(forced.train_loss) == 12


def test_jacobian_is_the_derivative_and_pullback_its_product(task, trained, rng):
    at, step = task.latents[:6], 1e-6
    jacobian = trained.jacobian(at)
    assert jacobian.shape == (6, 10, WIDTH)
    assert jacobian.dtype == np.float64
    for axis in range(WIDTH):
        move = step * np.eye(WIDTH)[axis]
        slope = (trained.predict(at + move) - trained.predict(at - move)) / (2 * step)
        np.testing.assert_allclose(jacobian[:, :, axis], slope, atol=1e-6)
    weights = rng.normal(size=10)
    expected = np.einsum("q,nqd->nd", weights, jacobian)
    np.testing.assert_allclose(trained.pullback(at, weights), expected, atol=1e-12)


def shrunk_rows(rng, slopes, rows=800):
    """Outputs, and targets that lie on a line of each slope through them, with noise."""
    outputs = rng.normal(size=(rows, len(slopes))) + 0.5
    return outputs, slopes * (outputs - 0.5) + 0.4 + 0.3 * rng.normal(size=outputs.shape)


def test_outputs_are_stretched_to_their_targets_and_not_to_outliers(rng):
    slopes = np.array([0.6, 1.0, 1.3, 1.7, 3.0])
    outputs, targets = shrunk_rows(rng, slopes)
    targets[:40] = -20 * np.sign(outputs[:40])
    found, offset = stretches(outputs, targets)
    np.testing.assert_allclose(found, [1, 1, 1.3, 1.7, 2], atol=0.06)
    middle = np.median(outputs, axis=0)  # the middle stays
    np.testing.assert_allclose(found * middle + offset, middle, atol=0.1)


def test_a_few_rows_of_a_code_that_is_not_predicted_stretch_nothing(rng):
    far = []
    for _ in range(200):
        outputs = 0.1 * rng.normal(size=(20, 1))
        found, offset = stretches(outputs, rng.normal(size=(20, 1)))
        far.append(found[0])
    assert np.mean(np.array(far) > 1.01) < 0.5  # by plain least squares .5, and up to any slope
    for rows in (0, 1, 2):
        found, offset = stretches(outputs[:rows], outputs[:rows])
        assert (found == 1).all() and (offset == 0).all()
    same = np.ones((30, 1))
    assert stretches(same, rng.normal(size=(30, 1)))[0] == 1


def test_unshrinking_lowers_the_held_out_loss_and_is_all_in_the_last_layer(task):
    config = dataclasses.replace(QUICK, weight_decay=30.0, epochs=20, unshrink=False)
    shrunk, found = train(task, config), train(task, dataclasses.replace(config, unshrink=True))
    best = shrunk.best_epoch
    assert found.best_epoch == best == int(np.argmin(found.held_out_loss))
    assert found.held_out_loss[best] < 0.99 * shrunk.held_out_loss[best]
    assert found.held_out_loss[:best] == shrunk.held_out_loss[:best]
    for first, second in zip(found.weights[:-1], shrunk.weights[:-1], strict=True):
        np.testing.assert_array_equal(first, second)
    slopes = found.weights[-1] / shrunk.weights[-1]
    np.testing.assert_allclose(slopes, np.repeat(slopes[:, :1], slopes.shape[1], axis=1))
    assert (slopes >= 1 - 1e-12).all() and slopes[3:5, 0].min() > 1.02
    np.testing.assert_array_equal(found.spread, shrunk.spread)


def test_a_linear_map_has_one_jacobian(task, rng):
    linear = train(task, dataclasses.replace(QUICK, hidden=(), epochs=3))
    at, weights = task.latents[:3], rng.normal(size=10)
    jacobian = linear.jacobian(at)
    gaps = linear.predict(at[1:]) - linear.predict(at[:-1])
    np.testing.assert_allclose(np.diff(at, axis=0) @ jacobian[0].T, gaps, atol=1e-12)
    np.testing.assert_array_equal(jacobian[1:], jacobian[:-1])
    expected = np.einsum("q,nqd->nd", weights, jacobian)
    np.testing.assert_allclose(linear.pullback(at, weights), expected, atol=1e-12)


def test_agrees_with_torch(task, trained):
    layers = []
    for weight, bias in zip(trained.weights, trained.biases, strict=True):
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
        layers += [layer, torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    x = torch.from_numpy(task.latents - trained.centre)
    expected = network(x).detach().numpy() * trained.spread + trained.mean
    np.testing.assert_allclose(trained.predict(task.latents), expected, atol=1e-12)


def test_threads_and_row_order_do_not_matter_and_threads_come_back(task, trained, rng):
    before = torch.get_num_threads()
    order = rng.permutation(ROWS)
    try:
        torch.set_num_threads(2)
        other = train(task, order=order)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for first, second in zip(trained.weights, other.weights, strict=True):
        np.testing.assert_allclose(second, first, atol=1e-9)
    assert other.best_epoch == trained.best_epoch


def test_does_not_touch_the_global_random_state(task):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(task, dataclasses.replace(QUICK, epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_seeds_differ(task, trained):
    other = train(task, dataclasses.replace(QUICK, seed=1))
    assert abs(other.weights[0] - trained.weights[0]).max() > 1e-3


def test_many_rows_are_predicted_in_parts(task, trained):
    many = np.tile(task.latents, (25, 1))
    np.testing.assert_allclose(trained.predict(many)[-ROWS:], trained.predict(task.latents))
    assert trained.predict(task.latents[:0]).shape == (0, 10)


def test_whitening_evens_out_the_spreads_and_keeps_the_axes(rng):
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    latents = 5 + (rng.normal(size=(5000, 6)) * np.geomspace(0.2, 4, 6)) @ axes.T
    centred = latents - latents.mean(axis=0)
    np.testing.assert_allclose(whitening(latents, 0.0)(centred), centred / centred.std())
    white = whitening(latents, 1.0)(centred)
    np.testing.assert_allclose(np.cov(white.T), np.eye(6), atol=1e-2)
    half = whitening(latents, 0.5)(centred)
    assert half.std() == pytest.approx(1)
    spreads = (half @ axes).std(axis=0)
    assert spreads[-1] / spreads[0] == pytest.approx(np.sqrt(4 / 0.2), rel=0.05)


def test_trains_where_latents_have_more_numbers_than_there_are_rows(task, rng):
    wide = np.c_[task.latents[:60], 0.1 * rng.normal(size=(60, 90))]
    rows = (task.model.codes[:60], task.model, task.landmarks[:60])
    found = train_regressor(wide, *rows, dataclasses.replace(QUICK, epochs=3))
    assert found.jacobian(wide[:2]).shape == (2, 10, 102)
    assert np.isfinite(found.predict(wide)).all()


def test_pickles_as_arrays(task, trained):
    again = pickle.loads(pickle.dumps(trained))
    np.testing.assert_array_equal(again.predict(task.latents), trained.predict(task.latents))
    assert all(isinstance(weight, np.ndarray) for weight in trained.weights)


def test_default_has_three_hidden_layers_of_512_and_paper_its_settings(task):
    assert PRESETS["default"].hidden == PRESETS["paper"].hidden == (512, 512, 512)
    assert PRESETS["default"].learning_rate == 1e-3
    assert PRESETS["default"].batch == 64
    paper = PRESETS["paper"]
    assert (paper.learning_rate, paper.epochs, paper.batch) == (2e-5, 50, 256)
    assert paper.code_weight == paper.weight_decay == paper.averaging == paper.whiten == 0
    assert PRESETS["default"].unshrink and not paper.unshrink
    one = train(task, dataclasses.replace(PRESETS["default"], epochs=1))
    shapes = [weight.shape for weight in one.weights]
    assert shapes == [(512, WIDTH), (512, 512), (512, 512), (10, 512)]


def test_errors_name_the_shapes(task, trained):
    with pytest.raises(InputError, match=r"\(399, 12\).*\(400, 10\).*\(400, 20, 2\)"):
        train_regressor(task.latents[1:], task.model.codes, task.model, task.landmarks)
    with pytest.raises(InputError, match=r"\(400, 9\)"):
        train_regressor(task.latents, task.model.codes[:, 1:], task.model, task.landmarks)
    with pytest.raises(InputError, match="at least 5"):
        train(task, order=slice(4))
    with pytest.raises(InputError, match="held_out 0.95 of 5 rows leaves 0 to train"):
        train(task, dataclasses.replace(QUICK, held_out=0.95), order=slice(5))
    for constant in (np.ones((ROWS, WIDTH)), np.ones((ROWS, 0))):
        with pytest.raises(InputError, match="all equal"):
            train_regressor(constant, task.model.codes, task.model, task.landmarks)
    broken = task.latents.copy()
    broken[0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        train_regressor(broken, task.model.codes, task.model, task.landmarks)
    with pytest.raises(InputError, match=r"\(2, 5\).*\(N, 12\)"):
        trained.predict(np.zeros((2, 5)))


@pytest.mark.parametrize(
    "settings",
    [{"learning_rate": 0.0}, {"hidden": (8, 0)}, {"held_out": 1.0}, {"patience": 0}]
    + [
        {"averaging": 1.0},
        {"whiten": 1.5},
        {"code_weight": -1.0},
        {"weight_decay": -1.0},
        {"epochs": 0},
        {"batch": 0},
        {"batch": 16.5},
        {"hidden": (8, 8.5)},
        {"patience": 1.5},
        {"learning_rate": np.inf},
        {"seed": -1},
    ],
)
def test_refuses_settings_out_of_range(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        RegressorConfig(**settings)


def test_a_loss_that_blows_up_stops_the_run(task):
    with pytest.raises(RunError, match="not finite"):
        train(task, dataclasses.replace(QUICK, learning_rate=1e200))


def test_adding_a_constant_to_all_latents_changes_nothing_else(task, trained, rng):
    shift = 3 * rng.normal(size=WIDTH)
    other = train(dataclasses.replace(task, latents=task.latents + shift))
    np.testing.assert_allclose(
        other.predict(task.latents + shift), trained.predict(task.latents), atol=1e-6
    )


def test_rows_that_tie_in_their_first_numbers_may_come_in_any_order(task, rng):
    latents = task.latents.copy()
    latents[:, :3] = np.round(latents[:, :3])
    tied = dataclasses.replace(task, latents=latents)
    config, order = dataclasses.replace(QUICK, epochs=2), rng.permutation(ROWS)
    first, second = train(tied, config), train(tied, config, order)
    np.testing.assert_allclose(second.weights[0], first.weights[0], atol=1e-9)


def along_a_mode(task: Task, tilt: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks and code of one head whose camera looks along mode 0, but for `tilt` radians."""
    mode = task.model.modes[0]
    side = np.linalg.svd(mode[None])[2][1]
    depth = np.cos(tilt) * mode + np.sin(tilt) * side
    first = np.cross(depth, np.linalg.svd(depth[None])[2][1])
    camera = np.stack([first, np.cross(depth, first)])[None]
    q = codes_from(camera, np.zeros((1, 2)), np.full((1, 2), 0.5))
    points = task.model.project(q) + 5e-4 * rng.normal(size=(1, POINTS, 2))
    seen = points - points.mean(axis=1, keepdims=True)
    alpha = amplitudes(camera, task.model.modes, np.einsum("nlc,kl->nck", seen, task.model.basis))
    return points, codes_from(camera, alpha, points.mean(axis=1))


def test_a_camera_that_looks_along_a_mode_does_not_rule_the_training(task, trained, rng):
    points, code = along_a_mode(task, 1e-5, rng)
    assert abs(code[0, 6]) > 1e3 * task.model.codes[:, 6].std()
    latents = np.r_[task.latents, rng.normal(size=(1, WIDTH))]
    codes, landmarks = np.r_[task.model.codes, code], np.r_[task.landmarks, points]
    for seed in range(8):  # in some the row is held out, in some it trains
        config = dataclasses.replace(QUICK, epochs=3, seed=seed)
        found = train_regressor(latents, codes, task.model, landmarks, config)
        clean = train(task, config)
        assert max(found.held_out_loss) < 2 * max(clean.held_out_loss)
        assert found.spread[6] < 2 * clean.spread[6]
        assert abs(found.mean[6] - clean.mean[6]) < clean.spread[6]


def test_codes_are_clipped_to_six_robust_spreads(rng):
    codes = np.c_[rng.normal(size=1000), np.zeros(1000)]
    codes[3], codes[5, 0] = [341, 1], -90  # the second column has a quantile span of 0
    clipped = clip_codes(codes, codes)
    assert abs(clipped[:, 0]).max() == pytest.approx(6, rel=0.15)
    assert clipped[3, 1] == pytest.approx(6 * codes[:, 1].std())
    rest = np.delete(np.arange(1000), [3, 5])
    np.testing.assert_array_equal(clipped[rest], codes[rest])


def test_the_codes_alone_may_be_the_loss(task):
    config = dataclasses.replace(QUICK, landmark_weight=0.0)
    found = train(task, config)
    assert found.held_out_loss != found.held_out_landmarks
    assert found.held_out_landmarks[found.best_epoch] < 0.1 * task.landmarks.var(axis=0).mean()
    standard = (found.predict(task.latents) - task.model.codes) / found.spread
    assert (standard[:, [3, 4, -2, -1]] ** 2).mean() < 0.1  # those that the latents decide


def test_a_heavier_term_weighs_more(task):
    config = dataclasses.replace(QUICK, epochs=1)
    plain, heavy = train(task, config), train(task, dataclasses.replace(config, code_weight=100.0))
    assert heavy.train_loss[0] > 10 * plain.train_loss[0]
    heavy = train(task, dataclasses.replace(config, landmark_weight=100.0))
    assert heavy.train_loss[0] > 10 * plain.train_loss[0]


def test_outputs_that_are_only_centred_come_out_in_the_same_unit(task):
    """The paper's output layer; what it learns is kept in spreads all the same."""
    config = dataclasses.replace(QUICK, code_weight=0.0, standardise=False, learning_rate=3e-3)
    centred, scaled = train(task, config), train(task, dataclasses.replace(QUICK, code_weight=0.0))
    np.testing.assert_array_equal(centred.spread, scaled.spread)
    np.testing.assert_array_equal(centred.mean, scaled.mean)
    held = centred.held_out_landmarks[centred.best_epoch]
    assert held < 0.2 * task.landmarks.var(axis=0).mean()
    gaps = task.model.project(centred.predict(task.latents)) - task.landmarks
    assert (gaps**2).mean() < 2 * held  # the curve is that of the regressor which is returned
    assert abs(centred.weights[0] - scaled.weights[0]).max() > 1e-3


def test_single_precision_latents_are_read_as_they_are(task, trained):
    latents = task.latents.astype(np.float32)
    single = train(dataclasses.replace(task, latents=latents))
    double = train(dataclasses.replace(task, latents=latents.astype(np.float64)))
    for first, second in zip(single.weights, double.weights, strict=True):
        np.testing.assert_array_equal(first, second)
    assert single.weights[0].dtype == np.float64


@pytest.mark.parametrize("wide", [False, True])
def test_whitening_through_rows_or_numbers_is_the_same_map(rng, wide, monkeypatch):
    """Fewer rows than numbers go through the rows' own matrix; wide ones take some rows only."""
    latents = rng.normal(size=(90, 40)) * np.geomspace(3, 0.3, 40) + 2
    few = latents[:30]
    if wide:
        monkeypatch.setattr("mining.methods.whitening.WIDE", 30)
        few = latents  # of which the first 30 count
    into = whitening(few, 0.5)
    covariance = np.cov(latents[:30].T, bias=True)
    energy, axes = np.linalg.eigh(covariance)
    energy = np.maximum(energy / energy.max(), 1e-3)
    expected = (axes * energy**-0.25) @ axes.T
    found = into(np.eye(40))
    np.testing.assert_allclose(found / found[0, 0], expected / expected[0, 0], atol=1e-8)
    centred = latents[:30] - latents[:30].mean(axis=0)
    assert into(centred).std() == pytest.approx(1, rel=1e-6)


def test_whitening_in_parts_is_that_of_all_rows(rng, monkeypatch):
    latents = rng.normal(size=(500, 20)) * np.geomspace(3, 0.3, 20) + 2
    rows = rng.permutation(500)[:400]
    whole = whitening(latents[rows], 0.25)(latents)
    monkeypatch.setattr("mining.methods.whitening.PART", 64)
    np.testing.assert_allclose(whitening(latents, 0.25, rows)(latents), whole, rtol=1e-9)


@pytest.mark.parametrize("device", ["tpu", "", None])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(InputError, match="device of the regressor"):
        RegressorConfig(device=device)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"landmark_weight": 0.0, "code_weight": 0.0}, "nothing to learn"),
        ({"standardise": False}, "Expected code_weight 0"),
        ({"landmark_weight": -1.0}, "landmark_weight"),
    ],
)
def test_losses_that_cannot_be(settings, said):
    with pytest.raises(InputError, match=said):
        RegressorConfig(**settings)


def test_auto_is_the_processor_where_there_is_no_gpu(task):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    config = dataclasses.replace(QUICK, epochs=2)
    first, second = train(task, config), train(task, dataclasses.replace(config, device="auto"))
    np.testing.assert_array_equal(first.weights[0], second.weights[0])
    with pytest.raises(InputError, match="'cuda' is not to be had"):
        train(task, dataclasses.replace(config, device="cuda"))


@pytest.mark.gpu
def test_a_gpu_trains_as_well_as_the_processor(task):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    here = train(task)
    there = train(task, dataclasses.replace(QUICK, device="cuda"))
    first, second = min(here.held_out_loss), min(there.held_out_loss)
    assert second == pytest.approx(first, rel=0.05)
    np.testing.assert_allclose(there.train_loss[0], here.train_loss[0], rtol=1e-6)
    gaps = here.predict(task.latents) - there.predict(task.latents)
    assert np.sqrt(((gaps / here.spread) ** 2).mean()) < 0.1

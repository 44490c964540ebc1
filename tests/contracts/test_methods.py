"""One contract for every mining method: planted directions, shapes, signs, slopes, refusals."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from mining.methods.base import Direction
from mining.methods.camera import image_points
from mining.methods.control import ControlModel, fit_control
from mining.methods.nrsfm import NrsfmConfig
from mining.methods.registry import (
    CODE_METHODS,
    CONFIGS,
    CONTROL_METHODS,
    LEARNED_METHODS,
    METHODS,
    SCORE_METHODS,
    SUPERVISED_METHODS,
    UNSUPERVISED_METHODS,
    load_method,
    make_config,
    needs_control,
)
from mining.methods.regressor import RegressorConfig, train_regressor
from schemas.errors import InputError

ROWS, WIDTH, POINTS, SLOPE = 800, 16, 24, 5.0
SETTINGS = {"svm": {"share": 0.3, "cost": 0.05}}


@dataclasses.dataclass(frozen=True)
class Planted:
    """Latents whose first orthonormal direction turns a head, the second opens its mouth."""

    latents: np.ndarray
    truth: np.ndarray  # (2, WIDTH)
    scores: tuple[np.ndarray, np.ndarray]
    control: object
    exact: object  # a control model whose shape model is the planted one


@pytest.fixture(scope="module", params=["dense", "axes"])
def planted(request) -> Planted:
    """Truth in general position, and along single numbers of the latent."""
    rng = np.random.default_rng(1)
    truth = np.linalg.qr(rng.normal(size=(WIDTH, 4)))[0].T
    truth = np.eye(WIDTH)[:4] if request.param == "axes" else truth
    latents = rng.normal(size=(ROWS, WIDTH)) * np.linspace(0.6, 1.4, WIDTH)  # not white
    place = latents @ truth.T
    shape = 0.15 * rng.normal(size=(3, POINTS))
    bend = np.linalg.qr(np.c_[np.ones(POINTS), shape.T, rng.normal(size=POINTS)])[0][:, -1:].T
    q = np.zeros((ROWS, 9))
    q[:, [0, 2]] = 1.0
    q[:, 3:6] = 0.05 * rng.normal(size=(ROWS, 3)) * [1, 0, 1]
    q[:, 4] = np.radians(SLOPE * place[:, 0])
    q[:, 6] = 0.1 * place[:, 1]
    q[:, 7:] = 0.5 + 0.02 * place[:, 2:]
    shape -= shape.mean(axis=1, keepdims=True)
    way = np.array([[0.0, 1.0, 0.0]])
    x, y = image_points(q, shape, bend, way)
    landmarks = np.stack([x, y], axis=2) + 1e-4 * rng.normal(size=(ROWS, POINTS, 2))
    settings = RegressorConfig(hidden=(64, 64), weight_decay=0.01, epochs=60)
    control = fit_control(latents, landmarks, NrsfmConfig(components=1), settings)
    model = dataclasses.replace(control.shape, mean_shape=shape, basis=bend, modes=way, codes=q)
    exact = ControlModel(model, train_regressor(latents, q, model, landmarks, settings))
    noise = 0.1 * rng.normal(size=(2, ROWS))
    scores = tuple(SLOPE * place[:, i] + noise[i] for i in range(2))
    return Planted(latents, truth, scores, control, exact)


def mine(name: str, planted: Planted, latents=None, scores=None) -> Direction:
    latents = planted.latents if latents is None else latents
    scores = planted.scores[0] if scores is None else scores
    before = (planted.control,) if needs_control(name) else ()
    return load_method(name)(*before, latents, scores, make_config(name, **SETTINGS.get(name, {})))


def mine_codes(name: str, planted: Planted, latents=None, **settings) -> list[Direction]:
    latents = planted.latents if latents is None else latents
    return load_method(name)(planted.exact, latents, make_config(name, **settings))


# the unsupervised ones have a contract of their own in tests/mining/methods/test_unsupervised.py
every_method = pytest.mark.parametrize("name", SUPERVISED_METHODS)
# the control finds nothing, by intent: tests/mining/methods/test_random_direction.py
every_finding_method = pytest.mark.parametrize(
    "name", [name for name in SUPERVISED_METHODS if name != "random"]
)
every_code_method = pytest.mark.parametrize("name", CODE_METHODS)


@every_code_method
def test_finds_planted_codes_named_as_in_q(name, planted):
    names = planted.exact.shape.names
    for hold in ([], ["shape", "place"]):  # of pitch, roll and the camera latents tell nothing
        found = {x.attribute: x for x in mine_codes(name, planted, hold=hold)}
        assert list(found) == [code for code in names if code in found]
        yaw, bend = found["yaw"], found["alpha_0"]
        assert yaw.vector @ planted.truth[0] > 0.98  # under 11.5 degrees apart
        assert bend.vector @ planted.truth[1] > 0.98
        assert (yaw.unit, bend.unit) == ("degrees", "1") and math.isnan(bend.slope)
        assert yaw.slope == pytest.approx(SLOPE, rel=0.08)


@every_code_method
def test_code_directions_are_units_with_finite_evidence(name, planted):
    for direction in mine_codes(name, planted):
        assert (direction.method, direction.space) == (name, "w")
        assert direction.vector.shape == (WIDTH,) and direction.vector.dtype == np.float64
        assert np.linalg.norm(direction.vector) == pytest.approx(1, abs=1e-12)
        assert direction.evidence
        assert all(math.isfinite(value) for value in direction.evidence.values())


@every_code_method
def test_codes_come_out_the_same_whatever_the_order_of_rows(name, planted, rng):
    order = rng.permutation(ROWS)
    for settings in ({}, {"rows": 50}):
        before = planted.latents.copy()
        first = mine_codes(name, planted, **settings)
        np.testing.assert_array_equal(planted.latents, before)
        second = mine_codes(name, planted, planted.latents[order], **settings)
        assert [x.vector.tobytes() for x in first] == [x.vector.tobytes() for x in second]
        assert [x.evidence for x in first] == [x.evidence for x in second]


@every_code_method
@pytest.mark.parametrize(
    ("latents", "said"),
    [
        (np.ones((9, WIDTH - 1)), rf"\(9, {WIDTH - 1}\).*\(N, {WIDTH}\)"),
        (np.ones(WIDTH), rf"\({WIDTH},\).*\(N, {WIDTH}\)"),
        (np.full((9, WIDTH), np.inf), "NaN or infinity"),
        (np.ones((1, WIDTH)), "at least 2"),
    ],
)
def test_codes_of_latents_that_do_not_fit_are_refused(name, latents, said, planted):
    with pytest.raises(InputError, match=f"{name}: .*{said}"):
        mine_codes(name, planted, latents)


@every_finding_method
@pytest.mark.parametrize("attribute", [0, 1])
def test_finds_a_planted_direction_and_its_slope(name, attribute, planted):
    found = mine(name, planted, scores=planted.scores[attribute])
    assert found.vector @ planted.truth[attribute] > 0.97  # under 14.1 degrees apart
    assert found.slope == pytest.approx(SLOPE, rel=0.04)


@every_method
def test_returns_a_unit_vector_with_finite_evidence(name, planted):
    found = mine(name, planted)
    assert found.method == name
    assert found.vector.shape == (WIDTH,)
    assert found.vector.dtype == np.float64
    assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-12)
    assert found.evidence
    assert all(math.isfinite(value) for value in found.evidence.values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.slope = 0.0


@every_method
def test_row_order_does_not_matter(name, planted, rng):
    order = rng.permutation(ROWS)
    first = mine(name, planted)
    second = mine(name, planted, planted.latents[order], planted.scores[0][order])
    np.testing.assert_allclose(second.vector, first.vector, atol=1e-6)
    assert second.slope == pytest.approx(first.slope, rel=1e-6)


@every_method
def test_the_same_input_gives_the_same_bits(name, planted):
    first, second = mine(name, planted), mine(name, planted)
    assert first.vector.tobytes() == second.vector.tobytes()
    assert first.evidence == second.evidence


@every_method
def test_negated_scores_flip_the_vector(name, planted):
    first, second = mine(name, planted), mine(name, planted, scores=-planted.scores[0])
    np.testing.assert_allclose(second.vector, -first.vector, atol=1e-5)
    assert second.slope == pytest.approx(first.slope, rel=1e-5)


@every_method
def test_scaled_and_shifted_scores_scale_the_slope_alone(name, planted):
    first, second = mine(name, planted), mine(name, planted, scores=40 * planted.scores[0] + 7)
    np.testing.assert_allclose(second.vector, first.vector, atol=1e-5)
    assert second.slope == pytest.approx(40 * first.slope, rel=1e-5)


@every_method
def test_adding_a_constant_to_all_latents_changes_nothing(name, planted, rng):
    shift = 10 * rng.normal(size=WIDTH)
    regressor = planted.control.regressor
    moved = dataclasses.replace(
        planted,
        control=dataclasses.replace(
            planted.control,
            regressor=dataclasses.replace(regressor, centre=regressor.centre + shift),
        ),
    )
    first, second = mine(name, planted), mine(name, moved, planted.latents + shift)
    np.testing.assert_allclose(second.vector, first.vector, atol=1e-5)
    assert second.slope == pytest.approx(first.slope, rel=1e-5)


@every_finding_method
def test_a_rare_binary_attribute_has_a_direction_and_a_sign(name, planted):
    place = planted.latents @ planted.truth[0]
    scores = (place > np.sort(place)[-31]).astype(float)  # thirty ones: both quantiles are 0
    first, second = mine(name, planted, scores=scores), mine(name, planted, scores=-scores)
    assert first.vector @ planted.truth[0] > 0.75
    assert first.slope > 0
    np.testing.assert_allclose(second.vector, -first.vector, atol=1e-5)


@every_method
def test_rows_that_tie_in_their_first_numbers_may_come_in_any_order(name, planted, rng):
    latents = planted.latents.copy()
    latents[:, :3] = np.round(latents[:, :3])
    order = rng.permutation(ROWS)
    scores = np.round(planted.scores[0])
    first = mine(name, planted, latents, scores)
    second = mine(name, planted, latents[order], scores[order])
    np.testing.assert_allclose(second.vector, first.vector, atol=1e-6)
    for key, value in first.evidence.items():
        assert second.evidence[key] == pytest.approx(value, rel=1e-5, abs=1e-7), key


@every_method
def test_leaves_its_input_alone(name, planted):
    latents, scores = planted.latents.copy(), planted.scores[0].copy()
    mine(name, planted, latents, scores)
    np.testing.assert_array_equal(latents, planted.latents)
    np.testing.assert_array_equal(scores, planted.scores[0])


@every_method
def test_errors_name_both_shapes(name, planted):
    with pytest.raises(InputError, match=rf"\({ROWS}, {WIDTH}\).*\({ROWS - 1},\)"):
        mine(name, planted, scores=planted.scores[0][1:])
    with pytest.raises(InputError, match=rf"\({ROWS},\).*\({ROWS},\)"):
        mine(name, planted, latents=planted.latents[:, 0])


@every_method
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_what_is_not_finite(name, value, planted):
    scores, latents = planted.scores[0].copy(), planted.latents.copy()
    scores[3] = latents[4, 1] = value
    with pytest.raises(InputError, match="NaN"):
        mine(name, planted, scores=scores)
    with pytest.raises(InputError, match="NaN"):
        mine(name, planted, latents=latents)


@every_method
def test_refuses_constant_scores_and_too_few_rows(name, planted):
    with pytest.raises(InputError, match="nothing to learn"):
        mine(name, planted, scores=np.full(ROWS, 3.0))
    with pytest.raises(InputError, match=f"all {ROWS} latents are equal"):
        mine(name, planted, latents=np.ones((ROWS, WIDTH)))
    with pytest.raises(InputError, match=r"\(800, 0\) have no numbers"):
        mine(name, planted, latents=planted.latents[:, :0])
    with pytest.raises(InputError, match="at least"):
        mine(name, planted, planted.latents[:2], planted.scores[0][:2])


@every_method
def test_settings_are_frozen_and_checked(name):
    config = make_config(name)
    assert dataclasses.is_dataclass(config)
    assert hash(config) == hash(make_config(name))
    field = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, field, None)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ridge", {"penalty": 0.0}),
        ("ridge", {"penalty": math.inf}),
        ("svm", {"share": 0.6}),
        ("svm", {"cost": math.inf}),
        ("svm", {"least": 2.5}),
        ("svm", {"seed": -1}),
        ("svm", {"split": "half"}),
        ("svm", {"threshold": 0.5}),
        ("svm", {"split": "all", "threshold": math.nan}),
        ("svm", {"iterations": 0}),
        ("logistic", {"penalty": 0.0}),
        ("logistic", {"train": 1.0}),
        ("logistic", {"threshold": math.inf}),
        ("logistic", {"iterations": 0}),
        ("logistic", {"seed": -1}),
        ("lda", {"penalty": 0.0}),
        ("lda", {"threshold": math.nan}),
        ("random", {"seed": -1}),
        ("nrsfm", {"seed": -1}),
        ("robust_pca", {"degrees": 2.5}),
        ("robust_pca", {"seed": -1}),
        ("robust_pca", {"identities": 0}),
        ("svm", {"train": 1.0}),
        ("svm", {"cost": 0.0}),
        ("robust_pca", {"degrees": 1}),
        ("robust_pca", {"spread": 0.0}),
        ("robust_pca", {"tolerance": 0.0}),
        ("codes", {"cutoff": 1.0}),
        ("codes", {"rows": 1}),
        ("codes", {"seed": -1}),
        ("codes", {"hold": ["face"]}),
        ("codes", {"hold": "pose"}),
    ],
)
def test_refuses_settings_out_of_range(name, settings):
    with pytest.raises(InputError, match=name):
        make_config(name, **settings)


def test_more_identities_than_rows_are_refused(planted):
    config = make_config("robust_pca", identities=ROWS + 1)
    with pytest.raises(InputError, match="identities is 801, but only 800 rows"):
        load_method("robust_pca")(planted.control, planted.latents, planted.scores[0], config)


def test_the_split_of_the_anchors_is_in_the_evidence(planted):
    evidence = mine("robust_pca", planted).evidence
    assert 0 <= evidence["sparse_share"] < 0.5  # the regressor's anchors are not damaged
    assert 0.9 < evidence["plain_cosine"] <= 1 + 1e-12
    assert evidence["flipped"] == 0


def test_a_path_along_which_the_scores_fall_is_turned_round(planted):
    regressor = planted.control.regressor
    liar = dataclasses.replace(  # its gradient points the other way, its values are the same
        regressor, weights=(-regressor.weights[0], *regressor.weights[1:])
    )
    object.__setattr__(liar, "predict", regressor.predict)
    control = dataclasses.replace(planted.control, regressor=liar)
    found = load_method("robust_pca")(control, planted.latents, planted.scores[0])
    assert found.slope > 0
    assert found.evidence["flipped"] == 1


def test_registries_agree():
    groups = (
        *(SCORE_METHODS, CONTROL_METHODS, CODE_METHODS, UNSUPERVISED_METHODS),
        LEARNED_METHODS,
    )
    kinds = [set(group) for group in groups]
    assert set(CONFIGS) == set(METHODS) == set.union(*kinds)
    assert sum(map(len, kinds)) == len(METHODS)
    assert {name for name in METHODS if needs_control(name)} == kinds[1] | kinds[2]


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'ridge'"):
        load_method("rigde")

"""The head generator's basis as a shape model, against the generator itself."""

from __future__ import annotations

import numpy as np
import pytest

from mining.generators.head import HeadGenerator
from mining.generators.head import parameters as table
from mining.generators.head.model import head_model
from mining.shape3d.fit import FitConfig, Fitter
from mining.shape3d.readers.head import EXPRESSION, IDENTITY, population, read_head
from schemas.errors import InputError

BY_NAME = {parameter.name: parameter for parameter in table.PARAMETERS}
LIDS = [37, 38, 40, 41, 43, 44, 46, 47]


def coefficients(values: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """(N, P) parameters of heads -> (N, K) standard deviations from the mean head."""
    moments = np.array([population(BY_NAME[name]) for name in names])
    return (values[:, [table.NAMES.index(name) for name in names]] - moments[:, 0]) / moments[:, 1]


@pytest.fixture(scope="module")
def heads():
    """50 random heads: their parameters and true landmarks."""
    generator = HeadGenerator(resolution=64, supersampling=1)
    w = generator.map(generator.sample_z(50, np.random.default_rng(3)))
    return generator.synthesize_with_truth(generator.broadcast(w))[1]


def test_coefficients_are_standard_deviations_of_the_generators_heads():
    generator = HeadGenerator(entanglement=0.3)
    w = generator.map(generator.sample_z(4000, np.random.default_rng(1)))
    values = generator.parameters(generator.broadcast(w))
    for names in (IDENTITY, EXPRESSION):
        found = coefficients(values, names)
        np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.07)  # four standard errors
        np.testing.assert_allclose(found.std(axis=0), 1, atol=0.06)


def test_the_models_landmarks_are_those_of_the_generators_heads(heads):
    """Exactly, but for the lids, which follow the eye's closure along the surface."""
    model, values = read_head(), heads.parameters
    sparse = model.landmarks()
    identity, expression = coefficients(values, IDENTITY), coefficients(values, EXPRESSION)
    found = sparse.mean + np.tensordot(identity, sparse.identity, 1)
    found = found + np.tensordot(expression, sparse.expression, 1)
    head, lids = head_model(), []
    for points, row in zip(found, values, strict=True):
        named = {**table.as_dict(row), "hair_volume": 0.0, "hair_curl": 0.0}
        true = head.landmarks(head.vertices(named), named["eye_closed"]).T
        error = np.linalg.norm(points - true, axis=1)  # mm
        assert np.delete(error, LIDS).max() < 1e-3
        lids.append(error[LIDS])
    assert np.max(lids) < 2.0
    assert np.mean(lids) < 0.4  # 0.3 of some 7 mm between the lids


def test_the_mesh_comes_before_its_landmarks():
    model, head = read_head(), head_model()
    rows, columns = head.sheet.x.shape
    assert len(model.mean) == rows * columns + 68
    expected = head.base.astype(np.float64)
    for name, shape in zip(head.shape_names, head.shapes, strict=True):
        if name in (*IDENTITY, *EXPRESSION):
            expected = expected + population(BY_NAME[name])[0] * shape.reshape(expected.shape)
    np.testing.assert_allclose(model.mean[:-68], expected.reshape(3, -1).T, atol=1e-4)
    smile = head.shapes[head.shape_names.index("smile")].reshape(3, -1).T
    found = model.expression[EXPRESSION.index("smile"), :-68]
    np.testing.assert_allclose(found, population(BY_NAME["smile"])[1] * smile, atol=1e-6)
    closed = model.expression[EXPRESSION.index("eye_closed")]
    assert not closed[:-68].any()  # drawn, not moved
    assert (closed[-68:][[37, 38, 43, 44], 1] < -1).all()  # upper lids sink, mm a deviation
    assert not np.delete(closed[-68:], LIDS, axis=0).any()


def test_it_names_itself_and_is_the_same_each_time():
    model = read_head()
    assert model.name == "head" and "Apache-2.0" in model.licence
    assert model.expression_names == EXPRESSION and len(model.expression) == 6
    assert len(model.identity) == len(IDENTITY) == 27
    assert model.sha256 == read_head(None).sha256 and len(model.sha256) == 64


def test_a_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="it reads none"):
        read_head(tmp_path / "head.npz")


def test_true_landmarks_give_back_the_true_parameters(heads):
    fit = Fitter(read_head().landmarks(), FitConfig(noise=0.5)).fit(heads.landmarks_2d)
    assert fit.good.all() and fit.converged.all()
    true = heads.parameters[:, [table.NAMES.index(name) for name in ("yaw", "pitch", "roll")]]
    error = fit.angles - true
    assert np.abs(error[:, [0, 2]]).mean() < 0.5  # degrees
    assert np.abs(error[:, 1] - error[:, 1].mean()).mean() < 0.7
    for name, least in (("smile", 0.98), ("mouth_open", 0.99), ("eye_closed", 0.95)):
        found = fit.expression[:, EXPRESSION.index(name)]
        assert np.corrcoef(found, heads.parameters[:, table.NAMES.index(name)])[0, 1] > least

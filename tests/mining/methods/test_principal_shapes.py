"""Principal shapes: planted bending comes out in order, and the maps are each other's inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.methods.camera import image_points
from mining.methods.principal_shapes import PrincipalShapes, principal_shapes
from mining.methods.shape_model import ShapeModel
from schemas.errors import InputError

POINTS = 11


def model_of(basis, modes, alpha) -> ShapeModel:
    """A shape model with these modes, fitted to rows with these amplitudes."""
    codes = np.zeros((len(alpha), 8 + len(basis)))
    codes[:, 6:-2] = alpha
    flat = np.zeros((3, POINTS))
    return ShapeModel(flat, basis, modes, codes, 0.0, 0.1, 0.0, 1.0, metric=True)


def random_model(rng, modes=4, rows=300) -> ShapeModel:
    """Modes that overlap, and amplitudes that go together."""
    basis, ways = rng.normal(size=(modes, POINTS)), rng.normal(size=(modes, 3))
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    alpha = rng.normal(size=(rows, modes)) @ rng.normal(size=(modes, modes)) + 1.0
    return model_of(basis, ways, alpha)


def bending(model: ShapeModel, alpha) -> np.ndarray:
    """(N, 3, L) sum_k alpha_k d_k b_k'."""
    return np.einsum("nk,ki,kl->nil", alpha, model.modes, model.basis)


def rebuilt(found: PrincipalShapes, model: ShapeModel, coordinates) -> np.ndarray:
    """(N, 3, L) the mean bending and the shapes by their coordinates."""
    return bending(model, found.mean[None]) + np.tensordot(coordinates, found.shapes, 1)


def test_planted_shapes_come_out_in_the_order_of_their_variance(rng):
    """Orthogonal rows and ways: every mode is a shape, and alpha its coordinate."""
    basis = np.linalg.qr(rng.normal(size=(POINTS, 3)))[0].T
    spreads = np.array([0.2, 3.0, 1.0])
    alpha = 5 + np.linalg.qr(rng.normal(size=(500, 3)))[0] * np.sqrt(500) * spreads
    found = principal_shapes(model_of(basis, np.eye(3), alpha))
    np.testing.assert_allclose(found.spreads, [3.0, 1.0, 0.2], rtol=0.15)
    for shape, mode in zip(found.shapes, (1, 2, 0), strict=True):
        planted = np.outer(np.eye(3)[mode], basis[mode])
        assert abs((shape * planted).sum()) > 0.99
    assert found.explained == pytest.approx(found.spreads**2 / (found.spreads**2).sum())


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_any_modes_are_turned_into_orthonormal_shapes_and_back(modes, seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, modes)
    found = principal_shapes(model)
    flat = found.shapes.reshape(modes, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(modes), atol=1e-6)
    assert (np.diff(found.spreads) <= 0).all() and found.spreads[-1] >= 0
    alpha = model.codes[:40, 6:-2]
    coordinates = found.to_principal(alpha)
    np.testing.assert_allclose(found.from_principal(coordinates), alpha, atol=1e-6)
    np.testing.assert_allclose(rebuilt(found, model, coordinates), bending(model, alpha), atol=1e-6)
    assert (found.shapes.reshape(modes, -1)[range(modes), np.abs(flat).argmax(axis=1)] > 0).all()


def test_the_coordinates_are_those_of_the_landmarks_principal_components(rng):
    """Of the 3-D points themselves, not of alpha, whose modes overlap."""
    model = random_model(rng)
    found = principal_shapes(model)
    points = bending(model, model.codes[:, 6:-2]).reshape(300, -1)
    centred = points - points.mean(axis=0)
    sizes, rows = np.linalg.svd(centred, full_matrices=False)[1:]
    np.testing.assert_allclose(found.spreads, sizes[:4] / np.sqrt(299), rtol=1e-6)
    for shape, row in zip(found.shapes, rows, strict=False):
        assert abs(shape.ravel() @ row) == pytest.approx(1, abs=1e-6)
    scores = found.to_principal(model.codes[:, 6:-2])
    covariance = np.cov(scores, rowvar=False)
    np.testing.assert_allclose(covariance, np.diag(found.spreads**2), atol=1e-8)


def test_in_the_image_what_cameras_do_not_see_comes_last(rng):
    """A mode in depth of three times the spread: first in space, last where heads hardly turn."""
    basis = np.linalg.qr(rng.normal(size=(POINTS, 2)))[0].T
    alpha = rng.normal(size=(400, 2)) * [1.0, 3.0]
    model = model_of(basis, np.eye(3)[[0, 2]], alpha)
    codes = model.codes.copy()
    codes[:, [0, 2]] = 1.0
    codes[:, 4] = 0.1 * rng.normal(size=400)  # yaw
    seen = principal_shapes(model, codes, "image")
    plain = principal_shapes(model, codes)
    assert abs(plain.shapes[0, 2]).max() > 0.1 > abs(plain.shapes[0, 0]).max()
    first = seen.shapes[0]
    assert np.linalg.norm(first[0]) == pytest.approx(1, abs=0.02)
    assert seen.explained[0] > 0.85 and plain.explained[0] > 0.85
    points = np.stack(image_points(codes, np.zeros((3, POINTS)), basis, model.modes), axis=1)
    assert (seen.spreads**2).sum() == pytest.approx((points**2).sum() / 400, rel=0.05)
    coordinates = seen.to_principal(alpha)
    np.testing.assert_allclose(np.cov(coordinates.T), np.diag(seen.spreads**2), atol=1e-9)
    np.testing.assert_allclose(seen.from_principal(coordinates), alpha, atol=1e-9)


def test_two_modes_that_are_one_give_one_shape_and_the_same_faces(rng):
    basis, ways = rng.normal(size=(1, POINTS)), rng.normal(size=(1, 3))
    basis, ways = basis / np.linalg.norm(basis), ways / np.linalg.norm(ways)
    alpha = rng.normal(size=(200, 2))
    model = model_of(np.repeat(basis, 2, axis=0), np.repeat(ways, 2, axis=0), alpha)
    found = principal_shapes(model)
    assert found.shapes.shape == (1, 3, POINTS) and found.axes.shape == (2, 1)
    assert found.spreads[0] == pytest.approx(alpha.sum(axis=1).std(ddof=1))
    back = found.from_principal(found.to_principal(alpha))
    np.testing.assert_allclose(bending(model, back), bending(model, alpha), atol=1e-8)


def test_one_camera_along_a_mode_does_not_rule_the_shapes(rng):
    model = random_model(rng)
    codes = model.codes.copy()
    codes[0, 6] = 1e4  # alpha_0 of a camera that hardly sees d_0
    wild, calm = principal_shapes(model, codes), principal_shapes(model)
    np.testing.assert_allclose(wild.spreads, calm.spreads, rtol=0.1)


def test_what_does_not_fit_is_refused(rng):
    model = random_model(rng)
    found = principal_shapes(model)
    with pytest.raises(InputError, match=r"codes are \(3, 9\), expected \(N, 12\)"):
        principal_shapes(model, np.zeros((3, 9)))
    with pytest.raises(InputError, match="0 codes came.*loaded carries none"):
        principal_shapes(model, np.empty((0, 12)))
    with pytest.raises(InputError, match="NaN"):
        principal_shapes(model, np.full((3, 12), np.nan))
    with pytest.raises(InputError, match="did you mean 'image'"):
        principal_shapes(model, metric="images")
    with pytest.raises(InputError, match=r"alpha are \(2, 5\), expected \(N, 4\)"):
        found.to_principal(np.zeros((2, 5)))
    with pytest.raises(InputError, match=r"coordinates are \(2, 5\), expected \(N, 4\)"):
        found.from_principal(np.zeros((2, 5)))

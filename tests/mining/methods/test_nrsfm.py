"""NRSfM: the closed form against restarts and alternating least squares, and what it recovers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares, minimize

from mining.methods.camera import cameras_of, image_points
from mining.methods.nrsfm import NrsfmConfig, best_mode, fit_nrsfm
from mining.methods.shape_model import ShapeModel
from schemas.errors import InputError

ROWS, POINTS, MODES = 120, 30, 4


def planted_heads(rng, rows=ROWS, noise=1e-3, bend=0.03):
    """Landmarks of bending heads, and the (rows, 8 + MODES) codes that made them."""
    place = rng.normal(size=(2, POINTS))
    place /= np.maximum(1, np.linalg.norm(place, axis=0))  # in the unit disc
    shape = 0.2 * np.stack([*place, (place**2).sum(axis=0)])  # a bowl, its bottom to the viewer
    shape += 0.01 * rng.normal(size=shape.shape)
    shape -= shape.mean(axis=1, keepdims=True)
    basis = np.linalg.qr(np.c_[np.ones(POINTS), shape.T, rng.normal(size=(POINTS, MODES))])[0]
    modes = rng.normal(size=(MODES, 3))
    modes /= np.linalg.norm(modes, axis=1, keepdims=True)
    q = np.zeros((rows, 8 + MODES))
    q[:, 0] = q[:, 2] = 1 + 0.05 * rng.normal(size=rows)
    q[:, 3:6] = rng.normal(size=(rows, 3)) * [0.2, 0.35, 0.15]
    q[:, 6:-2] = bend * rng.normal(size=(rows, MODES)) * np.linspace(1, 0.5, MODES)
    q[:, -2:] = 0.5 + 0.05 * rng.normal(size=(rows, 2))
    points = np.stack(image_points(q, shape, basis.T[4:], modes), axis=2)
    return points + noise * rng.normal(size=points.shape), q


def centred(landmarks):
    return (landmarks - landmarks.mean(axis=1, keepdims=True)).transpose(0, 2, 1)


def als_objective(landmarks, model: ShapeModel, rng, sweeps=50):
    """Equation (10) after alternating least squares over D and alpha, cameras and b_k fixed."""
    cameras, data = cameras_of(model.codes), centred(landmarks)
    modes = rng.normal(size=model.modes.shape)
    for _ in range(sweeps):
        modes /= np.linalg.norm(modes, axis=1, keepdims=True)
        bent = data @ model.basis.T
        seen = np.einsum("nci,ki->nck", cameras, modes)
        alpha = (seen * bent).sum(axis=1) / (seen**2).sum(axis=1)
        for k in range(len(modes)):
            rows = (alpha[:, k, None, None] * cameras).reshape(-1, 3)
            modes[k] = np.linalg.lstsq(rows, bent[:, :, k].reshape(-1), rcond=None)[0]
    seen = np.einsum("nci,ki->nck", cameras, modes)
    alpha = (seen * bent).sum(axis=1) / (seen**2).sum(axis=1)
    fitted = cameras @ model.mean_shape + (seen * alpha[:, None]) @ model.basis
    return float(((fitted - data) ** 2).sum())


def restarts_objective(landmarks, model: ShapeModel, rng, restarts=20):
    """Equation (10) with every d_k the best of many local searches from random starts."""
    cameras, data = cameras_of(model.codes), centred(landmarks)
    bent = data @ model.basis.T
    total = ((data - cameras @ model.mean_shape) ** 2).sum()
    for k in range(len(model.modes)):
        pull = np.einsum("nci,nc->ni", cameras, bent[:, :, k])
        gram = np.einsum("nci,ncj->nij", cameras, cameras)

        def left(d, pull=pull, gram=gram):
            return -float(((pull @ d) ** 2 / np.einsum("i,nij,j->n", d, gram, d)).sum())

        starts = rng.normal(size=(restarts, 3))
        total += min(minimize(left, start, tol=1e-12).fun for start in starts)
    return float(total)


@pytest.mark.parametrize("seed", range(4))
def test_objective_is_the_best_of_restarts_and_never_above_als(seed):
    rng = np.random.default_rng(seed)
    landmarks, _ = planted_heads(rng, noise=4e-3)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=6))
    best = restarts_objective(landmarks, model, rng)
    assert model.objective <= best * (1 + 1e-6)
    assert model.objective <= als_objective(landmarks, model, rng) * (1 + 1e-12)


def test_mode_search_finds_the_global_maximum_of_a_rough_objective(rng):
    cameras = np.linalg.qr(rng.normal(size=(6, 3, 3)))[0][:, :2]  # six rows: many local maxima
    bent = rng.normal(size=(6, 2))

    def explained(d):
        seen = cameras @ d
        return (np.einsum("nc,nc...->n...", bent, seen) ** 2 / (seen**2).sum(axis=1)).sum(axis=0)

    dense = rng.normal(size=(3, 200_000))
    assert explained(best_mode(cameras, bent)) >= explained(dense).max() * (1 - 1e-9)


def test_recovers_planted_shapes_and_angles(rng):
    landmarks, q = planted_heads(rng, rows=600, noise=1e-4, bend=0.01)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES))
    assert model.metric
    assert model.relative_residual < 0.01
    assert model.rms < 0.002
    for angle in ("pitch", "yaw", "roll"):
        column = model.names.index(angle)
        slope, _ = np.polyfit(q[:, column], model.codes[:, column], 1)
        correlation = np.corrcoef(q[:, column], model.codes[:, column])[0, 1]
        assert correlation > 0.99
        assert slope == pytest.approx(1, abs=0.08)  # metric: radians are radians, mirror right


def test_the_mean_rotation_faces_the_camera_and_scale_is_one(rng):
    landmarks, _ = planted_heads(rng)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES))
    assert abs(np.degrees(model.codes[:, 3:6].mean(axis=0))).max() < 2
    assert np.sqrt(model.codes[:, 0] * model.codes[:, 2]).mean() == pytest.approx(1)
    assert (model.codes[:, [0, 2]] > 0).all()


def test_rows_are_orthonormal_and_named_in_the_papers_order(rng):
    landmarks, _ = planted_heads(rng)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES))
    rows = np.concatenate([model.basis, np.ones((1, POINTS)) / np.sqrt(POINTS)])
    np.testing.assert_allclose(rows @ rows.T, np.eye(MODES + 1), atol=1e-10)
    np.testing.assert_allclose(model.basis @ model.mean_shape.T, 0, atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(model.modes, axis=1), 1)
    assert model.names[:6] == ("k11", "k12", "k22", "pitch", "yaw", "roll")
    assert model.names[6:] == ("alpha_0", "alpha_1", "alpha_2", "alpha_3", "t_x", "t_y")


def test_residuals_are_those_of_the_codes(rng):
    landmarks, _ = planted_heads(rng)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=2))
    gaps = model.project(model.codes) - landmarks
    assert model.objective == pytest.approx((gaps**2).sum())
    assert model.rms == pytest.approx(
        np.sqrt((model.residuals(landmarks, model.codes) ** 2).mean())
    )
    assert 0 < model.relative_residual < 0.3
    assert 0.9 < model.rank_share <= 1


def test_fit_is_never_worse_than_the_codes_and_matches_a_general_solver(rng):
    landmarks, _ = planted_heads(rng, noise=4e-3)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES))
    fresh, _ = planted_heads(np.random.default_rng(20_26), noise=8e-3)
    codes = model.fit(landmarks)
    assert ((model.project(codes) - landmarks) ** 2).sum() <= model.objective
    start = model.fit(fresh[:5], sweeps=1)
    closed = model.fit(fresh[:5], tolerance=1e-13, sweeps=3000)
    for row in range(5):
        solved = least_squares(
            lambda q, row=row: (model.project(q[None])[0] - fresh[row]).ravel(),
            start[row],
            xtol=1e-12,
            ftol=1e-12,
        )
        assert model.residuals(fresh[row], closed[row, None])[
            0
        ] ** 2 * POINTS / 2 <= solved.cost * (1 + 1e-4)


def test_fit_inverts_project(rng):
    landmarks, _ = planted_heads(rng)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES))
    points = model.project(model.codes)
    np.testing.assert_allclose(model.project(model.fit(points)), points, atol=1e-5)


def test_row_order_changes_nothing_but_the_order(rng):
    landmarks, _ = planted_heads(rng)
    order = rng.permutation(ROWS)
    first = fit_nrsfm(landmarks, NrsfmConfig(components=MODES))
    second = fit_nrsfm(landmarks[order], NrsfmConfig(components=MODES))
    np.testing.assert_allclose(second.codes, first.codes[order], atol=1e-7)
    np.testing.assert_allclose(second.mean_shape, first.mean_shape, atol=1e-7)


def test_errors_name_the_shape(rng):
    landmarks, _ = planted_heads(rng)
    with pytest.raises(InputError, match=r"\(120, 30\)"):
        fit_nrsfm(landmarks[..., 0])
    with pytest.raises(InputError, match="30 landmarks cannot carry 40 modes"):
        fit_nrsfm(landmarks, NrsfmConfig(components=40))
    with pytest.raises(InputError, match="less than three dimensions"):
        fit_nrsfm(np.repeat(landmarks[:1], 20, axis=0))
    with pytest.raises(InputError, match="components is 0"):
        NrsfmConfig(components=0)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES))
    with pytest.raises(InputError, match=r"\(120, 29, 2\).*\(N, 30, 2\)"):
        model.fit(landmarks[:, 1:])
    with pytest.raises(InputError, match=r"\(3, 5\).*\(N, 12\)"):
        model.project(np.zeros((3, 5)))
    landmarks[7, 2] = np.nan
    with pytest.raises(InputError, match="1 of 120 rows hold NaN"):
        fit_nrsfm(landmarks)

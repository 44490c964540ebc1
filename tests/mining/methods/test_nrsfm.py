"""NRSfM: the closed form against restarts and alternating least squares, and what it recovers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.optimize import least_squares, minimize

from mining.generators.head.camera import pose_matrix
from mining.methods.camera import image_points
from mining.methods.closed_form import best_mode
from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from schemas.errors import InputError

ROWS, POINTS, MODES = 120, 30, 4
CLOSED = {"calibration": "upgrade", "sweeps": 0}  # what the closed form alone gives


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


@dataclasses.dataclass(frozen=True)
class Factors:
    """X = M_0 B_0 + M_0 (alpha x D) B + rest, from NumPy's SVD of the measurements alone.

    Another gauge than the model's (its cameras are metric), but equation (10) does not depend on
    it: M_0 A, inv(A) B_0 and inv(A) d_k fit as well.
    """

    cameras: np.ndarray  # (N, 2, 3)
    basis: np.ndarray  # (K, L)
    residual: np.ndarray  # (N, 2, L), X - M_0 B_0

    @classmethod
    def of(cls, landmarks, components):
        data = centred(landmarks)
        left, sizes, rows = np.linalg.svd(data.reshape(-1, POINTS), full_matrices=False)
        cameras = (left[:, :3] * sizes[:3]).reshape(-1, 2, 3)
        return cls(cameras, rows[3 : 3 + components], data - cameras @ rows[:3])


def als_objective(factors: Factors, rng, sweeps=50):
    """Equation (10) after alternating least squares over D and alpha, in Kronecker form.

    vec(X_n - M_n B_0) = sum_k alpha_nk (b_k x M_n) d_k is linear in D for fixed alpha, and in
    alpha_n for fixed D.
    """
    cameras, basis, residual = factors.cameras, factors.basis, factors.residual
    target = residual.reshape(len(residual), -1)
    parts = np.einsum("nci,kl->nclki", cameras, basis)
    modes = rng.normal(size=(len(basis), 3))
    for _ in range(sweeps):
        design = np.einsum("nclki,ki->nclk", parts, modes).reshape(*target.shape, -1)
        alpha = np.linalg.solve(
            design.transpose(0, 2, 1) @ design, design.transpose(0, 2, 1) @ target[..., None]
        )[..., 0]
        design = (parts * alpha[:, None, None, :, None]).reshape(target.size, -1)
        gram = design.T @ design
        modes = np.linalg.solve(gram, design.T @ target.ravel()).reshape(modes.shape)
    gap = target.ravel() - design @ modes.ravel()
    return float(gap @ gap)


def restarts_objective(factors: Factors, rng, restarts=20):
    """Equation (10) with every d_k the best of many local searches from random starts."""
    total = (factors.residual**2).sum()
    gram = np.einsum("nci,ncj->nij", factors.cameras, factors.cameras)
    for row in factors.basis:
        pull = np.einsum("nci,nc->ni", factors.cameras, factors.residual @ row)

        def left(d, pull=pull):
            return -float(((pull @ d) ** 2 / np.einsum("i,nij,j->n", d, gram, d)).sum())

        starts = rng.normal(size=(restarts, 3))
        total += min(minimize(left, start, tol=1e-12).fun for start in starts)
    return float(total)


@pytest.mark.parametrize("seed", range(4))
def test_objective_is_the_best_of_restarts_and_never_above_als(seed):
    rng = np.random.default_rng(seed)
    landmarks, _ = planted_heads(rng, noise=4e-3)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=6, **CLOSED))
    factors = Factors.of(landmarks, 6)
    best = restarts_objective(factors, rng)
    assert best * (1 - 5e-3) <= model.objective <= best * (1 + 1e-6)
    for _ in range(3):
        assert model.objective <= als_objective(factors, rng) * (1 + 1e-9)
    np.testing.assert_allclose(model.basis @ model.basis.T, np.eye(6), atol=1e-10)
    np.testing.assert_allclose(model.basis @ model.mean_shape.T, 0, atol=1e-10)
    np.testing.assert_allclose(model.basis.sum(axis=1), 0, atol=1e-10)


@pytest.mark.parametrize(
    ("rows", "seeds"),
    [(6, range(5)), (12, range(5)), (40, (0, 1, 33, 56)), (100, (0, 1, 31))],
)
def test_mode_search_finds_the_highest_of_many_local_maxima(rows, seeds):
    """Rough problems; 33, 56 and 31 are those that a thousand points and six starts missed."""
    dense = np.random.default_rng(0).normal(size=(3, 20_000))
    dense /= np.linalg.norm(dense, axis=0)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        cameras = np.linalg.qr(rng.normal(size=(rows, 3, 3)))[0][:, :2]
        bent = rng.normal(size=(rows, 2))
        pull = np.einsum("nci,nc->ni", cameras, bent)

        def explained(d, cameras=cameras, pull=pull):
            seen = np.tensordot(cameras, d, axes=1)
            return ((pull @ d) ** 2 / (seen**2).sum(axis=1)).sum(axis=0)

        values = explained(dense)
        tops = dense[:, values.argsort()[-20:]].T[::4]
        polished = [minimize(lambda d, f=explained: -float(f(d)), top).fun for top in tops]
        found = explained(best_mode(cameras, bent))
        assert found >= max(values.max(), -min(polished)) * (1 - 1e-9)


def test_recovers_planted_shapes_and_angles(rng):
    landmarks, q = planted_heads(rng, rows=600, noise=1e-4, bend=0.01)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES, **CLOSED))
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
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES, **CLOSED))
    assert abs(np.degrees(model.codes[:, 3:6].mean(axis=0))).max() < 2
    assert np.sqrt(model.codes[:, 0] * model.codes[:, 2]).mean() == pytest.approx(1)
    assert (model.codes[:, [0, 2]] > 0).all()


def test_rows_are_orthonormal_and_named_in_the_papers_order(rng):
    landmarks, _ = planted_heads(rng)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES, **CLOSED))
    rows = np.concatenate([model.basis, np.ones((1, POINTS)) / np.sqrt(POINTS)])
    np.testing.assert_allclose(rows @ rows.T, np.eye(MODES + 1), atol=1e-10)
    np.testing.assert_allclose(model.basis @ model.mean_shape.T, 0, atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(model.modes, axis=1), 1)
    assert model.names[:6] == ("k11", "k12", "k22", "pitch", "yaw", "roll")
    assert model.names[6:] == ("alpha_0", "alpha_1", "alpha_2", "alpha_3", "t_x", "t_y")


def test_residuals_are_those_of_the_codes(rng):
    landmarks, _ = planted_heads(rng)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=2, **CLOSED))
    gaps = model.project(model.codes) - landmarks
    assert model.objective == pytest.approx((gaps**2).sum())
    assert model.rms == pytest.approx(
        np.sqrt((model.residuals(landmarks, model.codes) ** 2).mean())
    )
    assert 0 < model.relative_residual < 0.3
    assert 0.9 < model.rank_share <= 1


def test_fit_is_never_worse_than_the_codes_and_matches_a_general_solver(rng):
    both, _ = planted_heads(rng, rows=2 * ROWS, noise=4e-3)
    landmarks, fresh = both[:ROWS], both[ROWS:]  # one kind of head, other rows
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES, **CLOSED))
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
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES, **CLOSED))
    points = model.project(model.codes)
    np.testing.assert_allclose(model.project(model.fit(points)), points, atol=1e-5)


def test_fit_of_a_row_does_not_depend_on_the_rows_beside_it(rng):
    both, _ = planted_heads(rng, rows=2 * ROWS, noise=8e-3)
    model = fit_nrsfm(both[:ROWS], NrsfmConfig(components=MODES, **CLOSED))
    together = model.fit(both[ROWS:])
    for row in range(0, ROWS, 3):
        alone = model.fit(both[ROWS + row, None])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-9)


def test_angles_have_the_signs_and_the_order_of_the_geometry_attributes(rng):
    """Solids posed by the head generator's own rotation, y up there and down in landmarks."""
    place = rng.uniform(-1, 1, size=(2, POINTS))
    solid = 0.2 * np.stack([*place, -(place**2).sum(axis=0)])  # z to the viewer
    angles = rng.normal(size=(300, 3)) * [12, 20, 10]  # pitch, yaw, roll in degrees
    posed = np.stack([pose_matrix(yaw, pitch, roll) @ solid for pitch, yaw, roll in angles])
    landmarks = 0.5 + np.stack([posed[:, 0], -posed[:, 1]], axis=2)
    landmarks += 1e-5 * rng.normal(size=landmarks.shape)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=1, **CLOSED))
    found = np.degrees(model.codes[:, 3:6])
    assert model.names[3:6] == ("pitch", "yaw", "roll")
    for i in range(3):
        slope, _ = np.polyfit(angles[:, i], found[:, i], 1)
        assert slope == pytest.approx(1, abs=0.03)
        assert np.corrcoef(angles[:, i], found[:, i])[0, 1] > 0.995
    fresh = np.degrees(model.fit(landmarks[:20])[:, 3:6])
    np.testing.assert_allclose(fresh, found[:20], atol=0.5)


def test_landmarks_of_low_rank_leave_the_constant_out_of_the_modes(rng):
    landmarks, _ = planted_heads(rng, noise=0)  # rank 3 + 4, asked for 3 + 12
    model = fit_nrsfm(landmarks, NrsfmConfig(components=12, **CLOSED))
    np.testing.assert_allclose(model.basis @ model.basis.T, np.eye(12), atol=1e-10)
    np.testing.assert_allclose(model.basis.sum(axis=1), 0, atol=1e-10)
    np.testing.assert_allclose(model.mean_shape.sum(axis=1), 0, atol=1e-10)
    np.testing.assert_allclose(model.codes[:, -2:], landmarks.mean(axis=1))
    assert model.rank_share == pytest.approx(1)
    assert model.relative_residual < 0.05


@pytest.mark.parametrize("kind", ["one point", "level", "slanted"])
def test_rows_on_one_line_are_counted_and_named(rng, kind):
    landmarks, _ = planted_heads(rng)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES, **CLOSED))
    line = {
        "one point": np.full((POINTS, 2), 0.5),
        "level": np.c_[np.linspace(0.2, 0.8, POINTS), np.full(POINTS, 0.4)],
        "slanted": np.linspace(0.2, 0.8, POINTS)[:, None] * [1, 0.7] + 0.1,
    }[kind].astype(np.float32)
    landmarks[[17, 30, 99]] = line
    with pytest.raises(InputError, match="3 of 120 rows are collinear, first 17, 30, 99; drop"):
        fit_nrsfm(landmarks, NrsfmConfig(components=MODES, **CLOSED))
    with pytest.raises(InputError, match="1 of 1 rows are collinear, first 0"):
        model.fit(landmarks[17:18])


def test_row_order_changes_nothing_but_the_order(rng):
    landmarks, _ = planted_heads(rng)
    order = rng.permutation(ROWS)
    first = fit_nrsfm(landmarks, NrsfmConfig(components=MODES, **CLOSED))
    second = fit_nrsfm(landmarks[order], NrsfmConfig(components=MODES, **CLOSED))
    np.testing.assert_allclose(second.codes, first.codes[order], atol=1e-7)
    np.testing.assert_allclose(second.mean_shape, first.mean_shape, atol=1e-7)


def test_errors_name_the_shape(rng):
    landmarks, _ = planted_heads(rng)
    with pytest.raises(InputError, match=r"\(120, 30\)"):
        fit_nrsfm(landmarks[..., 0])
    with pytest.raises(InputError, match="30 landmarks cannot carry 40 modes"):
        fit_nrsfm(landmarks, NrsfmConfig(components=40, **CLOSED))
    with pytest.raises(InputError, match="less than three dimensions"):
        fit_nrsfm(np.repeat(landmarks[:1], 20, axis=0))
    with pytest.raises(InputError, match="components is 0"):
        NrsfmConfig(components=0)
    for settings in ({"components": 2.5}, {"grid": 2.5}, {"starts": 0}):
        with pytest.raises(InputError, match=f"{next(iter(settings))} is"):
            NrsfmConfig(**settings)
    model = fit_nrsfm(landmarks, NrsfmConfig(components=MODES, **CLOSED))
    with pytest.raises(InputError, match=r"\(120, 29, 2\).*\(N, 30, 2\)"):
        model.fit(landmarks[:, 1:])
    with pytest.raises(InputError, match=r"\(3, 5\).*\(N, 12\)"):
        model.project(np.zeros((3, 5)))
    landmarks[7, 2] = np.nan
    with pytest.raises(InputError, match="1 of 120 rows hold NaN"):
        fit_nrsfm(landmarks)

"""The joint refinement and the rigid landmarks: planted shapes, and heads whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from mining.generators.head import HeadGenerator
from mining.generators.head import parameters as table
from mining.generators.head.camera import Camera
from mining.generators.head.model import head_model, visible_jaw
from mining.generators.head.raster import grid_normals
from mining.methods.camera import euler_angles, image_points, rotation, split_cameras
from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from mining.methods.refine import Factors, refine
from mining.methods.rigid import rigid_shape, scaled_orthographic
from schemas.errors import InputError

POINTS, MODES, BENDING = 30, 4, 12  # the last landmarks bend, the first 18 are rigid
HEADS = 700


def planted(rng, rows=400, noise=3e-4, bend=0.06):
    """Landmarks of heads of which some landmarks bend, and their codes."""
    return planted_with_shape(rng, rows, noise, bend)[:2]


def planted_with_shape(rng, rows=400, noise=3e-4, bend=0.06):
    """The same, and the mean of the bent shapes (3, POINTS)."""
    place = rng.normal(size=(2, POINTS))
    place /= np.maximum(1, np.linalg.norm(place, axis=0))
    shape = 0.2 * np.stack([*place, (place**2).sum(axis=0)])
    shape -= shape.mean(axis=1, keepdims=True)
    basis = np.zeros((MODES, POINTS))
    basis[:, -BENDING:] = rng.normal(size=(MODES, BENDING))
    basis -= basis.mean(axis=1, keepdims=True)
    basis = np.linalg.qr(basis.T)[0].T
    modes = rng.normal(size=(MODES, 3))
    modes /= np.linalg.norm(modes, axis=1, keepdims=True)
    q = np.zeros((rows, 8 + MODES))
    q[:, 0] = q[:, 2] = 1 + 0.05 * rng.normal(size=rows)
    q[:, 3:6] = rng.normal(size=(rows, 3)) * [0.2, 0.35, 0.15]
    # bending that goes along with turning is what the top three singular vectors take in
    q[:, 6:-2] = bend * (rng.normal(size=(rows, MODES)) + 2 * q[:, [4, 3, 4, 5]])
    q[:, -2:] = 0.5 + 0.05 * rng.normal(size=(rows, 2))
    points = np.stack(image_points(q, shape, basis, modes), axis=2)
    mean = shape + (q[:, 6:-2].mean(axis=0) * modes.T) @ basis
    return points + noise * rng.normal(size=points.shape), q, mean


def relative_noise(landmarks, noise):
    left = landmarks - landmarks.mean(axis=1, keepdims=True)
    return noise * np.sqrt(landmarks.size) / np.linalg.norm(left)


@pytest.mark.parametrize("calibration", ["none", "mean", "upgrade", "metric"])
def test_the_residual_falls_to_the_noise_whatever_the_calibration(rng, calibration):
    landmarks, _ = planted(rng)
    found = fit_nrsfm(landmarks, NrsfmConfig(MODES, calibration, sweeps=200))
    assert found.relative_residual < 0.5 * found.closed_residual
    assert found.relative_residual < 1.1 * relative_noise(landmarks, 3e-4)
    assert found.sweeps > 0 and found.metric == (calibration in ("upgrade", "metric"))
    again = found.fit(landmarks[:50])
    gap = np.abs(found.project(again) - found.project(found.codes[:50])).max()
    assert gap < 5e-4  # equation (11) finds the same landmarks again


def test_metric_angles_are_radians_where_landmarks_bend_with_the_pose(rng):
    landmarks, q = planted(rng)
    found = fit_nrsfm(landmarks, NrsfmConfig(MODES, "metric", sweeps=100))
    for angle in (3, 4, 5):
        slope, _ = np.polyfit(q[:, angle], found.codes[:, angle], 1)
        assert slope == pytest.approx(1, abs=0.05)
        assert np.corrcoef(q[:, angle], found.codes[:, angle])[0, 1] > 0.995


def test_no_sweep_raises_the_objective_and_rotations_that_are_held_stay(rng):
    landmarks, _ = planted(rng, rows=120)
    points = (landmarks - landmarks.mean(axis=1, keepdims=True)).transpose(0, 2, 1)
    left, sizes, rows = np.linalg.svd(points.reshape(-1, POINTS), full_matrices=False)
    cameras = (left[:, :3] * sizes[:3]).reshape(-1, 2, 3)
    modes = np.linalg.qr(rng.normal(size=(3, 3)))[0][[0, 1, 2, 0]]
    start = Factors(cameras, rows[:3], rows[3 : 3 + MODES], modes, np.zeros((120, MODES)))
    free = refine(points, start, sweeps=80, tolerance=0.0)
    assert 40 <= len(free.objectives) <= 80 and not free.converged  # mixtures thrown away count
    assert (np.diff(free.objectives) <= 1e-12 * free.objectives[0]).all()
    assert free.objectives[-1] == pytest.approx(((points - free.factors.points()) ** 2).sum())
    turns = np.linalg.qr(rng.normal(size=(120, 3, 3)))[0][:, :2]
    held = refine(points, start, sweeps=20, tolerance=0.0, rotations=turns)
    assert (np.diff(held.objectives) <= 1e-12 * held.objectives[0]).all()
    upper = held.factors.cameras @ turns.transpose(0, 2, 1)
    np.testing.assert_allclose(upper[:, 1, 0], 0, atol=1e-12)
    np.testing.assert_allclose(upper @ turns, held.factors.cameras, atol=1e-12)


def test_the_rigid_landmarks_are_those_that_do_not_bend(rng):
    landmarks, q = planted(rng)
    points = (landmarks - landmarks.mean(axis=1, keepdims=True)).transpose(0, 2, 1)
    start = fit_nrsfm(landmarks, NrsfmConfig(MODES, "upgrade", sweeps=0)).mean_shape
    found = rigid_shape(points, start, share=0.6)
    assert found.converged and found.landmarks.tolist() == list(range(18))
    sizes = np.linalg.norm(found.cameras(points), axis=2)
    np.testing.assert_allclose(sizes[:, 0], sizes[:, 1], rtol=1e-9)
    assert np.corrcoef(sizes[:, 0], q[:, 0])[0, 1] > 0.99
    with pytest.raises(InputError, match="at least 6"):
        rigid_shape(points[:, :, :5], start[:, :5])


def test_scaled_orthographic_cameras_are_no_worse_than_the_true_ones(rng):
    shape = rng.normal(size=(3, 20))
    shape -= shape.mean(axis=1, keepdims=True)
    true = np.linalg.qr(rng.normal(size=(60, 3, 3)))[0][:, :2] * rng.uniform(0.5, 2, (60, 1, 1))
    points = true @ shape + 0.1 * rng.normal(size=(60, 2, 20))
    points -= points.mean(axis=2, keepdims=True)
    found = scaled_orthographic(points, shape, steps=200)
    better = ((points - found @ shape) ** 2).sum(axis=(1, 2))
    assert (better <= ((points - true @ shape) ** 2).sum(axis=(1, 2)) + 1e-9).all()
    k, _ = split_cameras(found)
    np.testing.assert_allclose(k[:, 1], 0, atol=1e-9)


def test_rows_that_fix_no_camera_harm_no_others(rng):
    shape = rng.normal(size=(3, 20))
    shape -= shape.mean(axis=1, keepdims=True)
    true = np.linalg.qr(rng.normal(size=(60, 3, 3)))[0][:, :2]
    points = true @ shape
    points[0], points[1, 1], points[2, 0] = 0, 2 * points[1, 0], 0  # a point, two lines
    found = scaled_orthographic(points, shape, steps=50)
    assert np.isfinite(found).all() and not found[0].any()
    np.testing.assert_allclose(found[3:], true[3:], atol=1e-9)


@pytest.fixture(scope="module")
def heads():
    """(HEADS, 68, 2) true landmarks, (3, 68) the mean true shape, pitch, yaw and roll."""
    generator, model = HeadGenerator(), head_model()
    w = generator.sample_z(HEADS, np.random.default_rng(11))
    values = generator.parameters(generator.broadcast(generator.map(w)))
    flat, solid = [], []
    for row in values:
        said = table.as_dict(row)
        camera, head = Camera(said, 256), model.vertices(said)
        posed, closed = camera.pose(head), said["eye_closed"]
        pixels = visible_jaw(
            camera.project(model.landmarks(posed, closed))[:2],
            camera.project(posed).astype(np.float32),
            grid_normals(posed, False)[2],
            head[1],
            model.landmark_grid(closed),
            said["roll"],
        )
        flat.append((pixels.T + 0.5) / 256)
        solid.append(model.landmarks(head, closed))
    angles = [values[:, table.NAMES.index(name)] for name in ("pitch", "yaw", "roll")]
    return np.array(flat, np.float64), np.mean(solid, axis=0), np.radians(np.stack(angles, axis=1))


def test_on_true_heads_angles_and_shape_are_the_true_ones(heads):
    landmarks, solid, angles = heads
    found = fit_nrsfm(landmarks, NrsfmConfig(12, "metric", sweeps=40))
    assert found.metric and found.relative_residual < found.closed_residual
    turns = np.stack([np.stack(row, -1) for row in rotation(found.codes[:, 3:6])], axis=1)
    true = np.stack([np.stack(row, -1) for row in rotation(angles)], axis=1)
    left, _, right = np.linalg.svd(np.einsum("nij,nik->jk", turns, true))
    fixed = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
    seen = euler_angles(turns @ (left @ fixed @ right))  # one rotation for all heads
    for k, least in enumerate((0.9, 0.97, 0.97)):
        slope, _ = np.polyfit(angles[:, k], seen[:, k], 1)
        assert slope == pytest.approx(1, abs=0.1)
        assert np.corrcoef(angles[:, k], seen[:, k])[0, 1] >= least
    assert procrustes(found.mean_shape, solid) < 0.04


def procrustes(one, other) -> float:
    """Distance of two (3, L) shapes over the second's size, after the best similarity or mirror."""
    one, other = (x - x.mean(axis=1, keepdims=True) for x in (one, other))
    left, sizes, right = np.linalg.svd(one @ other.T)
    fitted = (left @ right).T @ one * sizes.sum() / (one**2).sum()
    return float(np.linalg.norm(fitted - other) / np.linalg.norm(other))

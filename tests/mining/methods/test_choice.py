"""The choice of K: planted numbers of modes, and predictions of landmarks that were left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mining.methods.camera import image_points
from mining.methods.choice import ChoiceConfig, choose_components, predict_left_out
from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from schemas.errors import InputError

NOISE = 5e-3  # of the image, per coordinate: a pixel or so


def planted(rng, modes, points=30, rows=400, noise=NOISE):
    """Landmarks of a bent face with so many modes, and the model that made them."""
    place = rng.normal(size=(2, points))
    place /= np.maximum(1, np.linalg.norm(place, axis=0))
    shape = 0.2 * np.stack([*place, (place**2).sum(axis=0)])
    shape -= shape.mean(axis=1, keepdims=True)
    basis = rng.normal(size=(modes, points))
    basis -= basis.mean(axis=1, keepdims=True)
    basis = np.linalg.qr(basis.T)[0].T
    ways = rng.normal(size=(modes, 3)) * [1, 1, 0.3]  # seen from the front
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    q = np.zeros((rows, 8 + modes))
    q[:, 0] = q[:, 2] = 1 + 0.05 * rng.normal(size=rows)
    q[:, 3:6] = rng.normal(size=(rows, 3)) * [0.2, 0.35, 0.15]
    q[:, 6:-2] = 0.1 * rng.normal(size=(rows, modes))
    q[:, -2:] = 0.5 + 0.05 * rng.normal(size=(rows, 2))
    clean = np.stack(image_points(q, shape, basis, ways), axis=2)
    return clean + noise * rng.normal(size=clean.shape), (shape, basis, ways, q)


@pytest.mark.parametrize("sweeps", [0, 20], ids=["closed form", "joint"])
@pytest.mark.parametrize("modes", [0, 4])
def test_the_planted_number_of_modes_is_suggested(rng, modes, sweeps):
    landmarks, _ = planted(rng, modes)
    found = choose_components(landmarks, range(9), ChoiceConfig(sweeps=sweeps))
    assert found.suggested == modes
    assert found.components == tuple(range(9))
    assert (found.fitted_rows, found.held_rows) == (300, 100)
    errors = np.array(found.held_out)
    assert (np.diff(errors[: modes + 1]) < 0).all()  # each true mode helps
    assert errors[-1] > errors[modes] + found.held_out_error[modes]  # false ones fit noise
    # no less than two coordinates' noise; the closed form's cameras bend with the face
    assert NOISE * np.sqrt(2) < errors[modes] < (3 if sweeps else 5) * NOISE


def test_residuals_fall_with_every_mode_and_by_refinement(rng):
    landmarks, _ = planted(rng, 4)
    found = choose_components(landmarks, range(0, 9, 2), ChoiceConfig(rows=400))
    closed, joint = np.array(found.closed_residual), np.array(found.joint_residual)
    assert (np.diff(closed) < 0).all() and (joint <= closed + 1e-9).all()
    assert joint[0] == closed[0]  # rank 3 is optimal as it is
    bound = np.sqrt(1 - np.array(found.rank_share))  # no model of that rank comes nearer
    assert (bound <= joint + 1e-9).all() and bound[0] == pytest.approx(joint[0], rel=1e-6)
    plain = choose_components(landmarks, range(0, 9, 2), ChoiceConfig(rows=400, sweeps=0))
    assert plain.closed_residual == found.closed_residual
    assert np.isnan(plain.joint_residual).all()


def test_the_order_of_rows_does_not_matter_and_the_seed_does(rng):
    landmarks, _ = planted(rng, 2, rows=200)
    config = ChoiceConfig(rows=80, sweeps=5)
    found = choose_components(landmarks, (0, 2, 3), config, seed=5)
    assert choose_components(rng.permutation(landmarks), (3, 2, 0, 2), config, seed=5) == found
    assert choose_components(landmarks, (0, 2, 3), config, seed=6).held_out != found.held_out


@pytest.mark.parametrize("points", [7, 20, 68, 468])
def test_any_number_of_landmarks(rng, points):
    landmarks, _ = planted(rng, 2, points, rows=150)
    candidates = None if points < 60 else (0, 2, 5)
    found = choose_components(landmarks, candidates, ChoiceConfig(sweeps=2))
    assert found.components == (candidates or tuple(range(0, points - 3, 2)))
    assert found.suggested in found.components
    assert np.isfinite(found.held_out).all() and np.isfinite(found.held_out_error).all()
    assert found.rank_share[-1] <= 1


def test_left_out_landmarks_are_not_read_and_follow_the_shape(rng):
    landmarks, (shape, basis, ways, q) = planted(rng, 3, noise=0.0)
    model = fit_nrsfm(landmarks, NrsfmConfig(3, "none"))
    truth = replace(model, mean_shape=shape, basis=basis, modes=ways, codes=q)
    left_out = np.array([3, 11, 12, 20, 29])
    blind = landmarks.copy()
    blind[:, left_out] = np.nan
    gaps = np.abs(predict_left_out(truth, blind, left_out) - landmarks[:, left_out])
    # the fit ends at a relative change of 1e-5 of a row's squares
    assert np.median(gaps.max(axis=(1, 2))) < 1e-4
    assert np.median(np.abs(landmarks[:, left_out] - landmarks.mean(axis=0)[left_out])) > 1e-2


def test_what_cannot_be_chosen_from_is_refused(rng):
    landmarks, _ = planted(rng, 2, rows=40)
    with pytest.raises(InputError, match=r"candidates \[2, 27\] came; 30 landmarks .* 0 to 26"):
        choose_components(landmarks, (27, 2))
    with pytest.raises(InputError, match="candidate -1 is -1"):
        choose_components(landmarks, (-1, 2))
    with pytest.raises(InputError, match=r"candidates \[\]"):
        choose_components(landmarks, ())
    with pytest.raises(InputError, match="19 rows came, expected at least 20"):
        choose_components(landmarks[:19])
    with pytest.raises(InputError, match="4 landmarks came, expected at least 5"):
        choose_components(landmarks[:, :4])
    landmarks[3] = np.nan
    with pytest.raises(InputError, match="1 of 40 rows hold NaN"):
        choose_components(landmarks)
    with pytest.raises(InputError, match="rows is 5"):
        ChoiceConfig(rows=5)
    with pytest.raises(InputError, match="sweeps is -1"):
        ChoiceConfig(sweeps=-1)

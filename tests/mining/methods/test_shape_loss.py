"""The losses of the direction matrix: poses as the extractors have them, sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mining.methods.shape_loss import (
    EYE_PAIRS,
    MOUTH_PAIRS,
    UNIT,
    ShapePoints,
    contrast_features,
    identity_loss,
    inner_distance_loss,
    perceptual_loss,
    pixel_loss,
    rotations,
    shape_loss,
)
from mining.shape3d.camera import Pose, euler_angles, project
from mining.shape3d.fit import FitConfig, Fitter
from mining.shape3d.readers.head import read_head
from schemas.errors import InputError


@pytest.fixture(scope="module")
def model():
    return read_head().landmarks()


@pytest.fixture
def points(model):
    return ShapePoints(model, dtype=torch.float64)


def tensor(array):
    return torch.as_tensor(np.asarray(array), dtype=torch.float64)


def test_rotations_are_those_whose_angles_extractors_report(rng):
    angles = rng.uniform(-1, 1, (200, 3)) * [170, 85, 170]
    turns = rotations(tensor(angles)).numpy()
    np.testing.assert_allclose(euler_angles(turns), angles, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-12)


def test_points_are_what_a_fit_of_their_image_finds(model, points, rng):
    """Codes -> points -> the camera's image -> the fit: the same angles and expressions."""
    codes = np.concatenate([rng.uniform(-20, 20, (40, 3)), rng.normal(size=(40, 6))], axis=1)
    identity = 0.5 * rng.normal(size=(40, len(model.identity)))
    posed = points(tensor(codes), tensor(identity)).numpy() * UNIT
    still = Pose(np.tile(np.eye(3), (40, 1, 1)), np.full(40, 0.004), np.full((40, 2), 0.5))
    seen = project(posed, still, None)
    config = FitConfig(
        focal=None, noise=0.1, outline=1, hidden=0, iterations=50, precision="float64"
    )
    fit = Fitter(model, config).fit(seen)
    assert fit.good.all()
    np.testing.assert_allclose(fit.angles, codes[:, :3], atol=1.0)
    np.testing.assert_allclose(fit.expression, codes[:, 3:], atol=0.35)


def test_fewer_codes_are_the_first_and_no_codes_are_the_mean(model, points, rng):
    none = points(torch.zeros(1, 3, dtype=torch.float64), torch.zeros(1, 0, dtype=torch.float64))
    np.testing.assert_allclose(none[0].numpy() * UNIT, model.mean, atol=1e-9)
    few = points(tensor([[0, 0, 0, 2.0]]), tensor([[1.5, -1.0]]))
    by_hand = model.mean + 2 * model.expression[0] + 1.5 * model.identity[0] - model.identity[1]
    np.testing.assert_allclose(few[0].numpy() * UNIT, by_hand, atol=1e-9)


def test_more_codes_than_the_model_has_are_an_error(model, points):
    with pytest.raises(InputError, match=r"codes \(1, 12\).*3 to 9 codes"):
        points(torch.zeros(1, 12), torch.zeros(1, 2))


def test_a_jaw_moves_the_unposed_points(model):
    def jaw(opened, identity, expression):
        assert identity.shape == (2, 1) and expression.shape == (2, 2)
        return opened[:, None, None] * torch.tensor([0.0, -1.0, 0.0]).expand(len(opened), 68, 3)

    points = ShapePoints(model, unit=1.0, jaw=jaw, dtype=torch.float64)
    codes = torch.zeros(2, 6, dtype=torch.float64)
    codes[1, 3] = 10  # degrees
    codes[:, 2] = 90  # roll: the image's down becomes its left
    shut, opened = points(codes, torch.zeros(2, 1, dtype=torch.float64)).numpy()
    moved = opened - shut
    np.testing.assert_allclose(np.abs(moved), np.tile([10.0, 0, 0], (68, 1)), atol=1e-9)
    assert moved[0, 0] == pytest.approx((rotations(codes[:1, :3])[0] @ tensor([0, -10, 0]))[0])


def test_shape_loss_is_the_mean_distance_of_a_point():
    wanted = torch.zeros(2, 68, 3)
    found = wanted.clone()
    found[0, 5] = torch.tensor([1.0, -2.0, 3.0])
    assert shape_loss(found, wanted).item() == pytest.approx(6 / (2 * 68))


def test_inner_distances_see_eyes_and_mouth_alone():
    wanted = torch.randn(3, 68, 3, generator=torch.Generator().manual_seed(0))
    found = wanted + torch.tensor([3.0, -1.0, 2.0])  # all of it elsewhere
    assert inner_distance_loss(found, wanted, EYE_PAIRS).item() == pytest.approx(0, abs=1e-6)
    found = wanted.clone()
    found[:, 62] = wanted[:, 66] + torch.tensor([0.0, 50.0, 0.0])
    before = (wanted[:, 62] - wanted[:, 66]).abs().sum(dim=1)
    by_hand = (50 - before).abs().mean().item() / len(MOUTH_PAIRS)
    assert inner_distance_loss(found, wanted, MOUTH_PAIRS).item() == pytest.approx(by_hand)
    assert inner_distance_loss(found, wanted, EYE_PAIRS).item() == 0


def test_pairs_lie_across_an_eye_or_the_mouth(model):
    """Each pair is two points of one eye or of one lip ring, at about the same x or y."""
    for first, second in (*EYE_PAIRS, *MOUTH_PAIRS):
        across = np.abs(model.mean[first] - model.mean[second])[:2]
        assert across.min() < 0.35 * across.max()
    assert {k for pair in EYE_PAIRS for k in pair} == set(range(36, 48))
    assert {k for pair in MOUTH_PAIRS for k in pair} == set(range(48, 68))


def test_identity_loss_is_of_the_angle_alone():
    e = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert identity_loss(e, 7 * e).item() == pytest.approx(0, abs=1e-7)
    assert identity_loss(e, torch.tensor([[0.0, 1.0], [0.0, -1.0]])).item() == pytest.approx(1.5)


def test_contrasts_see_a_moved_edge_and_hardly_the_light():
    edge = torch.where(torch.arange(16) < 7, -0.5, 0.5).expand(1, 3, 16, 16)
    moved = torch.where(torch.arange(16) < 8, -0.5, 0.5).expand(1, 3, 16, 16)
    brighter = edge + 0.1
    features = [contrast_features(image) for image in (edge, moved, brighter)]
    far = perceptual_loss(features[1], features[0]).item()
    near = perceptual_loss(features[2], features[0]).item()
    assert pixel_loss(moved, edge).item() < pixel_loss(brighter, edge).item()  # by pixels it is
    assert near < 0.3 * far


def test_contrast_distance_is_scaled_by_levels():
    """Two flat images differ in the last of three levels alone: their difference squared / 3."""
    first, second = torch.zeros(2, 3, 16, 16), torch.full((2, 3, 16, 16), 0.4)
    distance = perceptual_loss(contrast_features(first), contrast_features(second))
    assert distance.item() == pytest.approx(0.16 / 3)


def test_losses_have_gradients(points):
    codes = torch.zeros(4, 9, dtype=torch.float64, requires_grad=True)
    identity = torch.zeros(4, 2, dtype=torch.float64)
    wanted = points(torch.full((4, 9), 0.5, dtype=torch.float64), identity).detach()
    found = points(codes, identity)
    loss = shape_loss(found, wanted)
    for pairs in (EYE_PAIRS, MOUTH_PAIRS):
        loss = loss + inner_distance_loss(found, wanted, pairs)
    loss.backward()
    assert (codes.grad.abs().sum(dim=0) > 0).all()

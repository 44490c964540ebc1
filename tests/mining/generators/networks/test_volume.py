"""The volume renderer against what can be said in closed form, and EG3D's geometry outputs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mining.generators.camera import Orbit, camera_labels
from mining.generators.networks.geometry import ply, seen_mesh, seen_points
from mining.generators.networks.volume import (
    DENSITY_SHIFT,
    Draws,
    Rays,
    VolumeSettings,
    camera_rays,
    importance_depths,
    interval_weights,
    midpoint_draws,
    random_draws,
    ray_limits,
    render_volume,
    stratified_depths,
    volume_settings,
)
from schemas.errors import InputError

SETTINGS = VolumeSettings(box=1.0, near=2.25, far=3.3, coarse=48, fine=48)
RELEASED = {
    "box_warp": 1,
    "ray_start": 2.25,
    "ray_end": 3.3,
    "depth_resolution": 48,
    "depth_resolution_importance": 48,
    "disparity_space_sampling": False,
    "clamp_mode": "softplus",
}
EMPTY = -100.0  # a raw density that is nothing
CENTRED = Orbit(pivot=(0.0, 0.0, 0.0))


def raw(density: float) -> float:
    """The raw density that the renderer turns into `density`."""
    return math.log(math.expm1(density)) + DENSITY_SHIFT


def labels_at(*angles, orbit=CENTRED) -> torch.Tensor:
    return torch.from_numpy(camera_labels(angles, orbit))


def ball(centre, radius, colour=(1.0, 0.0, 0.0)):
    """A field that is opaque within a ball and empty outside."""
    middle = torch.tensor(centre, dtype=torch.float32).view(1, 3, 1)

    def field(points):
        inside = (points - middle).norm(dim=1) < radius
        density = torch.where(inside, 200.0, EMPTY)
        return density, torch.tensor(colour).view(1, 3, 1).expand(len(points), 3, points.shape[2])

    return field


def smooth(points):
    """A field without edges, another in every octant."""
    density = 6 * torch.sin(9 * points).sum(dim=1)
    return density, torch.sigmoid(4 * points)


def centroid(image) -> tuple[float, float]:
    """x and y of what is bright, as fractions of the image."""
    side = image.shape[-1]
    at = (torch.arange(side) + 0.5) / side
    weight = image / image.sum()
    return float((weight.sum(dim=0) * at).sum()), float((weight.sum(dim=1) * at).sum())


# rays


def test_rays_leave_the_camera_through_the_pixels():
    orbit = Orbit(2.7, (0.0, 0.0, 0.2), 2.0)
    rays = camera_rays(labels_at([0, 0, 0], orbit=orbit), 4)
    assert rays.origins[0, :, 0].tolist() == pytest.approx([0, 0, 2.7])
    torch.testing.assert_close(rays.directions.norm(dim=1), torch.ones(1, 16))
    upper_left = rays.directions[0, :, 0]  # x = 1/8 of the image: (1/8 - 1/2) / 2 to the left
    assert (upper_left / -upper_left[2]).tolist() == pytest.approx([-0.1875, 0.1875, -1])


def test_skewed_lenses_invert():
    label = labels_at([10, 5, 3])
    label[:, 16:] = torch.tensor([2.0, 0.3, 0.4, 0, 2.5, 0.6, 0, 0, 1])
    rays = camera_rays(label, 5)
    pose, lens = label[0, :16].view(4, 4), label[0, 16:].view(3, 3)
    film = lens @ pose[:3, :3].T @ rays.directions[0]
    at = (torch.arange(5) + 0.5) / 5
    torch.testing.assert_close(film[0] / film[2], at.repeat(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(film[1] / film[2], at.repeat_interleave(5), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("angles", "point", "side"),
    [
        ([30, 0, 0], (0, 0, 0.25), "right"),
        ([-30, 0, 0], (0, 0, 0.25), "left"),
        ([0, 25, 0], (0, 0, 0.25), "up"),
        ([0, -25, 0], (0, 0, 0.25), "down"),
        ([0, 0, 40], (0, 0.15, 0), "right"),
        ([0, 0, 0], (0.15, 0, 0), "right"),
        ([0, 0, 0], (0, 0.15, 0), "up"),
    ],
)
def test_a_planted_ball_lands_where_the_pose_says(angles, point, side):
    """yaw > 0 turns what lies in front to the image's right, pitch > 0 upwards, roll clockwise."""
    settings = replace(SETTINGS, near=2.0, far=3.4)
    seen = render_volume(ball(point, 0.08), camera_rays(labels_at(angles), 24), settings)
    x, y = centroid(seen.opacity.view(24, 24))
    assert {"right": x - 0.5, "left": 0.5 - x, "up": 0.5 - y, "down": y - 0.5}[side] > 0.1
    label = labels_at(angles)[0]
    at = label[:16].view(4, 4)[:3, :3].T @ (torch.tensor(point) - label[[3, 7, 11]])
    assert (x, y) == pytest.approx((CENTRED.focal * at[:2] / at[2] + 0.5).tolist(), abs=0.01)


# limits


@given(st.tuples(*[st.floats(-0.4, 0.4)] * 3), st.tuples(*[st.floats(-0.4, 0.4)] * 3))
def test_rays_through_the_box_enter_and_leave_on_its_faces(first, second):
    start, through = (torch.tensor(p).view(1, 3, 1) for p in (first, second))
    direction = through - start
    if direction.norm() < 1e-2:
        return
    direction = direction / direction.norm()
    rays = Rays(start - 5 * direction, direction)
    near, far = ray_limits(rays, replace(SETTINGS, near=None, far=None))
    assert near < 5 < far
    for limit in (near, far):
        assert float(rays.at(limit).abs().max()) == pytest.approx(0.5, abs=1e-4)


def test_rays_that_miss_the_box_take_the_limits_of_their_own_image():
    rays = camera_rays(labels_at([0, 0, 0], [20, 0, 0], orbit=Orbit(2.7, (0, 0, 0), 1.0)), 16)
    auto = replace(SETTINGS, near=None, far=None)
    near, far = ray_limits(rays, auto)
    corner = near[:, 0, 0], far[:, 0, 0]
    middle = near.view(2, 16, 16)[:, 6:10, 6:10].flatten(1)
    torch.testing.assert_close(corner[0], middle.amin(dim=1), atol=0.02, rtol=0)
    assert (corner[1] > corner[0]).all()
    alone = [ray_limits(Rays(rays.origins[n:][:1], rays.directions[n:][:1]), auto) for n in (0, 1)]
    torch.testing.assert_close(near, torch.cat([one[0] for one in alone]))
    away = replace(auto, box=0.001)
    assert ray_limits(camera_rays(labels_at([0, 0, 0]), 2), away)[0].flatten().tolist() == [-1] * 4


# sampling


def test_samples_lie_in_their_intervals():
    near, far = torch.tensor([[[2.0]]]), torch.tensor([[[3.0]]])
    settings = replace(SETTINGS, coarse=11)
    middle = stratified_depths(near, far, settings, torch.tensor(0.5))
    torch.testing.assert_close(middle[0, 0], torch.linspace(2.05, 3.05, 11))
    disparity = replace(settings, disparity=True)
    found = stratified_depths(near, far, disparity, torch.tensor(0.0))
    torch.testing.assert_close(1 / found[0, 0], torch.linspace(1 / 2, 1 / 3, 11))


def test_importance_samples_follow_the_weights():
    depths = torch.linspace(0, 1, 21).view(1, 1, -1)
    weights = torch.zeros(1, 1, 20)
    weights[..., 10] = 0.9  # between 0.5 and 0.55
    fine = importance_depths(depths, weights, (torch.arange(200) + 0.5).view(1, 1, -1) / 200)
    near = ((fine > 0.4) & (fine < 0.65)).float().mean()
    # smoothing spreads the mass over three bins, and the floor gives 0.01 to each of 18
    assert near == pytest.approx(1.8 / (1.8 + 18 * 0.01), abs=0.05)
    assert (fine.diff(dim=-1) > 0).all()
    even = importance_depths(depths, torch.ones(1, 1, 20), torch.tensor([[[0.25, 0.5, 0.75]]]))
    torch.testing.assert_close(even[0, 0], 0.025 + torch.tensor([0.25, 0.5, 0.75]) * 18 * 0.05)


def test_random_draws_belong_to_an_image_not_to_its_place():
    keys = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    together, alone = random_draws(keys, 7, SETTINGS), random_draws(keys[1:2], 7, SETTINGS)
    assert torch.equal(together.coarse[1], alone.coarse[0])
    assert torch.equal(together.fine[1], alone.fine[0])
    assert not torch.equal(together.coarse[0], together.coarse[1])
    assert together.coarse.min() >= 0 and together.coarse.max() < 1


# marching


@given(st.floats(0.05, 3.0), st.floats(0.1, 1.0))
def test_a_slab_of_constant_density_lets_exp_of_minus_sigma_d_through(density, thickness):
    depths = torch.linspace(2, 2 + thickness, 9).view(1, 1, -1)
    weights = interval_weights(torch.full((1, 1, 9), raw(density)), depths)
    assert float(1 - weights.sum()) == pytest.approx(math.exp(-density * thickness), rel=1e-4)
    steps = torch.arange(8) * thickness / 8
    expected = torch.exp(-density * steps) * -math.expm1(-density * thickness / 8)
    torch.testing.assert_close(weights[0, 0], expected, atol=1e-6, rtol=1e-4)


def test_an_opaque_wall_is_seen_at_its_depth_and_in_its_colour():
    def wall(points):  # behind z = 0.15, as seen from z = 2.7
        density = torch.where(points[:, 2] < 0.15, 500.0, EMPTY)
        colour = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1)
        return density, colour.expand(len(points), 3, points.shape[2])

    rays = camera_rays(labels_at([0, 0, 0]), 8)
    seen = render_volume(wall, rays, SETTINGS)
    true = (2.7 - 0.15) / -rays.directions[:, 2]
    # importance samples leave the edge known to a fraction of the coarse step of 0.022
    torch.testing.assert_close(seen.depth, true, atol=0.008, rtol=0)
    expected = torch.tensor([-0.6, 0.0, 0.8]).view(1, 3, 1).expand(1, 3, 64)
    torch.testing.assert_close(seen.colours, expected, atol=1e-4, rtol=0)
    coarse = render_volume(wall, rays, replace(SETTINGS, fine=0))
    assert (seen.depth - true).abs().mean() < 0.6 * (coarse.depth - true).abs().mean()


@pytest.mark.parametrize(("white", "colour"), [(False, -1.0), (True, 1.0)])
def test_empty_space_is_black_or_white_and_as_deep_as_the_rays(white, colour):
    def nothing(points):
        return torch.full_like(points[:, 0], EMPTY), torch.ones_like(points)

    settings = replace(SETTINGS, white_back=white)
    seen = render_volume(nothing, camera_rays(labels_at([0, 0, 0]), 4), settings)
    assert (seen.colours == colour).all()
    last = 3.3 + 0.5 * (3.3 - 2.25) / 47  # the last coarse sample lies half a step beyond the end
    torch.testing.assert_close(seen.depth, torch.full((1, 16), last))


def test_rendering_does_not_depend_on_chunks_or_on_the_batch():
    labels = labels_at([20, 5, 0], [-10, -8, 3])
    rays = camera_rays(labels, 9)
    for draws in (None, random_draws(labels, 81, SETTINGS)):
        whole = render_volume(smooth, rays, SETTINGS, draws, rays_per_chunk=10**6)
        pieces = render_volume(smooth, rays, SETTINGS, draws, rays_per_chunk=14)
        own = draws and Draws(draws.coarse[1:], draws.fine[1:])
        one = render_volume(smooth, camera_rays(labels[1:], 9), SETTINGS, own)
        for name in ("colours", "depth", "opacity"):
            found = getattr(whole, name)
            torch.testing.assert_close(getattr(pieces, name), found, atol=2e-6, rtol=0)
            torch.testing.assert_close(getattr(one, name)[0], found[1], atol=2e-6, rtol=0)


def test_shares_are_those_of_sorted_samples():
    """Colours are weighed without being sorted; sorting them must give the same."""
    rays = camera_rays(labels_at([20, 5, 0]), 6)
    seen = render_volume(smooth, rays, SETTINGS)
    draws = midpoint_draws(SETTINGS, torch.device("cpu"))
    near, far = ray_limits(rays, SETTINGS)
    coarse = stratified_depths(near, far, SETTINGS, draws.coarse)
    density = smooth(rays.at(coarse).flatten(2))[0].view(coarse.shape)
    fine = importance_depths(coarse, interval_weights(density, coarse), draws.fine)
    depths = torch.cat([coarse, fine], dim=-1).sort(dim=-1).values
    density, colours = smooth(rays.at(depths).flatten(2))
    weights = interval_weights(density.view(depths.shape), depths)
    colours = colours.unflatten(2, depths.shape[1:])
    between = (colours[..., 1:] + colours[..., :-1]) / 2
    expected = 2 * (weights[:, None] * between).sum(dim=-1) - 1
    torch.testing.assert_close(seen.colours, expected, atol=2e-6, rtol=0)


def test_the_fields_parameters_get_gradients():
    scale = torch.tensor(5.0, requires_grad=True)
    shade = torch.tensor(0.3, requires_grad=True)

    def field(points):
        return scale * torch.sin(9 * points).sum(dim=1), shade.expand_as(points)

    rays = camera_rays(labels_at([0, 0, 0]), 4)
    seen = render_volume(field, rays, SETTINGS)
    (seen.colours.sum() + seen.depth.sum()).backward()
    for parameter in (scale, shade):
        assert parameter.grad is not None and torch.isfinite(parameter.grad) and parameter.grad != 0
    with torch.no_grad():  # d colours / d shade = 2 opacity, summed over 3 channels
        assert float(shade.grad) == pytest.approx(float(6 * seen.opacity.sum()), rel=1e-4)


# settings


def test_the_releases_arguments_are_read():
    assert volume_settings(RELEASED) == SETTINGS
    auto = volume_settings({**RELEASED, "ray_start": "auto", "ray_end": "auto"})
    assert (auto.near, auto.far) == (None, None)
    assert volume_settings({**RELEASED, "white_back": True}).white_back


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"clamp_mode": "relu"}, "clamp_mode 'relu'"),
        ({"ray_start": "auto"}, "ray_start 'auto', ray_end 3.3"),
        ({"ray_start": 4.0}, "ray_start 4.0"),
        ({"ray_start": 0.0, "disparity_space_sampling": True}, "ray_start > 0"),
        ({"depth_resolution": 3}, "depth_resolution 3 with 48"),
        ({"box_warp": 0}, "box_warp 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        volume_settings({**RELEASED, **wrong})
    with pytest.raises(InputError, match="lack box_warp"):
        volume_settings({k: v for k, v in RELEASED.items() if k != "box_warp"})


# geometry


def test_points_under_pixels_lie_on_the_ball_that_was_seen():
    labels = labels_at([25, 10, 0])
    side, radius = 24, 0.25
    seen = render_volume(ball((0, 0, 0), radius), camera_rays(labels, side), SETTINGS)
    depth, opacity = (t.view(1, 1, side, side) for t in (seen.depth, seen.opacity))
    points = seen_points(depth, labels)[0]
    inner = F.avg_pool2d((opacity > 0.99).float(), 5, 1, 2)[0, 0] == 1  # away from the outline
    assert inner.sum() > 50
    torch.testing.assert_close(
        points.norm(dim=0)[inner], torch.full((int(inner.sum()),), radius), atol=0.01, rtol=0
    )
    camera = labels[0, [3, 7, 11]]
    assert (camera @ points[:, inner] > 0).all()  # the near side


def test_a_mesh_turns_to_the_camera_and_has_no_bridges():
    labels = labels_at([0, 0, 0])
    side = 16
    depth = torch.full((1, 1, side, side), 2.5)
    depth[..., 8:] = 3.0  # a step in the middle
    points = seen_points(depth, labels)[0].numpy()
    solid = np.ones((side, side), bool)
    solid[0] = False
    faces = seen_mesh(points, solid, longest=0.2)
    assert faces.dtype == np.int32 and len(faces) == 2 * 14 * (7 + 7)  # two blocks of 15 x 8 pixels
    a, b, c = points.reshape(3, -1).T[faces].transpose(1, 0, 2)
    normals = np.cross(b - a, c - a)
    assert (normals[:, 2] > 0).all()  # the camera is at z = 2.7
    assert not (faces < side).any()  # no corner in the empty first row


def test_a_ply_file_says_what_it_holds():
    vertices = np.arange(12, dtype=np.float32).reshape(4, 3)
    faces = np.array([[0, 1, 2], [1, 3, 2]], np.int32)
    colours = np.array([[255, 0, 7]] * 4, np.uint8)
    header, body = ply(vertices, faces, colours).split(b"end_header\n")
    assert b"element vertex 4" in header and b"element face 2" in header
    assert len(body) == 4 * (12 + 3) + 2 * (1 + 12)
    assert np.frombuffer(body[:12], "<f4").tolist() == [0, 1, 2] and body[12:15] == b"\xff\x00\x07"
    assert body[60] == 3 and np.frombuffer(body[61:73], "<i4").tolist() == [0, 1, 2]

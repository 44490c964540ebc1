"""EG3D behind the protocol: cameras, poses, depth and density."""

from __future__ import annotations

import numpy as np
import pytest

from mining.generators.base import Conditioned, Posed
from mining.generators.registry import make_generator
from schemas.errors import InputError
from tests.contracts.test_generators import EG3D


@pytest.fixture(scope="module")
def generator():
    options = {key: value for key, value in EG3D.items() if key != "c_dim"}
    poses = {"mean": [5, 0, 0], "spread": [20, 5, 0]}
    return make_generator("eg3d", random=options, poses=poses)


@pytest.fixture(scope="module")
def condition(generator):
    return generator.sample_condition(2, np.random.default_rng(0))


@pytest.fixture(scope="module")
def w_plus(generator, condition):
    z = generator.sample_z(2, np.random.default_rng(1))
    return generator.broadcast(generator.map(z, condition=condition))


def test_poses_are_drawn_as_the_settings_say(generator):
    assert isinstance(generator, Conditioned) and isinstance(generator, Posed)
    poses = generator.pose(generator.sample_condition(4000, np.random.default_rng(2)))
    np.testing.assert_allclose(poses.mean(axis=0), [5, 0, 0], atol=1.0)
    np.testing.assert_allclose(poses.std(axis=0), [20, 5, 0], rtol=0.05, atol=1e-4)


def test_an_edit_by_the_camera_changes_the_image_and_not_the_density(generator, condition, w_plus):
    turned = generator.with_pose(condition, 30.0, 0.0, 0.0)
    np.testing.assert_allclose(generator.pose(turned), [[30, 0, 0]] * 2, atol=1e-3)
    before, after = (generator.synthesize(w_plus, c) for c in (condition, turned))
    assert (before != after).mean() > 0.05
    np.testing.assert_array_equal(condition[:, 16:], turned[:, 16:])  # the lens


def test_angles_that_do_not_go_with_the_cameras_are_refused(generator, condition):
    with pytest.raises(InputError, match=r"shapes \(3,\), \(\), \(\) came"):
        generator.with_pose(condition, np.zeros(3), 0.0, 0.0)


def test_depth_lies_between_the_ends_of_the_rays(generator, condition, w_plus):
    depth, opacity = generator.depth(w_plus, condition)
    assert depth.shape == opacity.shape == (2, 16, 16)
    assert 2.25 <= depth.min() and depth.max() <= 3.3
    assert 0 <= opacity.min() and opacity.max() <= 1 + 1e-5


def test_the_density_is_a_volume(generator, w_plus):
    volume = generator.density(w_plus, 8)
    assert volume.shape == (2, 8, 8, 8)
    assert np.isfinite(volume).all() and volume.std() > 0
    np.testing.assert_allclose(generator.density(w_plus[1:], 8)[0], volume[1], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"poses": {"spread": [17, -1, 0]}}, "spread"),
        ({"orbit": {"radius": 0.1}}, "radius"),
        ({"poses": {"yaw": 3}}, "yaw"),
    ],
)
def test_cameras_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        make_generator("eg3d", random=EG3D, **options)

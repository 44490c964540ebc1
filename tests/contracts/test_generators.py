"""What every generator owes, over every entry of the registry and the example."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mining.generators.base import Conditioned, Generator, KnownTruth, Posed, truncate
from mining.generators.registry import GENERATORS, make_generator
from schemas.errors import InputError

POINTS = "tests.examples.points:PointsGenerator"
OWN_GAN = "tests.examples.own_gan:OwnGan"
NAMES = [*GENERATORS, POINTS, OWN_GAN]
TINY = {"z_dim": 16, "w_dim": 16}
CHANNELS = {"channel_base": 512, "channel_max": 16}
STYLEGAN2 = {**TINY, "img_resolution": 64, "synthesis_kwargs": CHANNELS}
STYLEGAN3 = {**STYLEGAN2, "img_resolution": 32}
EG3D = {
    **TINY,
    "c_dim": 25,
    "img_resolution": 128,
    "neural_rendering_resolution": 16,
    "rendering_kwargs": {
        "superresolution_module": "training.superresolution.SuperresolutionHybrid2X",
        "c_gen_conditioning_zero": False,
        "c_scale": 1.0,
        "depth_resolution": 6,
        "depth_resolution_importance": 6,
        "ray_start": 2.25,
        "ray_end": 3.3,
        "box_warp": 1,
    },
    "synthesis_kwargs": CHANNELS,
}
SMALL = {
    "head": {"resolution": 64},
    "stylegan2": {"random": STYLEGAN2},
    "stylegan3": {"random": STYLEGAN3},
    "eg3d": {"random": EG3D},
}
# for each generator other settings that give other images, one at a time
CHANGES = {
    "head": [{"resolution": 128}, {"entanglement": 0.5}],
    "stylegan2": [
        {"random": {**STYLEGAN2, "seed": 1}},
        {"noise": "zero"},
        {"precision": "bfloat16"},
    ],
    "stylegan3": [
        {"random": {**STYLEGAN3, "seed": 1}},
        {"rotation": 10.0},
        {"translation": [0.1, 0.0]},
        {"precision": "bfloat16"},
    ],
    "eg3d": [
        {"random": {**EG3D, "seed": 1}},
        {"noise": "random"},
        {"poses": {"spread": [20.0, 9.0, 0.0]}},  # random weights: their mean of w, and samples
        {"orbit": {"radius": 3.0}},
    ],
    POINTS: [{"seed": 1}, {"noise": 0.5}],
    OWN_GAN: [{"seed": 1}],
}


@pytest.fixture(scope="module", params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def generator(name) -> Generator:
    return make_generator(name, **SMALL.get(name, {}))


@pytest.fixture(scope="module")
def condition(generator):
    """Of four images; None where the generator takes none."""
    if not generator.c_dim:
        return None
    assert isinstance(generator, Conditioned)
    return generator.sample_condition(4, np.random.default_rng(6))


@pytest.fixture(scope="module")
def latents(generator, condition):
    return generator.map(generator.sample_z(4, np.random.default_rng(5)), condition=condition)


def test_it_fits_the_protocol(generator):
    assert isinstance(generator, Generator)
    assert len(generator.layer_names) == generator.num_ws
    assert generator.licence
    assert set(generator.spaces) <= {"z", "w", "w+", "s"}


def test_shapes_and_types(generator, latents, condition):
    w_plus = generator.broadcast(latents)
    images = generator.synthesize(w_plus, condition)
    assert latents.shape == (4, generator.w_dim)
    assert w_plus.shape == (4, generator.num_ws, generator.w_dim)
    assert images.shape == (4, generator.resolution, generator.resolution, 3)
    assert (latents.dtype, images.dtype) == (np.float32, np.uint8)
    assert generator.mean_w().shape == (generator.w_dim,)


def test_the_same_seed_gives_the_same_latents_and_another_gives_others(generator):
    draws = [generator.sample_z(3, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.allclose(draws[0], draws[2])


def test_the_same_latents_give_the_same_bytes(generator, latents, condition):
    w_plus = generator.broadcast(latents)
    first, again = (generator.synthesize(w_plus, condition) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_truncation_pulls_to_the_mean(generator, condition):
    z = generator.sample_z(4, np.random.default_rng(0))
    w, mean = generator.map(z, condition=condition), generator.mean_w()
    none, half = (generator.map(z, psi=psi, condition=condition) for psi in (0.0, 0.5))
    np.testing.assert_allclose(none, np.tile(mean, (4, 1)), atol=1e-5)
    np.testing.assert_allclose(half, mean + 0.5 * (w - mean), atol=1e-5)


def test_conditions_hang_on_the_seed_alone_and_change_the_image(generator, latents, condition):
    if condition is None:
        pytest.skip(f"{generator.name} takes no condition")
    again = generator.sample_condition(4, np.random.default_rng(6))
    np.testing.assert_array_equal(condition, again)
    assert condition.shape == (4, generator.c_dim) and condition.dtype == np.float32
    w_plus = generator.broadcast(latents[[0, 0]])
    one, other = generator.synthesize(w_plus, condition[:2])
    assert (one != other).any()


def test_a_camera_is_where_its_pose_says(generator, condition):
    if not isinstance(generator, Posed):
        pytest.skip(f"{generator.name} has no camera")
    poses = np.float32([[10, -5, 0], [-20, 8, 3], [0, 0, 0], [40, 20, -10]])
    moved = generator.with_pose(condition, *poses.T)
    np.testing.assert_allclose(generator.pose(moved), poses, atol=1e-3)
    np.testing.assert_allclose(
        generator.with_pose(condition, *generator.pose(condition).T), condition, atol=1e-4
    )


def test_the_fingerprint_is_stable_and_depends_on_the_settings(name, generator):
    small = SMALL.get(name, {})
    assert re.fullmatch("[0-9a-f]{64}", generator.fingerprint())
    assert make_generator(name, **small).fingerprint() == generator.fingerprint()
    others = [make_generator(name, **{**small, **change}) for change in CHANGES[name]]
    prints = [generator.fingerprint(), *(other.fingerprint() for other in others)]
    assert len(set(prints)) == len(prints) > 1


def test_known_truth_is_orthonormal_and_goes_with_every_image(generator, latents):
    if not isinstance(generator, KnownTruth):
        pytest.skip(f"{generator.name} has no known truth")
    truth = generator.truth()
    count = len(truth.names)
    assert len(truth.units) == len(truth.layers) == count
    assert set(truth.layers) <= set(range(generator.num_ws))
    gram = truth.directions.astype(np.float64) @ truth.directions.T
    np.testing.assert_allclose(gram, np.eye(count), atol=1e-5)
    w_plus = generator.broadcast(latents)
    images, faces = generator.synthesize_with_truth(w_plus)
    np.testing.assert_array_equal(images, generator.synthesize(w_plus))
    assert faces.parameters.shape == (4, count)
    assert faces.landmarks_2d.shape == (4, 68, 2)
    assert faces.landmarks_3d.shape == (4, 68, 3)
    assert (np.abs(faces.landmarks_2d - 0.5) < 0.5).mean() > 0.99


def test_a_layer_of_another_parameter_changes_nothing_of_it(generator, latents):
    if not isinstance(generator, KnownTruth):
        pytest.skip(f"{generator.name} has no known truth")
    truth, w_plus = generator.truth(), generator.broadcast(latents)
    yaw = truth.names.index("yaw")
    before = generator.synthesize_with_truth(w_plus)[1].parameters
    for row in range(generator.num_ws):
        moved = w_plus.copy()
        moved[:, row] += 1.5 * truth.directions[yaw]
        after = generator.synthesize_with_truth(moved)[1].parameters
        expected = {yaw} if row == truth.layers[yaw] else set()
        assert set(np.flatnonzero(np.abs(after - before).max(axis=0) > 1e-3)) == expected


def test_truncate_refuses_a_cutoff_outside_the_layers():
    with pytest.raises(InputError, match="cutoff 5"):
        truncate(np.zeros((1, 4, 3), np.float32), np.zeros(3, np.float32), 0.5, cutoff=5)

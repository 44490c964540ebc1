"""Control models in every latent space of a generator, and what they know of it."""

from __future__ import annotations

import numpy as np
import pytest

from mining.generators.pretrained import stylegan2
from mining.methods.camera import rotation
from mining.methods.control import ControlModel, code_ranges, fit_control
from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from mining.methods.regressor import RegressorConfig
from mining.spaces import latent_shape, latents_in
from schemas.errors import InputError

ROWS, POINTS = 400, 20
SHAPE = NrsfmConfig(components=2)
QUICK = RegressorConfig(hidden=(48, 48), epochs=40, learning_rate=3e-3, weight_decay=0.01)
TINY = {
    "img_resolution": 16,
    "z_dim": 8,
    "w_dim": 8,
    "synthesis_kwargs": {"channel_base": 64, "channel_max": 8},
}


@pytest.fixture(scope="module")
def generator():
    return stylegan2(random=TINY, device="cpu")


@pytest.fixture(scope="module", params=["tied", "apart"])
def images(request, generator):
    """z, W+ and the landmarks of a solid that the rows of W+ turn and shift."""
    rng = np.random.default_rng(6)
    if request.param == "tied":
        z = generator.sample_z(ROWS, rng)
        w_plus = generator.broadcast(generator.map(z))
    else:
        z = generator.sample_z(ROWS * generator.num_ws, rng)
        w_plus = generator.map(z).reshape(ROWS, generator.num_ws, -1)
        z = z.reshape(ROWS, generator.num_ws, -1)
    moved = (w_plus - w_plus.mean(axis=0)) / w_plus.std()
    theta = np.stack([moved[:, 0, 0], moved[:, 1, 1], moved[:, 2, 2]], axis=1) * [0.2, 0.3, 0.1]
    solid = 0.15 * rng.normal(size=(3, POINTS))
    turns = np.stack([np.stack(row, axis=1) for row in rotation(theta)[:2]], axis=1)
    points = turns @ solid + 0.5 + 0.03 * moved[:, 3, 3:5, None]
    landmarks = points.transpose(0, 2, 1) + 5e-4 * rng.normal(size=(ROWS, POINTS, 2))
    return request.param, z, w_plus, landmarks


@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
def test_landmarks_are_learnt_from_every_space(generator, images, space):
    kind, z, w_plus, landmarks = images
    if (kind, space) == ("apart", "w"):
        with pytest.raises(InputError, match="no single w"):
            latents_in(generator, space, z, w_plus)
        return
    latents = latents_in(generator, space, z, w_plus)
    control = fit_control(latents, landmarks, SHAPE, QUICK, space=space)
    error = min(control.regressor.held_out_landmarks) / landmarks.var(axis=0).mean()
    # z lies behind the mapping network, and with rows apart has as many numbers as W+
    most = {"tied": 0.25, "apart": 0.5}[kind] if space == "z" else 0.1
    assert error < most
    assert control.regressor.jacobian(latents[:2]).shape == (2, 10, latents.shape[1])


def test_it_says_what_it_belongs_to(generator, images):
    _, z, w_plus, landmarks = images
    config = RegressorConfig(hidden=(8,), epochs=1)
    control = fit_control(
        latents_in(generator, "w+", z, w_plus),
        landmarks,
        SHAPE,
        config,
        space="w+",
        latent_shape=latent_shape(generator, "w+"),
        generator="stylegan2",
        fingerprint=generator.fingerprint(),
        licence="MIT",
    )
    assert control.latent_shape == (generator.num_ws, 8)
    assert (control.generator, control.licence) == ("stylegan2", "MIT")
    assert control.fingerprint == generator.fingerprint()
    flat = w_plus.reshape(ROWS, -1)
    expected = control.shape.project(control.regressor.predict(flat))
    np.testing.assert_array_equal(control.landmarks(flat), expected)
    plain = ControlModel(control.shape, control.regressor)
    assert (plain.space, plain.latent_shape) == ("w", flat.shape[1:])


def test_ranges_are_those_of_the_training_codes(images):
    landmarks = images[3]
    codes = fit_nrsfm(landmarks, SHAPE).codes
    ranges = code_ranges(codes)
    assert ranges.rows == ROWS and len(ranges.low) == 10
    below = (codes < ranges.low).mean(axis=0)
    np.testing.assert_allclose(below[3:], 0.01, atol=0.003)
    np.testing.assert_allclose((codes > ranges.high).mean(axis=0)[3:], 0.01, atol=0.003)
    np.testing.assert_allclose(ranges.mean, codes.mean(axis=0))
    np.testing.assert_allclose(ranges.spread, codes.std(axis=0))


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"space": "v"}, "unknown latent space 'v'"),
        ({"latent_shape": (3, 4)}, r"latents of 8 numbers came for latent_shape \(3, 4\)"),
    ],
)
def test_a_space_that_does_not_fit_is_refused_before_the_fit(rng, about, said):
    with pytest.raises(InputError, match=said):
        fit_control(rng.normal(size=(9, 8)), np.full((9, POINTS, 2), np.nan), **about)

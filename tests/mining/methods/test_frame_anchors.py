"""Frames become anchors: ridge inverters, optimised ones, frames without a face, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from mining.generators.head import HeadGenerator
from mining.generators.pretrained import stylegan2
from mining.methods.anchor_motion import MotionConfig, find_motion
from mining.methods.frame_anchors import (
    FrameAnchors,
    OptimisingInverter,
    fit_inverter,
    start_of,
)
from mining.methods.training import one_torch_thread
from schemas.errors import InputError

TINY = {
    "img_resolution": 16,
    "z_dim": 8,
    "w_dim": 8,
    "synthesis_kwargs": {"channel_base": 128, "channel_max": 8},
}
DIM, FEATURES = 40, 12


@pytest.fixture
def world(rng):
    """Latents, what is seen of them (linear, with noise), and the line that turns the head."""
    see = rng.normal(size=(FEATURES, DIM)) / np.sqrt(DIM)
    truth = see[0] / np.linalg.norm(see[0])
    latents = rng.normal(size=(3000, DIM))
    features = latents @ see.T + 0.02 * rng.normal(size=(3000, FEATURES))
    return latents, features, see, truth


def blank(count: int) -> np.ndarray:
    return np.zeros((count, 4, 4, 3), np.uint8)


def test_a_ridge_inverts_what_is_seen(world):
    latents, features, see, _ = world
    made = fit_inverter(latents, features)
    assert made.r2 == pytest.approx(FEATURES / DIM, abs=0.05)  # it sees 12 of 40 dimensions
    found = made(blank(50), features[:50])
    np.testing.assert_allclose(found @ see.T, features[:50], atol=0.15)
    features[7] = np.nan
    assert np.isfinite(fit_inverter(latents, features).weights).all()


def test_frames_that_turn_give_the_direction_that_turns(world, rng):
    latents, features, see, truth = world
    made = fit_inverter(latents, features)
    person = rng.normal(size=DIM)
    angles = np.array([-3.0, -2, -1, 0, 1, 2, 3])  # as in Pointing'04
    path = person + angles[:, None] * truth
    seen = path @ see.T + 0.02 * rng.normal(size=(7, FEATURES))
    degrees = 15 * angles
    degrees[2] = np.nan  # no face in one of them
    source = FrameAnchors(blank(7), degrees, seen, made)
    anchors = source()
    assert anchors.evidence == {"frames": 6.0, "left_out": 1.0}
    assert len(anchors.starts) == 1 and len(anchors.latents) == 6
    for kind in ("none", "pca", "robust_pca"):
        vector = find_motion(anchors, MotionConfig(kind)).vector
        assert vector @ truth > 0.9
    back = FrameAnchors(blank(7), -degrees, seen, made)()
    assert find_motion(back).vector @ truth < -0.9


@pytest.mark.filterwarnings("error")
def test_optimised_codes_make_the_frames_again():
    with one_torch_thread():
        generator = stylegan2(random=TINY)
        w = generator.map(generator.sample_z(3, np.random.default_rng(2)))
        frames = generator.synthesize(generator.broadcast(w))
        inverter = OptimisingInverter(generator, "w", steps=150)
        found = inverter(frames, np.empty((3, 0)))
        assert found.shape == (3, 8)
        start = generator.synthesize(generator.broadcast(generator.mean_w()[None]))
        again = generator.synthesize(generator.broadcast(found.astype(np.float32)))

        def gap(images):
            return np.abs(images.astype(float) - frames).mean(axis=(1, 2, 3))

        assert (gap(again) < 0.35 * gap(np.repeat(start, 3, axis=0))).all()
        assert start_of(generator, "w+").shape == (generator.num_ws * 8,)
        anchors = FrameAnchors(frames, np.arange(3.0), np.empty((3, 0)), inverter)()
        np.testing.assert_allclose(anchors.latents, found)


def test_heads_that_turn_are_inverted_by_their_true_landmarks():
    generator = HeadGenerator(resolution=64, supersampling=1.0)
    w = generator.map(generator.sample_z(250, np.random.default_rng(4)))
    truth = generator.truth().direction("yaw").astype(np.float64)
    names = generator.truth().names

    def seen(rows):
        _, faces = generator.synthesize_with_truth(generator.broadcast(rows.astype(np.float32)))
        return faces.landmarks_2d.reshape(len(rows), -1).astype(np.float64), faces.parameters

    features, _ = seen(w)
    made = fit_inverter(w, features)
    frames = w[5] + np.linspace(-2, 2, 9)[:, None] * truth
    points, parameters = seen(frames)
    anchors = FrameAnchors(blank(9), parameters[:, names.index("yaw")], points, made)()
    vector = find_motion(anchors).vector
    # a ridge on 250 true yaws itself comes to .65 in 512 dimensions
    others = generator.truth().directions[[k for k, name in enumerate(names) if name != "yaw"]]
    assert vector @ truth > 0.4 and vector @ truth > 2.5 * np.abs(others @ vector).max()


def test_mistakes_are_told(world):
    latents, features, _, _ = world
    made = fit_inverter(latents, features)
    with pytest.raises(InputError, match="measured in 2 of 4 frames"):
        FrameAnchors(blank(4), np.array([1, 2, np.nan, np.nan]), features[:4], made)()
    with pytest.raises(InputError, match="is 5 in all 4 frames"):
        FrameAnchors(blank(4), np.full(4, 5.0), features[:4], made)()
    with pytest.raises(InputError, match="3 frames, 4 degrees"):
        FrameAnchors(blank(3), np.arange(4.0), features[:4], made)()
    with pytest.raises(InputError, match="no gradient passes generator 'head'"):
        OptimisingInverter(HeadGenerator(resolution=64), "w")
    with pytest.raises(InputError, match="10 of 10 rows"):
        fit_inverter(latents[:10], features[:10])
    with pytest.raises(InputError, match="do not|came"):
        fit_inverter(latents[:30], features[:29])

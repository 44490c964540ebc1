"""Text anchors: images come to fit their sentence, by gradients or by evolution; refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mining.editing.image_networks import ImageNetwork
from mining.generators.head import HeadGenerator
from mining.generators.pretrained import stylegan2
from mining.methods.anchor_motion import MotionConfig, find_motion
from mining.methods.latent_optimisation import rate_at, wide_axes
from mining.methods.text_anchors import (
    DEGREES,
    PERCENT,
    TEMPLATES,
    WORDS,
    TextAnchors,
    TextConfig,
    filled,
)
from mining.methods.training import one_torch_thread
from schemas.errors import InputError
from tests.mining.methods.tiny_clip import Brightness, clip_folder

TINY = {
    "img_resolution": 32,
    "z_dim": 16,
    "w_dim": 16,
    "synthesis_kwargs": {"channel_base": 512, "channel_max": 16},
}
QUICK = TextConfig(steps=12, batch=22)


@pytest.fixture(autouse=True)
def one_thread():
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def generator():
    return stylegan2(random=TINY)


@pytest.fixture(scope="module")
def starts(generator) -> np.ndarray:
    """Two w, and all their rows."""
    w = generator.map(generator.sample_z(2, np.random.default_rng(1)))
    return w.astype(np.float64)


def brightness(generator, w_plus) -> np.ndarray:
    rows = w_plus.reshape(-1, generator.num_ws, generator.w_dim).astype(np.float32)
    return generator.synthesize(rows).mean(axis=(1, 2, 3)) / 255


@pytest.mark.parametrize("space", ["w", "w+"])
def test_images_come_to_fit_their_sentences(generator, starts, space):
    first = starts if space == "w" else np.tile(starts, (1, generator.num_ws))
    source = TextAnchors(generator, Brightness(), "{} bright", first, space, QUICK)
    anchors = source()
    assert anchors.latents.shape == (22, first.shape[1])
    np.testing.assert_allclose(anchors.degrees, np.tile(list(PERCENT.values()), 2))
    np.testing.assert_array_equal(anchors.identity, np.repeat([0, 1], 11))
    rows = anchors.latents if space == "w+" else np.tile(anchors.latents, (1, generator.num_ws))
    seen = brightness(generator, rows)
    for person in (seen[:11], seen[11:]):
        assert np.corrcoef(person, anchors.degrees[:11])[0, 1] > 0.9
    assert anchors.evidence["fit"] > anchors.evidence["fit_before"]
    assert anchors.evidence["fit_gain"] > 0 and anchors.evidence["travelled"] > 0
    shape = (generator.num_ws, generator.w_dim) if space == "w+" else (generator.w_dim,)
    found = find_motion(anchors, MotionConfig(layers="each"), shape)
    moved = first + 0.5 * found.vector
    before, after = (
        brightness(generator, each if space == "w+" else np.tile(each, (1, generator.num_ws)))
        for each in (first, moved)
    )
    assert (after > before).all()


def test_the_same_call_gives_the_same_anchors_whatever_the_batch(generator, starts):
    one = TextAnchors(generator, Brightness(), "{} bright", starts, "w", QUICK)()
    config = TextConfig(steps=12, batch=7)
    other = TextAnchors(generator, Brightness(), "{} bright", starts, "w", config)()
    np.testing.assert_allclose(one.latents, other.latents, atol=2e-4)
    again = TextAnchors(generator, Brightness(), "{} bright", starts, "w", QUICK)()
    np.testing.assert_array_equal(one.latents, again.latents)


def test_weights_hold_the_latent_and_the_identity(generator, starts):
    free = TextConfig(steps=12, l2_weight=0.0, identity_weight=0.0, batch=22)
    held = TextConfig(steps=12, l2_weight=1.0, batch=22)
    far, near = (
        TextAnchors(generator, Brightness(), "{} bright", starts, "w", config)()
        for config in (free, held)
    )
    assert near.evidence["travelled"] < 0.5 * far.evidence["travelled"]
    face = ImageNetwork(lambda x: x[:, :, ::3, ::3] + 0.1, 12, distance="cosine")
    config = TextConfig(steps=12, l2_weight=0.0, identity_weight=50.0, batch=22)
    kept = TextAnchors(generator, Brightness(), "{} bright", starts, "w", config, face)()

    def change(latents):
        rows = np.tile(latents, (1, generator.num_ws)).reshape(len(latents), -1, 16)
        images = torch.from_numpy(generator.synthesize(rows.astype(np.float32))).permute(0, 3, 1, 2)
        seen = torch.nn.functional.interpolate(images.float() / 127.5 - 1, (12, 12))
        return face(seen)

    first = change(starts[far.identity])
    moved = [float(face.compare(change(each.latents), first).mean()) for each in (far, kept)]
    assert moved[1] < 0.5 * moved[0]


def test_the_released_list_starts_unedited_and_loses_the_full_degree(generator, starts):
    fixed = TextAnchors(generator, Brightness(), "{} bright", starts[:1], "w", QUICK)()
    config = TextConfig(steps=12, compat=True, batch=22)
    released = TextAnchors(generator, Brightness(), "{} bright", starts[:1], "w", config)()
    np.testing.assert_allclose(released.latents[0], starts[0])
    np.testing.assert_allclose(released.latents[1:], fixed.latents[:-1])


@pytest.fixture(scope="module")
def heads():
    generator = HeadGenerator(resolution=64, supersampling=1.0)
    z = generator.sample_z(200, np.random.default_rng(3))
    return generator, generator.map(z).astype(np.float64)


def test_evolution_stands_in_for_gradients_on_the_head(heads):
    generator, latents = heads
    config = TextConfig(steps=6, pairs=3, axes=8, l2_weight=0.0, batch=11)
    source = TextAnchors(
        generator, Brightness(), "{} bright", latents[:1], "w", config, None, latents
    )
    anchors = source()
    rows = np.repeat(anchors.latents[:, None], generator.num_ws, axis=1).astype(np.float32)
    seen = generator.synthesize(rows).mean(axis=(1, 2, 3))
    assert np.corrcoef(seen, anchors.degrees)[0, 1] > 0.6
    assert anchors.evidence["fit_gain"] > 0


def test_evolution_needs_to_know_how_latents_spread(heads):
    generator, latents = heads
    with pytest.raises(InputError, match="not differentiable"):
        TextAnchors(generator, Brightness(), "{} bright", latents[:1], "w")
    config = TextConfig(optimiser="gradient")
    with pytest.raises(InputError, match="no gradient passes"):
        TextAnchors(generator, Brightness(), "{} x", latents[:1], "w", config, None, latents)
    axes = wide_axes(latents, 5)
    spread = np.linalg.norm(axes, axis=1)
    assert axes.shape == (5, 512) and (np.diff(spread) <= 1e-9).all()
    with pytest.raises(InputError, match="at least two"):
        wide_axes(latents[:1], 5)


def test_rates_rise_and_fall():
    rates = [rate_at(step, 40) for step in range(40)]
    assert 0 < rates[0] < 1 and max(rates) == 1.0
    assert rates[-1] < 0.05 and rates[5] == rates[25] == 1.0
    assert all(np.diff(rates[30:]) < 0)


def test_sentences_are_those_of_the_source():
    assert filled(TEMPLATES["smile"], "10%") == "person with 10% smile"
    assert filled(TEMPLATES["ageing"], "") == "old person with gray hair"
    assert len(PERCENT) == 11 and len(WORDS) == 8 and PERCENT["100%"] == 1.0
    assert set(DEGREES) == {"percent", "words", "tens", "sizes"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"degrees": "many"}, "degrees"),
        ({"optimiser": "magic"}, "optimiser"),
        ({"steps": 0}, "steps is 0"),
        ({"ramp_up": 0.0}, "ramp_up"),
        ({"l2_weight": -1.0}, "l2_weight"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_that_do_not_fit_are_told(change, said):
    with pytest.raises(InputError, match=said):
        TextConfig(**change)


def test_what_cannot_be_optimised_is_told(generator, starts):
    with pytest.raises(InputError, match="one {}"):
        TextAnchors(generator, Brightness(), "no place", starts, "w")
    with pytest.raises(InputError, match="expected w or w+"):
        TextAnchors(generator, Brightness(), "{} x", starts, "z")


# ------------------------------------------------------------------------------- CLIP itself


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.mark.needs("clip")
def test_a_real_clip_scores_as_its_extractor_does_and_passes_gradients(clip, generator, starts):
    from mining.extractors.clip_folder import read_folder
    from mining.extractors.clip_images import ClipModel, clip_pixels
    from mining.methods.clip_scorer import ClipScorer

    scorer = ClipScorer(str(clip))
    w_plus = generator.broadcast(starts.astype(np.float32))
    images = generator.synthesize(w_plus)
    folder = read_folder("test", str(clip))
    model = ClipModel("test", folder, torch.device("cpu"))
    wanted = model.images(clip_pixels(images, folder))
    seen = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    np.testing.assert_allclose(scorer.images(seen).numpy(), wanted, atol=1e-5)
    sentences = [filled(TEMPLATES["smile"], word) for word in ("no", "100%")]
    np.testing.assert_allclose(scorer.text(sentences), model.phrases(sentences))
    larger = torch.nn.functional.interpolate(seen, (80, 80), mode="bicubic").requires_grad_()
    scorer.images(larger).sum().backward()
    assert larger.grad is not None and larger.grad.abs().max() > 0
    assert len(scorer.fingerprint()) == 64


@pytest.mark.needs("clip")
def test_optimising_for_a_real_clip_raises_its_score(clip, generator, starts):
    from mining.methods.clip_scorer import ClipScorer

    first = np.tile(starts[:1], (1, generator.num_ws))
    config = TextConfig(steps=15, degrees="words")
    scorer = ClipScorer(str(clip))
    anchors = TextAnchors(generator, scorer, TEMPLATES["smile"], first, "w+", config)()
    assert anchors.latents.shape == (8, first.shape[1])
    assert anchors.evidence["fit_gain"] > 0.01


def test_a_folder_without_a_model_is_told(tmp_path):
    from mining.methods.clip_scorer import ClipScorer

    with pytest.raises(InputError, match="clip scorer"):
        ClipScorer(str(tmp_path / "nowhere"))

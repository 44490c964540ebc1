"""Networks behind the protocol: bytes, sizes, streams, styles and conditions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mining.generators.base import Generator
from mining.generators.devices import averaged_down, pick_device, to_pixels
from mining.generators.pretrained import classes, stylegan2
from mining.generators.registry import make_generator
from mining.generators.torch_generator import style_slices
from schemas.errors import InputError

TINY = {
    "img_resolution": 32,
    "z_dim": 16,
    "w_dim": 16,
    "synthesis_kwargs": {"channel_base": 512, "channel_max": 16},
}


@pytest.fixture(scope="module")
def generator():
    return stylegan2(random=TINY)


@pytest.fixture(scope="module")
def w_plus(generator):
    return generator.broadcast(generator.map(generator.sample_z(5, np.random.default_rng(0))))


def test_it_fits_the_protocol(generator):
    assert isinstance(generator, Generator)
    assert generator.num_ws == len(generator.layer_names) == 8


def test_a_smaller_size_is_the_mean_of_whole_blocks(generator, w_plus):
    whole = generator.synthesize(w_plus).astype(float)
    half = generator.synthesize_at(w_plus, None, 16)
    means = whole.reshape(5, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(half - means).max() <= 1  # rounded once here, twice there


def test_a_size_between_is_antialiased(rng):
    image = torch.from_numpy(rng.uniform(-1, 1, (1, 3, 60, 60))).float()
    small = averaged_down(image, 24)
    assert small.shape == (1, 3, 24, 24)
    assert float(small.std()) < 0.6 * float(image.std())
    flat = torch.full((1, 3, 60, 60), 0.25)
    torch.testing.assert_close(averaged_down(flat, 24), torch.full((1, 3, 24, 24), 0.25))


@pytest.mark.parametrize("size", [0, 33])
def test_a_size_that_cannot_be_is_refused(generator, w_plus, size):
    with pytest.raises(InputError, match=f"size of {size}.*1..32"):
        generator.synthesize_at(w_plus, None, size)


def test_a_stream_gives_what_single_calls_give(generator, w_plus):
    batches = [(w_plus[:2], None), (w_plus[2:], None)]
    streamed = list(generator.stream(batches, 16))
    for images, (rows, condition) in zip(streamed, batches, strict=True):
        np.testing.assert_array_equal(images, generator.synthesize_at(rows, condition, 16))


def test_styles_make_the_same_image_and_can_be_edited(generator, w_plus):
    styles = generator.styles(w_plus)
    np.testing.assert_array_equal(generator.synthesize_styles(styles), generator.synthesize(w_plus))
    edited = styles.copy()
    edited[:, style_slices(generator.style_layers)["b16.conv1"]] += 2.0
    assert (generator.synthesize_styles(edited) != generator.synthesize(w_plus)).any()


def test_style_weights_turn_rows_of_w_plus_into_styles(generator, w_plus):
    weights, rows = generator.style_weights(), generator.style_rows()
    moved = w_plus + np.float32(0.1)
    change = generator.styles(moved) - generator.styles(w_plus)
    slices = style_slices(generator.style_layers)
    assert (
        set(weights)
        == set(rows)
        == {name for name in slices if "torgb" not in name}
        | {
            "b32.torgb"  # the only colours with a row of their own
        }
    )
    for name, weight in weights.items():
        step = (moved - w_plus)[:, rows[name]]
        np.testing.assert_allclose(change[:, slices[name]], step @ weight.T, atol=1e-5)


def test_pixels_have_the_scale_of_the_releases():
    values = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]).view(1, 1, 1, 7)
    pixels = to_pixels(values.expand(1, 1, 7, 7))
    assert pixels.shape == (1, 7, 7, 3)
    assert pixels[0, 0, :, 0].tolist() == [0, 0, 64, 128, 191, 255, 255]
    with pytest.raises(InputError, match="2 channels"):
        to_pixels(torch.zeros(1, 2, 4, 4))


def test_classes_are_drawn_evenly_or_held():
    drawn = classes(4)(4000, np.random.default_rng(0))
    assert drawn.shape == (4000, 4)
    np.testing.assert_array_equal(drawn.sum(axis=1), 1)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.25, atol=0.03)
    assert (classes(4, 2)(3, np.random.default_rng(0))[:, 2] == 1).all()
    assert classes(0) is None


def test_the_condition_decides_w_and_must_be_there():
    generator = stylegan2(random={**TINY, "c_dim": 3})
    z = generator.sample_z(2, np.random.default_rng(0))
    conditions = np.eye(3, dtype=np.float32)
    first, second = (generator.map(z, condition=conditions[[k, k]]) for k in (0, 1))
    assert np.abs(first - second).max() > 1e-3
    with pytest.raises(InputError, match=r"no condition came; expected \(2, 3\)"):
        generator.map(z)
    with pytest.raises(InputError, match=r"\(1, 3\); expected \(2, 3\)"):
        generator.map(z, condition=conditions[:1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "neither came"),
        ({"checkpoint": "a.pkl", "random": TINY}, "both came"),
        ({"random": {**TINY, "resolution": 64}}, "resolution"),
        ({"random": {**TINY, "seed": -1}}, "seed is -1"),
        ({"random": TINY, "label": 1}, "label 1 came; expected none"),
        ({"random": TINY, "device": "tpu"}, "'tpu'"),
        ({"random": TINY, "device": "cpu:x"}, "'cpu:x' came"),
        ({"random": TINY, "device": "cuda:99"}, "'cuda:99' is not to be had"),
        ({"random": TINY, "compile": "fast"}, "compile 'fast' came"),
        ({"random": TINY, "precision": "int8"}, "int8"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_line(options, said):
    with pytest.raises(InputError, match=said):
        make_generator("stylegan2", **options)


def test_the_fingerprint_does_not_hang_on_how_the_settings_are_spelled(generator):
    spelled = stylegan2(random={**TINY, "seed": 0, "img_channels": 3}, device="cpu")
    if generator.fingerprint() != stylegan2(random=TINY, device="cpu").fingerprint():
        pytest.skip("this machine has a GPU, whose images are others")
    assert spelled.fingerprint() == generator.fingerprint()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="'cuda' is not to be had"):
        pick_device("cuda")

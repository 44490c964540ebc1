"""Latent spaces: what a dataset stores becomes flat rows, and those its own images again."""

from __future__ import annotations

import numpy as np
import pytest

from mining.generators.base import Styled, truncate
from mining.generators.pretrained import stylegan2, stylegan3
from mining.generators.registry import make_generator
from mining.rendering import downscale
from mining.spaces import latent_shape, latents_in, render, w_plus_of
from schemas.errors import InputError

TINY = {"z_dim": 8, "w_dim": 8, "synthesis_kwargs": {"channel_base": 128, "channel_max": 8}}
NETWORKS = {
    "stylegan2": lambda: stylegan2(random={"img_resolution": 16, **TINY}, device="cpu"),
    "stylegan3": lambda: stylegan3(random={"img_resolution": 32, **TINY}, device="cpu"),
    "head": lambda: make_generator("head", resolution=64),
}


@pytest.fixture(scope="module", params=NETWORKS)
def generator(request):
    return NETWORKS[request.param]()


@pytest.fixture(scope="module")
def style_gan():
    return NETWORKS["stylegan2"]()


def tied(generator, psi, cutoff, count=3):
    """z and the rows of W+ as a dataset of space w stores them."""
    z = generator.sample_z(count, np.random.default_rng(1))
    w_plus = truncate(generator.broadcast(generator.map(z)), generator.mean_w(), psi, cutoff)
    return z, w_plus


def apart(generator, psi=1.0, cutoff=None, count=3):
    """The same of space w+: a z for every row."""
    rows = generator.num_ws
    z = generator.sample_z(count * rows, np.random.default_rng(2))
    w_plus = generator.map(z).reshape(count, rows, -1)
    cut = truncate(w_plus, generator.mean_w(), psi, cutoff)
    return z.reshape(count, rows, -1), cut


def same_image(first, second):
    """Equal to a level of 255: products of other batch sizes may round the other way."""
    assert first.shape == second.shape
    assert np.abs(first.astype(int) - second).max() <= 1


@pytest.mark.parametrize(("psi", "cutoff"), [(1.0, None), (0.6, None), (0.6, 2)])
def test_every_space_gives_the_datasets_own_images(generator, psi, cutoff):
    z, w_plus = tied(generator, psi, cutoff)
    images = generator.synthesize(w_plus)
    for space in generator.spaces:
        latents = latents_in(generator, space, z, w_plus)
        assert latents.dtype == np.float32
        assert latents.shape == (3, np.prod(latent_shape(generator, space)))
        same_image(render(generator, space, latents, psi=psi, cutoff=cutoff), images)
        if space != "s":
            found = w_plus_of(generator, space, latents, psi, cutoff)
            np.testing.assert_allclose(found, w_plus, atol=1e-5)


def test_rows_drawn_apart_come_back_from_z_and_w_plus(generator):
    z, w_plus = apart(generator, psi=0.7, cutoff=2)
    for space in ("z", "w+"):
        latents = latents_in(generator, space, z, w_plus)
        assert latents.shape == (3, generator.num_ws * generator.w_dim)
        found = w_plus_of(generator, space, latents, psi=0.7, cutoff=2)
        np.testing.assert_allclose(found, w_plus, atol=1e-5)
    with pytest.raises(InputError, match="no single w"):
        latents_in(generator, "w", z, w_plus)


def test_shapes_of_one_latent(style_gan):
    assert latent_shape(style_gan, "z") == latent_shape(style_gan, "w") == (8,)
    assert latent_shape(style_gan, "w+") == (style_gan.num_ws, 8)
    (styles,) = latent_shape(style_gan, "s")
    assert styles == sum(layer.channels for layer in style_gan.style_layers)


def test_latents_may_keep_their_shape_and_images_may_be_smaller(style_gan):
    z, w_plus = tied(style_gan, 1.0, None, count=35)  # more than are made at once
    flat = latents_in(style_gan, "w+", z, w_plus)
    assert flat.shape[0] == 35
    images = render(style_gan, "w+", w_plus.astype(np.float64), size=8)
    same_image(images, render(style_gan, "w+", flat, size=8))
    assert images.shape == (35, 8, 8, 3)
    styles = latents_in(style_gan, "s", z, w_plus)
    whole = render(style_gan, "s", styles)
    same_image(render(style_gan, "s", styles, size=8), downscale(whole, 8))
    assert render(style_gan, "w", w_plus[:0, 0]).shape == (0, 16, 16, 3)


def test_a_style_moves_the_image(style_gan):
    z, w_plus = tied(style_gan, 1.0, None)
    styles = latents_in(style_gan, "s", z, w_plus)
    moved = render(style_gan, "s", styles + np.float32(2))
    assert (moved != render(style_gan, "s", styles)).mean() > 0.5


def test_conditions_go_along():
    labels = {"img_resolution": 16, "c_dim": 3, **TINY}
    generator = stylegan2(random=labels, device="cpu")
    z = generator.sample_z(4, np.random.default_rng(3))
    classes = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    expected = generator.synthesize(
        generator.broadcast(generator.map(z, condition=classes)), classes
    )
    same_image(render(generator, "z", z, condition=classes), expected)
    with pytest.raises(InputError, match="2 conditions for 4 latents"):
        render(generator, "z", z, condition=classes[:2])


def test_what_a_generator_has_not_is_refused(style_gan):
    head = NETWORKS["head"]()
    assert isinstance(style_gan, Styled) and not isinstance(head, Styled)
    z, w_plus = tied(head, 1.0, None)
    for call in (
        lambda: latents_in(head, "s", z, w_plus),
        lambda: render(head, "s", z),
        lambda: latent_shape(head, "s"),
    ):
        with pytest.raises(InputError, match="'head' has no space s; expected z, w, w+"):
            call()
    with pytest.raises(InputError, match="unknown latent space 'v'"):
        latent_shape(head, "v")
    styles = latents_in(style_gan, "s", *tied(style_gan, 1.0, None))
    with pytest.raises(InputError, match=r"latents of S have no W\+"):
        w_plus_of(style_gan, "s", styles)


def test_latents_that_do_not_fit_name_their_shape(style_gan):
    z, w_plus = tied(style_gan, 1.0, None)
    with pytest.raises(InputError, match=r"\(3, 7\) came for space w .*expected \(N, 8\)"):
        render(style_gan, "w", w_plus[:, 0, :7])
    with pytest.raises(InputError, match=r"\(8,\) came for space z"):
        render(style_gan, "z", z[0])
    with pytest.raises(InputError, match="NaN"):
        render(style_gan, "w", np.full((1, 8), np.nan))
    with pytest.raises(InputError, match=r"z \(2, 8\) and w_plus"):
        latents_in(style_gan, "w+", z[:2], w_plus)
    with pytest.raises(InputError, match=r"size 17 came, expected 1\.\.16"):
        render(style_gan, "z", z, size=17)

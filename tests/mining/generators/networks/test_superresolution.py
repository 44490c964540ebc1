"""The super-resolution: the released variants, their sizes and what they read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mining.generators.networks.superresolution import VARIANTS, SuperResolution, variant_of
from schemas.errors import InputError
from tests.mining.generators.networks.seeded import seeded_tensors, shapes_of

GOLDEN = json.loads((Path(__file__).parent / "golden" / "eg3d.json").read_text())
SMALLEST = "SuperresolutionHybrid2X"


def seeded(name: str, w_dim: int = 8, antialias: bool = True, **options) -> SuperResolution:
    variant = VARIANTS[name]
    network = SuperResolution(variant, 32, w_dim, False, antialias, options)
    network.load_state_dict(seeded_tensors(shapes_of(network), 7))
    return network.eval().requires_grad_(False)


def rendered(side: int, seed: int = 6) -> torch.Tensor:
    numbers = np.random.default_rng(seed).standard_normal((1, 32, side, side))
    return torch.from_numpy(numbers.astype(np.float32))


@pytest.fixture(scope="module")
def small() -> SuperResolution:
    return seeded(SMALLEST)


@pytest.fixture(scope="module")
def w() -> torch.Tensor:
    return torch.randn(1, 8, generator=torch.Generator().manual_seed(0))


def test_the_deep_variant_is_the_authors():
    """Its kind of release is older than the code that the other golden numbers come from."""
    network = seeded("SuperresolutionHybridDeepfp32", w_dim=512)
    w = torch.from_numpy(np.random.default_rng(3).standard_normal((1, 512)).astype(np.float32))
    for noise in ("fixed", "zero"):
        image = network(rendered(64), network.styles(w), noise)
        golden = GOLDEN["deep"][noise]
        patch = image[:, :, 128:132, 128:132].flatten()
        tolerance = 1e-4 * max(1.0, float(image.abs().max()))
        np.testing.assert_allclose(patch, golden["patch"], atol=tolerance)
        assert float(image.double().mean()) == pytest.approx(golden["mean"], abs=tolerance)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_laid_out_as_released(name):
    with torch.device("meta"):
        network = SuperResolution(VARIANTS[name], 32, 512, True, True, {"channel_base": 32768})
    layers = network.style_layers(13)
    assert {layer.row for layer in layers} == {13}
    assert [layer.name for layer in layers] == [
        f"block{n}.{layer}" for n in (0, 1) for layer in ("conv0", "conv1", "torgb")
    ]
    first, second = VARIANTS[name].widths
    assert [layer.channels for layer in layers] == [32, first, first, first, second, second]
    assert [layer.to_rgb for layer in layers] == [False, False, True] * 2
    assert layers[-1].resolution == VARIANTS[name].resolution
    assert {key.split(".")[0] for key in network.state_dict()} == {"block0", "block1"}


@pytest.mark.parametrize("side", [16, 64, 80])
def test_rendered_images_of_other_sizes_are_brought_to_the_first_blocks(side, small, w):
    image = small(rendered(side), small.styles(w))
    assert image.shape == (1, 3, 128, 128) and image.dtype == torch.float32


def test_smaller_images_are_averaged_only_where_the_release_does(w):
    """Antialiasing counts above the first block's size; the deep variant knows none."""
    fine = rendered(80)
    plain, averaged = (seeded(SMALLEST, antialias=a) for a in (False, True))
    assert not torch.equal(plain(fine, plain.styles(w)), averaged(fine, averaged.styles(w)))
    coarse = rendered(16)
    torch.testing.assert_close(
        plain(coarse, plain.styles(w)), averaged(coarse, averaged.styles(w)), atol=1e-4, rtol=1e-4
    )
    assert not seeded("SuperresolutionHybridDeepfp32").antialias


def test_a_variant_that_cannot_shrink_refuses_larger_images(w):
    network = seeded("SuperresolutionHybrid4X")
    with pytest.raises(InputError, match="160 px came; expected at most 128"):
        network(rendered(160), network.styles(w))


def test_colours_are_carried_and_added_to(small, w):
    """The first three features are the image to which each block adds: without the blocks'
    colours, what comes out is what came in, enlarged."""
    network = seeded(SMALLEST)
    for _, block in network.blocks():
        block.torgb.weight.zero_()
        block.torgb.bias.zero_()
    flat = torch.full((1, 32, 64, 64), 0.5)
    out = network(flat, network.styles(w))
    torch.testing.assert_close(out[..., 8:-8, 8:-8], torch.full((1, 3, 112, 112), 0.5))


def test_noise_is_stored_drawn_or_absent(small, w):
    x, styles = rendered(64), small.styles(w)
    fixed, drawn, none = (small(x, styles, noise) for noise in ("fixed", "random", "zero"))
    assert (fixed - none).abs().max() > 1e-3 and (drawn - none).abs().max() > 1e-3
    assert (fixed - drawn).abs().max() > 1e-3
    assert torch.equal(drawn, small(x, styles, "random"))
    silent = seeded(SMALLEST, use_noise=False)
    assert torch.equal(silent(x, styles, "fixed"), silent(x, styles, "zero"))


def test_half_floats_stay_near_the_full_ones(w):
    network = seeded(SMALLEST)
    x, styles = rendered(64), network.styles(w)
    full = network(x, styles)
    network.precision = "bfloat16"
    half = network(x, styles)
    assert half.dtype == torch.float32
    error = (half - full).square().mean().sqrt() / full.square().mean().sqrt()
    assert 0 < error < 0.05
    network.precision = "released"  # full floats away from CUDA
    assert torch.equal(network(x, styles), full)


def test_unknown_variants_and_sizes_are_refused():
    assert variant_of("training.superresolution.SuperresolutionHybrid8XDC", 512).widths[0] == 256
    with pytest.raises(InputError, match="'x.Superb'; expected one of SuperresolutionHybrid2X"):
        variant_of("x.Superb", 512)
    with pytest.raises(InputError, match="img_resolution 256 came; expected 512"):
        variant_of("SuperresolutionHybrid8X", 256)

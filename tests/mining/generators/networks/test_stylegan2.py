"""StyleGAN2: the authors' own numbers, and what follows from the equations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mining.generators.networks.modulated import modulated
from mining.generators.networks.stylegan2 import StyleGan2
from schemas.errors import InputError
from tests.mining.generators.networks.seeded import seeded_tensors, shapes_of

# weights from seeds, images by the authors' stylegan2-ada-pytorch on a CPU: see README.md there
GOLDEN = json.loads((Path(__file__).parent / "golden" / "stylegan2.json").read_text())
SMALL = {
    "z_dim": 8,
    "c_dim": 0,
    "w_dim": 12,
    "img_resolution": 32,
    "synthesis_kwargs": {"channel_base": 512, "channel_max": 16},
}


def seeded(config, seed: int = 7) -> StyleGan2:
    network = StyleGan2(**config).eval().requires_grad_(False)
    network.load_state_dict(seeded_tensors(shapes_of(network), seed))
    return network


@pytest.fixture(scope="module")
def small() -> StyleGan2:
    return seeded(SMALL)


@pytest.fixture(scope="module")
def ws(small) -> torch.Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randn(3, small.num_ws, small.w_dim, generator=source)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_images_are_the_authors(name):
    golden = GOLDEN[name]
    config = golden["config"]
    network = seeded(config)
    z = np.random.default_rng(3).standard_normal((2, config["z_dim"])).astype(np.float32)
    c_dim = config["c_dim"]
    condition = torch.eye(c_dim)[[1, 3]] if c_dim else None
    w = torch.lerp(network.w_avg, network.map(torch.from_numpy(z), condition), 0.7)
    np.testing.assert_allclose(w[:, :4].flatten(), golden["w"], atol=2e-5)
    ws = w[:, None].repeat(1, network.num_ws, 1)
    middle = config["img_resolution"] // 2
    for noise in ("fixed", "zero"):
        image = network.render(network.styles(ws), noise=noise)
        patch = image[:, :, middle : middle + 4, middle : middle + 4].flatten()
        # within 1e-4 of the colours' range, which weights from seeds overstep
        tolerance = 1e-4 * max(1.0, float(image.abs().max()))
        np.testing.assert_allclose(patch, golden[noise]["patch"], atol=tolerance)
        assert float(image.double().mean()) == pytest.approx(golden[noise]["mean"], abs=tolerance)
        square = float(image.double().square().mean())
        assert square == pytest.approx(golden[noise]["square"], rel=1e-4)


def test_styles_are_affine_in_w(small, ws):
    parts = small.styles(ws).split([layer.channels for layer in small.style_layers], dim=1)
    assert len(parts) == len(small.style_layers)
    for layer, part in zip(small.style_layers, parts, strict=True):
        bias = small.synthesis.get_submodule(layer.name).affine.bias
        expected = ws[:, layer.row] @ small.style_weight(layer).T + bias
        torch.testing.assert_close(part, expected, atol=1e-5, rtol=1e-5)


def test_rows_are_named_after_their_convolutions(small):
    assert small.layer_names[:4] == ("b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0")
    assert small.layer_names[-1] == "b32.torgb"
    assert len(small.layer_names) == small.num_ws == 8


def test_every_row_and_every_style_layer_changes_the_image(small, ws):
    styles = small.styles(ws)
    before = small.render(styles)
    start = 0
    for layer in small.style_layers:
        moved = styles.clone()
        moved[:, start] += 1.0
        start += layer.channels
        assert (small.render(moved) - before).abs().amax(dim=(1, 2, 3)).min() > 1e-4, layer.name


def test_an_image_does_not_depend_on_its_batch(small, ws):
    styles = small.styles(ws)
    for noise in ("fixed", "random", "zero"):
        together = small.render(styles, noise=noise)
        alone = torch.cat([small.render(row[None], noise=noise) for row in styles])
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_random_noise_differs_between_images_and_not_between_calls(small, ws):
    styles = small.styles(ws)
    first, again = (small.render(styles, noise="random") for _ in range(2))
    assert torch.equal(first, again)
    share = (first - small.render(styles, noise="zero"))[:2]
    assert (share[0] - share[1]).abs().max() > 1e-3


def test_a_scale_of_the_style_is_demodulated_away(rng):
    x, weight, style = (
        torch.from_numpy(rng.standard_normal(shape)).float()
        for shape in ((2, 5, 6, 6), (4, 5, 3, 3), (2, 5))
    )
    torch.testing.assert_close(
        modulated(x, weight, 7 * style), modulated(x, weight, style), atol=1e-5, rtol=1e-5
    )
    noise = torch.randn(64, 5, 32, 32, generator=torch.Generator().manual_seed(0))
    out = modulated(noise, weight, style[:1].expand(64, -1))
    spread = out[:, :, 2:-2, 2:-2].std(dim=(0, 2, 3))  # unit variance in, unit variance out
    np.testing.assert_allclose(spread, 1.0, atol=0.05)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_floats_stay_near_the_full_ones(precision, ws):
    network = seeded(SMALL)
    full = network.render(network.styles(ws))
    network.precision = precision
    half = network.render(network.styles(ws))
    assert half.dtype == torch.float32
    error = (half - full).square().mean().sqrt() / full.square().mean().sqrt()
    assert 0 < error < (0.05 if precision == "bfloat16" else 0.01)


def test_released_precision_is_full_away_from_cuda(ws):
    config = {**SMALL, "synthesis_kwargs": {**SMALL["synthesis_kwargs"], "num_fp16_res": 4}}
    network = seeded(config)
    full = network.render(network.styles(ws))
    network.precision = "released"
    assert torch.equal(network.render(network.styles(ws)), full)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"img_resolution": 48}, "48"),
        ({"synthesis_kwargs": {"architecture": "u-net"}}, "u-net"),
        ({"mapping_kwargs": {"activation": "gelu"}}, "gelu"),
        ({"mapping_kwargs": {"num_layers": 0}}, "0 mapping layers"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        StyleGan2(**{**SMALL, **wrong})


def test_a_missing_condition_is_refused():
    network = seeded({**SMALL, "c_dim": 3})
    with pytest.raises(InputError, match=r"none came; expected \(N, 3\)"):
        network.map(torch.zeros(2, 8))
    with pytest.raises(InputError, match=r"\(2, 4\) came"):
        network.map(torch.zeros(2, 8), torch.zeros(2, 4))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, in its compiler
def test_it_compiles_without_a_graph_break(small, ws):
    compiled = torch.compile(small.render, fullgraph=True)
    styles = small.styles(ws)
    torch.testing.assert_close(compiled(styles), small.render(styles), atol=1e-4, rtol=1e-4)

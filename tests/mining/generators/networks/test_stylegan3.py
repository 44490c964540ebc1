"""StyleGAN3: the authors' own numbers, what follows from the equations, and equivariance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mining.generators.networks import filtered
from mining.generators.networks.fourier import FourierInput, image_transform
from mining.generators.networks.stylegan3 import StyleGan3
from schemas.errors import InputError
from tests.mining.generators.networks.seeded import seeded_tensors, shapes_of

# weights from seeds, images by the authors' stylegan3 on a CPU: see README.md there
GOLDEN = json.loads((Path(__file__).parent / "golden" / "stylegan3.json").read_text())
RADIAL = {"use_radial_filters": True, "conv_kernel": 1}
VARIANTS: dict[str, dict[str, Any]] = {"T": {}, "R": RADIAL}
SMALL = {
    "z_dim": 8,
    "c_dim": 0,
    "w_dim": 12,
    "img_resolution": 32,
    "channel_base": 256,
    "channel_max": 16,
    "num_layers": 6,
    "output_scale": 1.0,
}


def seeded(config: dict[str, Any], seed: int = 7) -> StyleGan3:
    network = StyleGan3(**config).eval().requires_grad_(False)
    weights = seeded_tensors(shapes_of(network), seed)
    network.load_state_dict({**network.state_dict(), **weights})
    return network


@pytest.fixture(scope="module", params=VARIANTS)
def small(request) -> StyleGan3:
    return seeded({**SMALL, **VARIANTS[request.param]})


@pytest.fixture(scope="module")
def ws(small) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randn(3, small.num_ws, small.w_dim, generator=source)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_images_are_the_authors(name):
    golden = GOLDEN[name]
    config, seed = golden["config"], golden["seed"]
    network = seeded(config, seed)
    given = seeded_tensors({"z": (2, config["z_dim"]), "condition": (2, config["c_dim"])}, seed)
    w = network.map(given["z"], given["condition"] if config["c_dim"] else None)
    ws = w[:, None].repeat(1, network.num_ws, 1)
    ws[:, :8] = torch.lerp(network.w_avg, ws[:, :8], 0.7)
    image = network.render(network.styles(ws)).double()
    assert image.abs().max() <= 1.01  # so that 1e-4 is a fair tolerance
    np.testing.assert_allclose(image.mean(dim=(2, 3)), golden["mean"], atol=1e-5)
    np.testing.assert_allclose(image.square().mean(dim=(2, 3)), golden["square"], atol=1e-5)
    middle = config["img_resolution"] // 2
    part = slice(middle - 3, middle + 3)
    np.testing.assert_allclose(image[0, :, :6, :6].flatten(), golden["corner"], atol=1e-4)
    np.testing.assert_allclose(image[1, :, part, part].flatten(), golden["middle"], atol=1e-4)


def test_styles_are_affine_in_w(small, ws):
    parts = small.styles(ws).split([layer.channels for layer in small.style_layers], dim=1)
    for layer, part in zip(small.style_layers, parts, strict=True):
        bias = small.synthesis.get_submodule(layer.name).affine.bias
        expected = ws[:, layer.row] @ small.style_weight(layer).T + bias
        torch.testing.assert_close(part, expected, atol=1e-5, rtol=1e-5)


def test_one_layer_per_row_from_the_fourier_features_to_the_colours(small):
    layers = small.style_layers
    assert [layer.row for layer in layers] == list(range(small.num_ws)) == list(range(8))
    assert small.layer_names[:2] == ("input", "L0_36_16")
    assert small.layer_names[-1] == "L6_32_3"
    assert (layers[0].channels, layers[1].channels) == (4, 16)
    assert [layer.to_rgb for layer in layers] == [False] * 7 + [True]


def test_every_style_layer_changes_the_image(small, ws):
    styles = small.styles(ws)
    before = small.render(styles)
    start = 0
    for layer in small.style_layers:
        moved = styles.clone()
        moved[:, start] += 1.0
        start += layer.channels
        assert (small.render(moved) - before).abs().amax(dim=(1, 2, 3)).min() > 1e-4, layer.name


@pytest.mark.parametrize("name", VARIANTS)
def test_every_tensor_counts(name):
    """None is loaded and then forgotten, or taken from elsewhere."""
    network = seeded({**SMALL, **VARIANTS[name], "num_layers": 3, "img_resolution": 16})
    styles = network.styles(torch.ones(1, network.num_ws, network.w_dim))
    before = network.render(styles)
    for key, tensor in network.synthesis.state_dict().items():
        kept = tensor.clone()
        tensor.view(-1)[0] += 0.5  # shares its memory with the network
        ws = torch.ones(1, network.num_ws, network.w_dim)
        assert not torch.equal(network.render(network.styles(ws)), before), key
        tensor.copy_(kept)
    assert torch.equal(network.render(styles), before)


def test_an_image_depends_neither_on_its_batch_nor_on_stripes(small, ws, monkeypatch):
    styles = small.styles(ws)
    together = small.render(styles)
    alone = torch.cat([small.render(row[None]) for row in styles])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    monkeypatch.setattr(filtered, "STRIPE", 16 * 94 * 40)
    torch.testing.assert_close(small.render(styles), together, atol=1e-5, rtol=1e-5)


def psnr(found: Tensor, expected: Tensor) -> float:
    """Decibels under twice the spread of the expected image, over an image and its channels."""
    error = (found - expected).square().mean()
    return float(10 * torch.log10((2 * expected.std()).square() / error))


def inside(image: Tensor, margin: int) -> Tensor:
    return image[..., margin:-margin, margin:-margin]


@pytest.mark.parametrize(("right", "down"), [(4, 0), (-3, 5)])
def test_the_image_moves_with_the_transform(small, ws, right, down):
    """Whole pixels, to the right and down; layers of lower rates see fractions of theirs."""
    styles, size = small.styles(ws), small.resolution
    still = small.render(styles)
    motion = image_transform(right=right / size, down=down / size)
    moved = small.render(styles, transform=small.synthesis.input.transform @ motion)
    expected = torch.roll(still, (down, right), dims=(2, 3))
    right_way, not_at_all = (psnr(inside(moved, 6), inside(it, 6)) for it in (expected, still))
    assert right_way > 80
    assert not_at_all < 20


def turned(network: StyleGan3, ws: Tensor, degrees: float) -> Tensor:
    transform = network.synthesis.input.transform @ image_transform(degrees=degrees)
    return network.render(network.styles(ws), transform=transform)


def test_a_quarter_turn_of_r_turns_its_image_and_that_of_t_not(small, ws):
    """1x1 convolutions and filters that are the same along both axes: all but exact."""
    expected = torch.rot90(small.render(small.styles(ws)), 1, dims=(2, 3))  # counter-clockwise
    quality = psnr(turned(small, ws, 90), expected)
    assert quality > 110 if small.synthesis.L0_36_16.kernel == 1 else quality < 30


def test_any_turn_of_r_turns_its_image_and_that_of_t_less(small, ws):
    """30 degrees, against the image at rest resampled in the middle, where it is smooth."""
    still = small.render(small.styles(ws))
    turn = image_transform(degrees=30)[:2].expand(len(ws), -1, -1)
    grid = torch.nn.functional.affine_grid(turn, list(still.shape), align_corners=False)
    options = {"mode": "bicubic", "padding_mode": "border", "align_corners": False}
    expected = torch.nn.functional.grid_sample(still, grid, **options)
    quality = psnr(inside(turned(small, ws, 30), 8), inside(expected, 8))
    assert quality > 45 if small.synthesis.L0_36_16.kernel == 1 else quality < 30


def test_the_stored_transform_is_the_default(small, ws):
    styles = small.styles(ws)
    stored = small.synthesis.input.transform
    assert torch.equal(small.render(styles), small.render(styles, transform=stored))
    several = small.render(styles, transform=stored.expand(3, 3, 3))
    torch.testing.assert_close(several, small.render(styles))


def test_waves_above_the_nyquist_frequency_vanish():
    """A transform that shrinks the image raises the frequencies; what would alias is gone."""
    features = FourierInput(4, channels=8, size=36, sampling_rate=16, bandwidth=2)
    at_rest = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    with torch.no_grad():
        assert features(at_rest).abs().max() > 0.1
        shrunk = features(at_rest, torch.diag(torch.tensor([1e4, 1e4, 1.0])))
    assert shrunk.abs().max() == 0


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_floats_stay_near_the_full_ones(small, ws, precision):
    full = small.render(small.styles(ws))
    try:
        small.precision = precision
        half = small.render(small.styles(ws))
    finally:
        small.precision = "float32"
    assert half.dtype == torch.float32
    error = (half - full).square().mean().sqrt() / full.square().mean().sqrt()
    assert 0 < error < (0.1 if precision == "bfloat16" else 0.02)


def test_released_precision_is_full_away_from_cuda(small, ws):
    full = small.render(small.styles(ws))
    try:
        small.precision = "released"
        assert torch.equal(small.render(small.styles(ws)), full)
    finally:
        small.precision = "float32"
    halves = [layer.use_fp16 for layer in small.synthesis.modules_in_order()]
    assert halves == sorted(halves) and halves[-1]


def test_nested_and_flat_arguments_are_the_same():
    nested = {key: SMALL[key] for key in ("channel_base", "channel_max", "output_scale")}
    flat = {key: value for key, value in SMALL.items() if key not in nested}
    found = StyleGan3(**flat, synthesis_kwargs=nested)
    assert shapes_of(found) == shapes_of(StyleGan3(**SMALL))


def test_weights_load_into_a_network_without_memory(small, ws):
    with torch.device("meta"):
        empty = StyleGan3(**SMALL, **({} if small.synthesis.L0_36_16.kernel == 3 else RADIAL))
    empty.load_state_dict(small.state_dict(), assign=True)
    assert torch.equal(empty.render(empty.styles(ws)), small.render(small.styles(ws)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"img_resolution": 48}, "img_resolution 48"),
        ({"img_resolution": 8}, "img_resolution 8"),
        ({"num_critical": 0}, "num_critical 0"),
        ({"num_layers": 5, "num_critical": 5}, "num_critical 5 of num_layers 5"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        StyleGan3(**{**SMALL, **wrong})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, in its compiler
def test_it_compiles_without_a_graph_break(small, ws):
    # the graph alone: machine code for it takes minutes; StyleGAN2's test makes some
    compiled = torch.compile(small.render, fullgraph=True, backend="aot_eager")
    styles = small.styles(ws)
    torch.testing.assert_close(compiled(styles), small.render(styles), atol=1e-4, rtol=1e-4)

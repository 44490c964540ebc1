"""EG3D: the authors' own numbers, and what a camera, a latent and a density may change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mining.generators.camera import Orbit, camera_labels
from mining.generators.networks.eg3d import Eg3d
from mining.generators.networks.geometry import density_volume, grid_axis
from mining.generators.networks.volume import Draws
from schemas.errors import InputError
from tests.mining.generators.networks.seeded import seeded_tensors, shapes_of

# weights from seeds, images by the authors' eg3d on a CPU: see README.md there
GOLDEN = json.loads((Path(__file__).parent / "golden" / "eg3d.json").read_text())
NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name.startswith("512") else name
    for name in GOLDEN
    if name != "deep"
]
RENDERING = {
    "superresolution_module": "training.superresolution.SuperresolutionHybrid2X",
    "superresolution_noise_mode": "none",
    "c_gen_conditioning_zero": False,
    "c_scale": 1.0,
    "ray_start": 2.25,
    "ray_end": 3.3,
    "box_warp": 1,
    "depth_resolution": 8,
    "depth_resolution_importance": 8,
}
SMALL = {
    "z_dim": 8,
    "c_dim": 25,
    "w_dim": 12,
    "img_resolution": 128,
    "mapping_kwargs": {"num_layers": 2},
    "rendering_kwargs": RENDERING,
    "sr_kwargs": {"channel_base": 32768, "fused_modconv_default": "inference_only"},
    "synthesis_kwargs": {"channel_base": 512, "channel_max": 8, "num_fp16_res": 0},
    "neural_rendering_resolution": 10,
}
VIEWS = torch.from_numpy(camera_labels([[25.0, -12.0, 4.0], [-18.0, 7.0, 0.0]]))


def seeded(config, density: tuple[float, float] | None = None) -> Eg3d:
    """Weights from names; `density` scales the raw density and sets its bias."""
    network = Eg3d(**config).eval().requires_grad_(False)
    network.load_state_dict(seeded_tensors(shapes_of(network), 7))
    if density:
        last = network.decoder.net["2"]
        last.weight[0] *= density[0]
        last.bias[0] = density[1] / last.bias_gain
    return network


@pytest.fixture(scope="module")
def small() -> Eg3d:
    return seeded(SMALL)


@pytest.fixture(scope="module")
def styles(small) -> torch.Tensor:
    source = torch.Generator().manual_seed(0)
    return small.styles(torch.randn(2, small.num_ws, small.w_dim, generator=source))


def drawn(config) -> Draws:
    """Places of the samples along rays, from a seed."""
    rng, options = np.random.default_rng(5), config["rendering_kwargs"]
    rays = config["neural_rendering_resolution"] ** 2
    counts = options["depth_resolution"], options["depth_resolution_importance"]
    coarse, fine = (rng.random((2, rays, count), dtype=np.float32) for count in counts)
    return Draws(torch.from_numpy(coarse), torch.from_numpy(fine))


@pytest.mark.parametrize("name", NAMES)
def test_the_images_are_the_authors(name):
    golden = GOLDEN[name]
    config, density = golden["config"], golden["density"]
    network = seeded(config, density)
    z = np.random.default_rng(3).standard_normal((2, config["z_dim"])).astype(np.float32)
    orbit = Orbit(*golden["orbit"]) if golden["orbit"] else Orbit()
    labels = torch.from_numpy(camera_labels([[25.0, -12.0, 4.0], [-18.0, 7.0, 0.0]], orbit))
    w = torch.lerp(network.w_avg, network.map(torch.from_numpy(z), labels), 0.7)
    np.testing.assert_allclose(w[:, :4].flatten(), golden["w"], atol=2e-5)
    styles = network.styles(w[:, None].repeat(1, network.num_ws, 1))
    for noise, draws in (("fixed", None), ("zero", drawn(config))):
        view = network.render_all(styles, labels, noise, draws)
        for what, size in (("image", 4), ("raw", 3), ("depth", 3)):
            found, expected = getattr(view, what), golden[noise][what]
            middle = found.shape[-1] // 2
            patch = found[:, :, middle : middle + size, middle : middle + size].flatten()
            # within 1e-4 of the colours' range, which weights from seeds overstep
            tolerance = 1e-4 * max(1.0, float(found.abs().max()))
            np.testing.assert_allclose(patch, expected["patch"], atol=tolerance, err_msg=what)
            assert float(found.double().mean()) == pytest.approx(expected["mean"], abs=tolerance)
            square = float(found.double().square().mean())
            assert square == pytest.approx(expected["square"], rel=2e-4)
    points = np.random.default_rng(4).random((2, 6, 3), dtype=np.float32) - 0.5
    found = network.density(network.planes(styles), torch.from_numpy(points).transpose(1, 2))
    np.testing.assert_allclose(found.flatten(), golden["sigma"], atol=1e-3, rtol=1e-4)


def test_tensors_are_named_as_released(small):
    names = set(small.state_dict())
    assert names >= {
        "backbone.mapping.embed.weight",
        "backbone.mapping.w_avg",
        "backbone.synthesis.b4.const",
        "backbone.synthesis.b256.conv0.noise_const",
        "backbone.synthesis.b256.torgb.affine.bias",
        "superresolution.block0.conv0.noise_strength",
        "superresolution.block1.torgb.weight",
        "decoder.net.0.weight",
        "decoder.net.2.bias",
    }


def test_style_layers_are_the_backbones_and_then_the_super_resolutions(small):
    names = [layer.name for layer in small.style_layers]
    assert names[0] == "b4.conv1" and names[-7] == "b256.torgb"
    assert names[-6:] == [f"block{n}.{la}" for n in (0, 1) for la in ("conv0", "conv1", "torgb")]
    assert len(set(names)) == len(names)
    assert {layer.row for layer in small.style_layers[-6:]} == {small.num_ws - 1} == {13}
    assert small.layer_names == small.backbone.layer_names


def test_styles_are_affine_in_w(small):
    ws = torch.randn(2, small.num_ws, small.w_dim, generator=torch.Generator().manual_seed(1))
    widths = [layer.channels for layer in small.style_layers]
    moved = ws.clone()
    moved[:, 13] += 1.0
    parts, after = (small.styles(x).split(widths, dim=1) for x in (ws, moved))
    for layer, part, new in zip(small.style_layers, parts, after, strict=True):
        weight = small.style_weight(layer)
        assert weight.shape == (layer.channels, small.w_dim)
        expected = weight.sum(dim=1) if layer.row == 13 else torch.zeros(layer.channels)
        torch.testing.assert_close(new - part, expected.expand(2, -1), atol=1e-5, rtol=1e-4)


def test_styles_of_both_halves_and_the_camera_change_the_image(small, styles):
    before = small.render(styles[:1], VIEWS[:1])
    watched = ("b4.conv1", "b256.torgb", "block")
    start = 0
    for layer in small.style_layers:
        if layer.name.startswith(watched):
            moved = styles[:1].clone()
            moved[:, start] += 1.0
            assert (small.render(moved, VIEWS[:1]) - before).abs().max() > 1e-5, layer
        start += layer.channels
    assert (small.render(styles[:1], VIEWS[1:]) - before).abs().max() > 1e-2


def test_an_image_is_its_latents_and_its_cameras_alone(small, styles):
    for noise in ("fixed", "random", "zero"):
        together, again = (small.render(styles, VIEWS, noise) for _ in range(2))
        assert torch.equal(together, again)
        pairs = zip(styles, VIEWS, strict=True)
        alone = torch.cat([small.render(s[None], v[None], noise) for s, v in pairs])
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_chunks_of_rays_change_no_image(small, styles):
    network = seeded(SMALL)
    network.rays_per_chunk = 50
    torch.testing.assert_close(
        network.render(styles, VIEWS), small.render(styles, VIEWS), atol=1e-5, rtol=1e-5
    )


def test_the_super_resolution_has_the_noise_that_the_release_gives_it(styles):
    def image(mode, noise):
        network = seeded({**SMALL, "rendering_kwargs": {**RENDERING, **mode}})
        for layer in network.backbone.synthesis.modules():
            if hasattr(layer, "noise_strength"):
                layer.noise_strength.zero_()
        return network.render_all(styles[:1], VIEWS[:1], noise, places).image

    places = Draws(*(d[:1] for d in (drawn(SMALL).coarse, drawn(SMALL).fine)))
    const, random = ({"superresolution_noise_mode": mode} for mode in ("const", "random"))
    silent, fixed = image({}, "fixed"), image(const, "fixed")
    assert (fixed - silent).abs().max() > 1e-3
    assert torch.equal(image(const, "random"), fixed)
    assert torch.equal(image(random, "fixed"), fixed)
    assert torch.equal(image(random, "zero"), silent)
    assert torch.equal(image({}, "random"), silent)
    assert min((image(random, "random") - x).abs().max() for x in (fixed, silent)) > 1e-3


def test_the_camera_conditions_the_mapping_where_the_release_says_so(small):
    z = torch.randn(2, 8, generator=torch.Generator().manual_seed(2))
    assert not torch.allclose(small.map(z, VIEWS), small.map(z, VIEWS.flip(0)))
    blind = seeded({**SMALL, "rendering_kwargs": {**RENDERING, "c_gen_conditioning_zero": True}})
    assert torch.equal(blind.map(z, VIEWS), blind.map(z))
    torch.testing.assert_close(blind.map(z), small.map(z, torch.zeros(2, 25)))
    half = seeded({**SMALL, "rendering_kwargs": {**RENDERING, "c_scale": 0.5}})
    torch.testing.assert_close(half.map(z, VIEWS), small.map(z, 0.5 * VIEWS))


def test_corrected_planes_are_another_network(small, styles):
    corrected = seeded({**SMALL, "plane_axes": "corrected"})
    assert len(corrected.planes(styles)) == 3 and len(small.planes(styles)) == 2
    assert (corrected.render(styles, VIEWS) - small.render(styles, VIEWS)).abs().max() > 1e-2


def test_depth_and_opacity_are_those_of_the_densities(small, styles):
    view = small.render_all(styles, VIEWS)
    assert view.depth.shape == view.opacity.shape == (2, 1, 10, 10)
    assert view.raw.shape == (2, 3, 10, 10) and view.image.shape == (2, 3, 128, 128)
    assert view.depth.min() > 2.25 and view.depth.max() < 3.5
    dense = seeded(SMALL, density=(0.0, 300.0)).render_all(styles, VIEWS)
    first = 2.25 + 0.5 * (3.3 - 2.25) / 7  # all is stopped at the nearest samples
    assert dense.opacity.min() > 0.999 and dense.depth.max() < first + 0.15
    empty = seeded(SMALL, density=(0.0, -300.0)).render_all(styles, VIEWS)
    assert empty.opacity.max() == 0 and (empty.raw == -1).all()


def test_a_density_volume_holds_the_densities_of_its_points(small, styles):
    volume = density_volume(small, styles, 5, points_per_chunk=50)
    assert volume.shape == (2, 5, 5, 5)
    axis = grid_axis(1.0, 5)
    x, y, z = 1, 4, 2
    point = torch.tensor([axis[x], axis[y], axis[z]]).view(1, 3, 1).expand(2, -1, -1)
    expected = small.density(small.planes(styles), point)[:, 0]
    np.testing.assert_allclose(volume[:, x, y, z], expected, atol=1e-5)
    np.testing.assert_allclose(density_volume(small, styles, 5), volume, atol=1e-5)
    with pytest.raises(InputError, match="grid of 1 points"):
        density_volume(small, styles, 1)


def test_precision_reaches_both_halves(styles):
    network = seeded(SMALL)
    network.precision = "bfloat16"
    assert network.backbone.precision == network.superresolution.precision == "bfloat16"
    assert network.render(styles, VIEWS).dtype == torch.float32


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"c_dim": 0}, "c_dim 0; expected 25"),
        ({"img_channels": 4}, "img_channels 4"),
        ({"neural_rendering_resolution": 0}, "neural_rendering_resolution 0"),
        ({"img_resolution": 256}, "img_resolution 256 came; expected 128"),
        ({"plane_axes": "mine"}, "plane axes 'mine'"),
        ({"rendering_kwargs": None}, "lack superresolution_module, c_gen_conditioning_zero"),
        (
            {"rendering_kwargs": {**RENDERING, "superresolution_noise_mode": "loud"}},
            "superresolution_noise_mode 'loud'",
        ),
        ({"rendering_kwargs": {**RENDERING, "density_noise": 0.5}}, "density_noise"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(wrong, said):
    with torch.device("meta"), pytest.raises(InputError, match=said):
        Eg3d(**{**SMALL, **wrong})


def test_the_orbit_is_the_releases():
    cars = {**RENDERING, "avg_camera_radius": 1.7, "avg_camera_pivot": [0, 0, 0]}
    with torch.device("meta"):
        assert Eg3d(**{**SMALL, "rendering_kwargs": cars}).orbit == Orbit(1.7, (0, 0, 0))
        assert Eg3d(**SMALL).orbit == Orbit()


def test_a_missing_camera_is_refused(small, styles):
    with pytest.raises(InputError, match=r"none came; expected \(N, 25\)"):
        small.render(styles)
    with pytest.raises(InputError, match=r"\(2, 16\) came"):
        small.map(torch.zeros(2, 8), VIEWS[:, :16])


def test_a_network_laid_out_without_memory_takes_its_tensors(small, styles):
    with torch.device("meta"):
        network = Eg3d(**SMALL)
    network.load_state_dict(small.state_dict(), assign=True)
    assert torch.equal(network.eval().render(styles, VIEWS), small.render(styles, VIEWS))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, in its compiler
def test_it_compiles_without_a_graph_break(small, styles):
    # the graph alone: machine code for it takes minutes; StyleGAN2's test makes some
    compiled = torch.compile(small.render, fullgraph=True, backend="aot_eager")
    with torch.inference_mode():
        found = compiled(styles, VIEWS)
    torch.testing.assert_close(found, small.render(styles, VIEWS), atol=1e-4, rtol=1e-4)

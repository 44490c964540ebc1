"""Image terms: gradients through network, crop and generator; what they hold; refusals."""

from __future__ import annotations

import hashlib
import warnings

import numpy as np
import pytest
import torch

from mining.editing.gradient import GradientConfig, edit_by_gradient
from mining.editing.image_networks import (
    ImageNetwork,
    arcface_onnx,
    identity_network,
    lpips_network,
)
from mining.editing.image_terms import ImageTerm, box_crop, face_crop
from mining.extractors.arcface import TEMPLATE, alignment, five_points
from mining.generators.head import HeadGenerator
from mining.generators.pretrained import stylegan2, stylegan3
from mining.methods.control import ControlModel
from mining.methods.shape_model import ShapeModel
from mining.methods.training import one_torch_thread
from schemas.errors import CorruptDataError, InputError
from tests.mining.editing import planted

TINY = {
    "img_resolution": 32,
    "z_dim": 16,
    "w_dim": 16,
    "synthesis_kwargs": {"channel_base": 512, "channel_max": 16},
}
EDGE = 12
WIDTHS = {"z": 16, "w": 16, "w+": 8 * 16}


class Scripted(torch.nn.Module):
    """A small smooth embedding of 12 x 12 pixels, or of any size."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(3, 6, 3, stride=2)
        self.last = torch.nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.first(x)).mean(dim=[2, 3]))


class Lpips(Scripted):
    """Takes the options of NVIDIA's VGG16, and refuses to run without them."""

    def forward(
        self, x: torch.Tensor, resize_images: bool = True, return_lpips: bool = False
    ) -> torch.Tensor:
        assert return_lpips and not resize_images
        return self.last(torch.tanh(self.first(x / 127.5 - 1)).mean(dim=[2, 3]))


@pytest.fixture(autouse=True)
def one_thread():
    """Threads cost more than they bring on images of 32 pixels."""
    with one_torch_thread():
        yield


def saved(module, path):
    with warnings.catch_warnings():  # torch calls the format deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), str(path))
    return path


@pytest.fixture(scope="module")
def generator():
    return stylegan2(random=TINY)


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> ImageNetwork:
    torch.manual_seed(0)
    path = saved(Scripted(), tmp_path_factory.mktemp("networks") / "identity.pt")
    return identity_network(path, size=EDGE)


def latents_of(generator, space, count=2):
    z = generator.sample_z(count, np.random.default_rng(1))
    w_plus = generator.broadcast(generator.map(z))
    chosen = {"z": z, "w": w_plus[:, 0], "w+": w_plus, "s": generator.styles(w_plus)}[space]
    return torch.from_numpy(chosen.reshape(count, -1)).double()


def check_slope(function, at, along, rel=0.03):
    """The gradient along a way against differences; images are float32, so steps are not tiny."""
    w = at.clone().requires_grad_()
    (slope,) = torch.autograd.grad(function(w).sum(), w)
    step = 2e-3
    with torch.no_grad():
        change = (function(at + step * along) - function(at - step * along)).sum() / (2 * step)
    expected = float((slope * along).sum())
    scale = float(slope.norm() * along.norm())
    assert abs(float(change) - expected) < rel * scale


@pytest.mark.parametrize("make", [stylegan2, stylegan3], ids=["stylegan2", "stylegan3"])
@pytest.mark.parametrize("space", ["z", "w", "w+", "s"])
def test_generators_pass_gradients_in_every_space(make, space):
    generator = make(random=TINY | ({"synthesis_kwargs": {
        "channel_base": 256, "channel_max": 16, "num_layers": 6, "num_critical": 2,
        "margin_size": 4}} if make is stylegan3 else {}))  # fmt: skip
    images = generator.differentiable(space)
    w = latents_of(generator, space)
    pixels = images(w, None)
    assert pixels.shape == (2, 3, 32, 32) and float(pixels.abs().max()) <= 1
    w_plus = generator.broadcast(generator.map(generator.sample_z(2, np.random.default_rng(1))))
    bytes_ = (pixels * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    gap = np.abs(bytes_.numpy().astype(int) - generator.synthesize(w_plus).astype(int))
    assert gap.max() <= 1
    along = torch.from_numpy(np.random.default_rng(2).normal(size=w.shape)) / w.shape[1] ** 0.5
    check_slope(lambda x: images(x, None).double().square().mean(dim=(1, 2, 3)), w, along)


def test_conditions_reach_the_images_and_are_checked():
    generator = stylegan2(random=TINY | {"c_dim": 3})
    images = generator.differentiable("z")
    z = torch.zeros(2, 16) + 0.5
    one, other = torch.eye(3)[[0, 0]], torch.eye(3)[[1, 1]]
    assert (images(z, one) != images(z, other)).any()
    with pytest.raises(InputError, match="no condition"):
        images(z, None)
    with pytest.raises(InputError, match="latent space 'x'"):
        generator.differentiable("x")


@pytest.mark.parametrize("crop", [None, (0.2, 0.1, 0.9, 0.8)], ids=["whole", "box"])
@pytest.mark.parametrize("space", ["w", "w+"])
def test_the_terms_slope_is_that_of_finite_differences(generator, network, rng, space, crop):
    term = ImageTerm(generator, space, network, weight=3.0, crop=crop)
    start = latents_of(generator, space)
    shape = (2, WIDTHS[space])
    at = start + 0.3 * torch.from_numpy(rng.normal(size=shape))
    along = torch.from_numpy(rng.normal(size=shape)) / shape[1] ** 0.5
    check_slope(lambda w: term(w, start), at, along)


def test_the_term_is_0_at_the_start_and_counts_its_weight(generator, network):
    start = latents_of(generator, "w")
    moved = start + 0.5
    one, three = (ImageTerm(generator, "w", network, weight) for weight in (1.0, 3.0))
    assert float(one(start, start).abs().max()) < 1e-6
    assert (one(moved, start) > 1e-5).all()
    torch.testing.assert_close(three(moved, start), 3 * one(moved, start))
    # another start is another first image, although the term keeps the last one
    assert float(one(moved, moved).abs().max()) < 1e-6


def test_an_edit_with_the_term_changes_the_image_less(generator, network, rng):
    control = planted.control(planted.linear_regressor(rng, 16), rng)
    start = latents_of(generator, "w").numpy()
    target = control.regressor.predict(start)
    target[:, 4] += 2 * control.regressor.spread[4]
    weights = np.zeros(planted.CODES)
    weights[4] = 1
    config = GradientConfig(steps=60, learning_rate=0.5)
    free = edit_by_gradient(control, start, target, config, weights=weights)
    term = ImageTerm(generator, "w", network, weight=1.0)
    reached, drift = [], []
    # the weight that makes the term a third of what the objective was
    at_end = term(*(torch.from_numpy(x) for x in (free.latents, start))).mean()
    third = float(free.objective[0].mean() / at_end) / 3
    strong = ImageTerm(generator, "w", network, weight=third)
    held = edit_by_gradient(control, start, target, config, [strong], weights)
    for edit in (free, held):
        reached.append((edit.codes[-1] - edit.codes[0])[:, 4] / (2 * control.regressor.spread[4]))
        drift.append(term(*(torch.from_numpy(x) for x in (edit.latents, start))).numpy())
    assert (reached[1] > 0.4).all()
    assert (drift[1] / reached[1] ** 2 < 0.8 * drift[0] / reached[0] ** 2).all()
    np.testing.assert_allclose(held.terms[-1, 0], strong.weight * drift[1], rtol=1e-3)


def test_the_head_generator_is_refused_with_what_to_use(network):
    with pytest.raises(InputError, match="not differentiable.*EmbeddingTerm"):
        ImageTerm(HeadGenerator(), "w", network)


def test_a_box_shows_that_part_of_the_image(generator):
    """A network that gives back its pixels sees the averaged quarter."""
    pixels = ImageNetwork(lambda images: images, 8)
    term = ImageTerm(generator, "w", pixels, weight=1.0, crop=(0.5, 0.0, 1.0, 0.5))
    start = latents_of(generator, "w")
    term(start, start)
    seen = term._first[1].reshape(2, 3, 8, 8)
    whole = generator.differentiable("w")(start, None)
    quarter = torch.nn.functional.avg_pool2d(whole, 2)[:, :, :8, 8:]
    torch.testing.assert_close(seen, quarter.detach(), atol=1e-5, rtol=0)


def test_the_face_crop_is_arcfaces(rng):
    """The places that the crop's corners and five points show."""
    shape = ShapeModel(
        np.concatenate([0.2 * rng.normal(size=(2, 68)), np.zeros((1, 68))]),
        np.zeros((0, 68)), np.zeros((0, 3)), np.empty((0, 8)), 0.0, 0.0, 0.0, 1.0, True,
    )  # fmt: skip
    q = np.array([1, 0, 1, 0, 0, 0.2, 0.5, 0.5])
    zeros = np.zeros((8, 4))
    regressor = planted.regressor((np.eye(4), zeros), (np.zeros(4), np.zeros(8)), q, np.ones(8))
    matrices = face_crop(ControlModel(shape, regressor))(np.zeros((3, 4)))
    assert matrices.shape == (3, 2, 3)
    points = five_points("test", shape.project(q[None]))
    there = alignment(points)[0]
    for pixel in (*TEMPLATE, [-0.5, -0.5], [111.5, 111.5]):
        place = matrices[0] @ [*((np.array(pixel) + 0.5) / 56 - 1), 1]
        np.testing.assert_allclose(there @ [*place, 1], pixel, atol=1e-9)


def test_crops_that_cannot_be_are_refused(generator, network):
    with pytest.raises(InputError, match="left < right"):
        box_crop((0.5, 0.0, 0.5, 1.0))
    term = ImageTerm(generator, "w", network, crop=lambda start: np.zeros((1, 2, 2)))
    start = latents_of(generator, "w")
    with pytest.raises(InputError, match=r"crop gave \(1, 2, 2\) for 2 latents"):
        term(start, start)
    with pytest.raises(InputError, match="weight is -1"):
        ImageTerm(generator, "w", network, weight=-1.0)


def test_lpips_reads_bytes_and_tells_its_options(tmp_path):
    network = lpips_network(saved(Lpips(), tmp_path / "vgg.pt"), size=EDGE)
    images = torch.rand(2, 3, EDGE, EDGE) * 2 - 1
    features = network(images)
    assert features.shape == (2, 5)
    expected = ((features[0] - features[1]) ** 2).sum()
    torch.testing.assert_close(network.compare(features[:1], features[1:])[0], expected)
    plain = lpips_network(saved(Scripted(), tmp_path / "plain.pt"), size=EDGE)
    assert plain(images).shape == (2, 5)  # any module of features will do


def test_identity_is_one_minus_the_cosine(network):
    images = torch.rand(2, 3, EDGE, EDGE) * 2 - 1
    found = network(images)
    expected = 1 - torch.cosine_similarity(found[:1], found[1:])
    torch.testing.assert_close(network.compare(found[:1], found[1:]), expected, atol=1e-6, rtol=0)


@pytest.mark.needs("insightface")
def test_arcface_of_onnx_passes_gradients_to_the_latent(generator, tmp_path, rng):
    pytest.importorskip("onnx")
    from tests.mining.editing.onnx_graphs import iresnet

    network = arcface_onnx(iresnet(tmp_path, rng))
    assert (network.size, network.distance) == (16, "cosine")
    term = ImageTerm(generator, "w", network, weight=1.0)
    start = latents_of(generator, "w")
    at = start + 0.3 * torch.from_numpy(rng.normal(size=(2, 16)))
    check_slope(lambda w: term(w, start), at, torch.from_numpy(rng.normal(size=(2, 16))) / 4)


@pytest.mark.parametrize("load", [identity_network, lpips_network])
def test_files_that_are_no_networks_are_refused(tmp_path, load):
    (tmp_path / "text.pt").write_text("no program")
    with pytest.raises(InputError, match="is no TorchScript file"):
        load(tmp_path / "text.pt")
    with pytest.raises(InputError, match="there is no file"):
        load(tmp_path / "absent.pt")
    path = saved(Scripted(), tmp_path / "good.pt")
    with pytest.raises(CorruptDataError):
        load(path, sha256="0" * 64)
    with pytest.raises(InputError, match="does not run on an image"):
        load(path, size=2)
    assert load(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), size=EDGE)


def test_damaged_torchscript_is_refused(tmp_path):
    """Each byte of the archive's directory and of its first header in turn, and cut short."""
    path = saved(Scripted(), tmp_path / "whole.pt")
    data, refused = path.read_bytes(), 0
    places = [*range(0, 60, 5), *range(len(data) - 500, len(data), 9)]
    for damaged in [
        data[:-40],
        *(data[:i] + bytes([data[i] ^ 0xA5]) + data[i + 1 :] for i in places),
    ]:
        path.write_bytes(damaged)
        try:
            identity_network(path, size=EDGE)
        except InputError:
            refused += 1
    assert refused > 20


def test_a_module_without_a_program_is_refused(tmp_path):
    class Idle(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.kept = torch.nn.Parameter(torch.zeros(3))

        @torch.jit.ignore
        def forward(self, x):
            return x

    path = saved(Idle(), tmp_path / "idle.pt")
    for load in (identity_network, lpips_network):
        with pytest.raises(InputError, match="idle.pt"):
            load(path, size=EDGE)

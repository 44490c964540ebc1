"""The chain through images: what it sees, its gradients, its files and what it refuses."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from mining.editing.image_networks import feature_network
from mining.generators.head import HeadGenerator
from mining.generators.pretrained import stylegan2
from mining.methods.image_chain import make_image_chain, random_rows
from mining.methods.image_options import image_options
from mining.methods.training import one_torch_thread
from schemas.errors import CorruptDataError, InputError
from tests.mining.methods.scripted import (
    EDGE,
    MOVING,
    NUM_WS,
    TINY,
    W_DIM,
    LinearGenerator,
    Projection,
    network_files,
    options,
    planted_truth,
    random_latents,
    rows_of,
    saved,
)


@pytest.fixture(autouse=True)
def one_thread():
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def linear() -> LinearGenerator:
    return LinearGenerator()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return network_files(tmp_path_factory.mktemp("networks"))


# what it sees


def test_codes_are_those_of_the_encoder(files, linear):
    chain = make_image_chain(linear, rows_of(linear), options(files))
    assert chain.names[:3] == ("yaw", "pitch", "roll") and len(chain.names) == MOVING
    assert (chain.space, chain.shape) == ("w+", (NUM_WS, W_DIM))
    latents = np.random.default_rng(3).normal(size=(6, NUM_WS, W_DIM)).astype(np.float32)
    codes = chain.codes(torch.from_numpy(latents.reshape(6, -1)))
    mixed = np.tensordot(latents, [1.0, 0.8, 0.1, 0.0], axes=(1, 0))
    np.testing.assert_allclose(codes.numpy(), mixed @ planted_truth().T, atol=2e-3)
    points = chain.points(codes)
    assert points.shape == (6, 68, 3) and bool(torch.isfinite(points).all())


def test_every_network_sees_the_image_and_tells_its_kind(files, linear):
    more = {
        "identity": {"file": files["identity"], "size": 6, "crop": [0, 0, 1, 1]},
        "perceptual": {"file": files["perceptual"], "size": 4},
    }
    chain = make_image_chain(linear, rows_of(linear), options(files, **more))
    latents = random_latents(linear, 3)
    image = linear.differentiable("w+")(latents, None)
    small = torch.nn.functional.avg_pool2d(image, 2).expand(-1, 3, -1, -1)
    torch.testing.assert_close(chain.pixels(latents), small, atol=1e-6, rtol=0)
    network = feature_network("test", files["perceptual"], size=4, span=(0, 255))
    torch.testing.assert_close(chain.features(latents), network(small))
    identity = chain.identity(latents)
    torch.testing.assert_close(identity.norm(dim=1), torch.ones(3))
    plain = make_image_chain(linear, rows_of(linear), options(files))
    assert plain.identity(latents) is None
    contrasts = plain.features(latents)  # without LPIPS: of the small images
    assert contrasts.shape[0] == 3 and float((contrasts[0] - contrasts[1]).norm()) > 0


def test_one_image_serves_all_that_is_asked_of_a_tensor(files, linear):
    made = []

    class Counting(LinearGenerator):
        def differentiable(self, space):
            images = super().differentiable(space)

            def counted(latents, condition=None):
                made.append(len(latents))
                return images(latents, condition)

            return counted

    chain = make_image_chain(Counting(), rows_of(linear), options(files))
    latents = random_latents(linear, 2)
    made.clear()
    chain.codes(latents), chain.features(latents), chain.pixels(latents)
    assert made == [2]
    before = chain.pixels(latents)
    latents += 1  # in place: another image
    assert not torch.equal(chain.pixels(latents), before) and made == [2, 2]
    with torch.no_grad():
        chain.codes(latents)
    moved = latents.clone().requires_grad_()
    with torch.no_grad():
        chain.codes(moved)
    assert chain.codes(moved).requires_grad  # not the image that was made without gradients


def test_random_latents_are_truncated(linear):
    rows = random_rows(linear, 400, 0.5, seed=4)
    assert (rows.space, rows.shape, rows.num_ws, len(rows)) == ("w", (W_DIM,), NUM_WS, 400)
    np.testing.assert_allclose(rows.latents.std(axis=0), 0.5, rtol=0.15)
    again, other = random_rows(linear, 400, 0.5, seed=4), random_rows(linear, 400, 0.5, seed=5)
    np.testing.assert_array_equal(rows.latents, again.latents)
    assert (rows.latents != other.latents).any()
    assert rows.facts["generator"] == "linear" and len(rows.facts["fingerprint"]) == 64


def test_images_without_gradients_are_made_a_few_at_a_time(files):
    generator = stylegan2(random=TINY)
    latents = random_latents(generator, 5)
    few, many = (
        make_image_chain(generator, rows_of(generator), options(files, batch=batch))
        for batch in (2, 16)
    )
    with torch.no_grad():
        torch.testing.assert_close(few.codes(latents), many.codes(latents))


# gradients


@pytest.mark.parametrize("crop", ["whole", "ffhq", [0.2, 0.1, 0.9, 0.8]])
def test_gradients_are_those_of_differences(files, crop, tmp_path):
    """Through StyleGAN2, the crop and every network."""
    generator = stylegan2(random=TINY)
    rng = np.random.default_rng(7)
    told = options(files)
    encoder = saved(Projection(rng.normal(size=(9, 64))), tmp_path / "encoder.pt")
    told["encoder"] |= {"file": str(encoder), "crop": crop}
    told["identity"] = {"file": files["identity"], "size": 6}
    told["perceptual"] = {"file": files["perceptual"], "size": 4}
    chain = make_image_chain(generator, rows_of(generator), told)
    start = random_latents(generator, 2)
    along = torch.from_numpy(rng.normal(size=start.shape)).float() / start.shape[1] ** 0.5
    for look in (chain.codes, chain.identity, chain.features, chain.pixels):
        at = start.clone().requires_grad_()
        found = look(at)
        mixed = torch.from_numpy(rng.normal(size=found.shape))
        (slope,) = torch.autograd.grad((mixed * found).sum(), at)
        with torch.no_grad():
            ends = [look(start + sign * 4e-3 * along) for sign in (1, -1)]
        change = float((mixed * (ends[0].double() - ends[1])).sum()) / 8e-3
        scale = float(slope.norm() * along.norm())
        assert abs(change - float((slope * along).sum())) < 0.03 * scale
        assert scale > 0


@pytest.mark.gpu
def test_a_gpu_sees_what_the_processor_sees(files):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    told = options(files)
    told["identity"] = {"file": files["identity"], "size": 6}
    told["perceptual"] = {"file": files["perceptual"], "size": 4}
    here, there = (
        make_image_chain(generator, rows_of(generator), told)
        for generator in (stylegan2(random=TINY, device=device) for device in ("cpu", "cuda"))
    )
    assert (here.device, there.device[:4]) == ("cpu", "cuda")
    latents = random_latents(stylegan2(random=TINY, device="cpu"), 3)
    for name in ("codes", "identity", "features", "pixels"):
        seen_here, seen_there = getattr(here, name)(latents), getattr(there, name)(latents)
        assert seen_there.device == latents.device
        torch.testing.assert_close(seen_there, seen_here, rtol=1e-3, atol=1e-3)
    codes = here.codes(latents)
    torch.testing.assert_close(there.points(codes), here.points(codes), rtol=1e-4, atol=1e-4)


# refusals and facts


def test_the_head_is_refused_with_what_to_use(files, linear):
    with pytest.raises(InputError, match="not differentiable.*chain: surrogate"):
        make_image_chain(HeadGenerator(), rows_of(linear), options(files))


def test_conditions_are_asked_for(files, linear):
    generator = stylegan2(random=TINY | {"c_dim": 3})
    with pytest.raises(InputError, match="condition of 0 numbers came.*takes 3"):
        make_image_chain(generator, rows_of(linear), options(files))
    told = options(files, condition=[0, 1, 0])
    told["encoder"]["size"] = EDGE
    chain = make_image_chain(generator, rows_of(linear), told)
    rows = random_rows(generator, 2, condition=[0, 1, 0])
    latents = torch.from_numpy(generator.broadcast(rows.latents).reshape(2, -1))
    assert chain.codes(latents).shape == (2, 9)
    with pytest.raises(InputError, match="takes 3"):
        random_rows(generator, 2)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"encoder": None}, "encoder None came; expected the network"),
        ({"encoder": {"file": "a", "krop": 1}}, "no option 'krop'; did you mean 'crop'"),
        ({"encoder": {"kind": "deca"}}, "needs the option 'file'"),
        ({"encoder": {"file": "a"}}, "shape.kind 'head'.*came with DECA"),
        ({"identity": "x.onnx"}, r"identity: \{file: PATH\}"),
        ({"identity": {"file": "a.onnx", "size": 112}}, "an ONNX file says its size itself"),
        ({"batch": 0}, "batch is 0"),
        ({"identity": {"file": "a.pt", "size": 0}}, "identity.size is 0"),
        ({"encoder": {"file": "a", "kind": "torchscript", "jaw": True}}, "jaw.*kind: flame, or"),
        ({"encoder": {"file": "a", "kind": "torchscript", "span": [1, 1]}}, "two that differ"),
        ({"shape": {"kind": "bfm"}}, r"'bfm' came without a file; expected shape: \{file"),
        ({"pixels": 0}, "pixels is 0, expected 1 to 4096"),
        ({"shape": {"identities": -1}}, "identities is -1"),
        ({"condition": [float("nan")]}, "condition holds NaN"),
        ({"lpips": {"file": "a"}}, "no option 'lpips'"),
        ({"perceptual": {"file": "a", "crop": [0.5, 0, 0.5, 1]}}, "left < right and top < bottom"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_a_file_is_read(files, changed, says):
    with pytest.raises(InputError, match=says):
        image_options(options(files) | changed)


@pytest.mark.needs("insightface")
def test_arcface_of_onnx_is_the_identity(files, linear, tmp_path, rng):
    pytest.importorskip("onnx")
    from tests.mining.editing.onnx_graphs import iresnet

    told = options(files, identity={"file": str(iresnet(tmp_path, rng))})
    chain = make_image_chain(linear, rows_of(linear), told)
    latents = random_latents(linear, 2).requires_grad_()
    found = chain.identity(latents)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    (slope,) = torch.autograd.grad(found[:, 0].sum(), latents)
    assert float(slope.norm()) > 0 and "identity" in chain.files


@pytest.mark.parametrize("part", ["encoder", "identity", "perceptual"])
def test_files_that_are_no_networks_are_refused(files, linear, tmp_path, part):
    told = options(files) | {
        "identity": {"file": files["identity"], "size": 6},
        "perceptual": {"file": files["perceptual"], "size": 4},
    }
    told[part] = told[part] | {"file": str(tmp_path / "none.pt")}
    with pytest.raises(InputError, match="no file"):
        make_image_chain(linear, rows_of(linear), told)
    (tmp_path / "none.pt").write_bytes(b"PK\x03\x04 no program")
    with pytest.raises(InputError, match="no TorchScript file"):
        make_image_chain(linear, rows_of(linear), told)
    told[part] = told[part] | {"file": files[part], "sha256": "0" * 64}
    with pytest.raises(CorruptDataError):
        make_image_chain(linear, rows_of(linear), told)


def test_networks_without_gradients_or_numbers_are_refused(files, linear, tmp_path):
    class Deaf(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.detach().mean(dim=[1, 2, 3])[:, None].expand(-1, 9)

    told = options(files)
    told["encoder"]["file"] = str(saved(Deaf(), tmp_path / "deaf.pt"))
    with pytest.raises(InputError, match="no gradient comes back from encoder"):
        make_image_chain(linear, rows_of(linear), told)
    broken = saved(Projection(np.full((9, EDGE * EDGE), np.nan)), tmp_path / "nan.pt")
    told["encoder"]["file"] = str(broken)
    with pytest.raises(InputError, match="encoder gives no finite numbers"):
        make_image_chain(linear, rows_of(linear), told)


def test_it_tells_its_files_and_no_places(files, linear, tmp_path):
    told = options(files, identity={"file": files["identity"], "size": 6})
    first = make_image_chain(linear, rows_of(linear), told)
    moved = options(files, identity=told["identity"])
    moved["encoder"]["file"] = str(shutil.copy(files["encoder"], tmp_path / "encoder.pt"))
    again = make_image_chain(linear, rows_of(linear), moved)
    assert again.told() == first.told()
    assert str(tmp_path) not in str(again.told()) and files["encoder"] not in str(first.told())
    assert first.told()["encoder"]["crop"] == "whole" and "file" not in first.told()["encoder"]
    assert first.told()["files"].keys() == {"encoder", "identity"}
    other = make_image_chain(linear, rows_of(linear), told | {"pixels": 5})
    assert other.told() != first.told()
    assert "encoder.pt: unknown" in first.licence and "identity.pt: unknown" in first.licence

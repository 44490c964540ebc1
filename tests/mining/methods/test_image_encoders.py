"""Encoders of crops: DECA's codes as its extractor has them, encoders of one's own, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mining.extractors.deca import columns_of
from mining.extractors.deca_weights import OUTPUTS
from mining.extractors.geometry import euler_angles as angles_of
from mining.methods.image_encoders import (
    euler_angles,
    load_shape_encoder,
    rotation,
    shape_points,
)
from mining.methods.image_options import EncoderOptions
from mining.methods.training import one_torch_thread
from mining.shape3d.model_files import load_model
from schemas.errors import CorruptDataError, InputError
from tests.mining.extractors.test_deca import WEIGHTS, write
from tests.mining.methods.scripted import Projection, saved
from tests.mining.shape3d.made_models import flame_npz, landmark_json, made

MODEL = made()
SPLIT, EXPRESSIONS = 4, 3
HEAD = load_model("test", "head", "head", None, {})
EDGE = 6


@pytest.fixture(autouse=True)
def one_thread():
    with one_torch_thread():
        yield


@pytest.fixture(scope="module")
def flame(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flame")
    rng = np.random.default_rng(3)
    regressor = rng.dirichlet(np.ones(len(MODEL.mean)), size=5)

    class Dense:  # as flame_npz wants it
        def toarray(self):
            return regressor

    path = flame_npz(folder / "flame.npz", MODEL, J_regressor=Dense())
    landmarks = str(landmark_json(folder / "landmarks.json", MODEL))
    return load_model("test", str(path), "flame", None, {"landmarks": landmarks, "split": SPLIT})


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """DECA's weights whose last layer forgets the image and says one code, turned by all angles."""
    code = np.random.default_rng(1).normal(size=OUTPUTS).astype(np.float32)
    state = dict(WEIGHTS)
    state["layers.2.weight"] = torch.zeros_like(state["layers.2.weight"])
    state["layers.2.bias"] = torch.from_numpy(code)
    return write(tmp_path_factory.mktemp("deca") / "deca_model.tar", state), code


# angles


@given(
    st.lists(st.floats(-1.2, 1.2), min_size=3, max_size=3),
    st.sampled_from([1.0, 1e-3, 1e-8, 0.0]),
)
def test_turns_and_angles_are_those_of_the_extractors(turn, shrink):
    turn = np.array(turn) * shrink
    found = rotation(torch.from_numpy(turn[None]))
    expected = Rotation.from_rotvec(turn).as_matrix()
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-9)
    angles = euler_angles(found)[0].numpy()
    np.testing.assert_allclose(angles, angles_of(expected), atol=1e-4)  # degrees; the clamp's


@pytest.mark.parametrize("turn", [(0.3, -0.5, 0.2), (0.0, 0.0, 0.0), (1e-9, 0.0, 0.0)])
def test_angles_have_slopes_everywhere(turn):
    at = torch.tensor([turn], dtype=torch.float64, requires_grad=True)
    slopes = torch.autograd.functional.jacobian(lambda x: euler_angles(rotation(x))[0], at)
    assert torch.isfinite(slopes).all()
    step, found = 1e-6, slopes[:, 0].numpy()
    for k in range(3):
        along = torch.zeros(1, 3, dtype=torch.float64)
        along[0, k] = step
        with torch.no_grad():
            ends = [euler_angles(rotation(at + sign * along))[0] for sign in (1, -1)]
        np.testing.assert_allclose(found[:, k], (ends[0] - ends[1]) / (2 * step), atol=1e-3)


def test_straight_up_has_a_finite_slope():
    at = torch.tensor([[-np.pi / 2, 0.0, 0.0]], requires_grad=True)
    euler_angles(rotation(at))[0, 1].backward()
    assert torch.isfinite(at.grad).all()


# DECA


def test_deca_gives_the_extractors_numbers(planted, flame):
    path, code = planted
    options = EncoderOptions(str(path))
    found = load_shape_encoder(options, flame.shape, 100, 12, "cpu")
    assert found.names == (
        *("yaw", "pitch", "roll", "jaw_open"),
        *(f"expression_{k}" for k in range(EXPRESSIONS)),
    )
    assert found.units == ("degrees",) * 4 + ("standard deviations",) * EXPRESSIONS
    assert (found.identities, found.jaw, found.size) == (SPLIT, True, 224)
    codes = found.read(torch.zeros(2, 3, 224, 224)).numpy()
    said = columns_of(code.astype(np.float64))
    expected = [said[name] for name in found.names[:4]]
    expected += [*said["expression"][:EXPRESSIONS], *said["shape"][:SPLIT]]
    np.testing.assert_allclose(codes, np.tile(expected, (2, 1)), rtol=1e-4, atol=1e-4)
    plain = load_shape_encoder(EncoderOptions(str(path), jaw=False), flame.shape, 2, 1, "cpu")
    assert plain.names == ("yaw", "pitch", "roll", "expression_0")
    keep = [0, 1, 2, 4, 4 + EXPRESSIONS, 5 + EXPRESSIONS]
    np.testing.assert_array_equal(plain.read(torch.zeros(1, 3, 224, 224)).numpy(), codes[:1, keep])


@pytest.mark.slow
def test_gradients_pass_through_the_whole_encoder(tmp_path, flame):
    path = write(tmp_path / "deca_model.tar", WEIGHTS)
    found = load_shape_encoder(EncoderOptions(str(path)), flame.shape, 4, 3, "cpu")
    torch.manual_seed(0)
    crop = (torch.rand(1, 3, 224, 224) * 2 - 1).requires_grad_()
    codes = found.read(crop)
    (slope,) = torch.autograd.grad(codes[0, 4], crop)
    step = 3e-3 * slope / slope.abs().max()
    with torch.no_grad():
        change = (found.read(crop + step) - found.read(crop - step))[0, 4] / 2
    assert float(change) == pytest.approx(float((slope * step).sum()), rel=0.05)


def test_a_damaged_encoder_is_refused(tmp_path, flame):
    path = tmp_path / "deca_model.tar"
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="chain of images: .*unbroken deca_model.tar"):
        load_shape_encoder(EncoderOptions(str(path)), flame.shape, 4, 3, "cpu")
    with pytest.raises(InputError, match="does not exist"):
        load_shape_encoder(EncoderOptions(str(tmp_path / "none.tar")), flame.shape, 4, 3, "cpu")
    write(path, WEIGHTS)
    with pytest.raises(CorruptDataError):
        load_shape_encoder(EncoderOptions(str(path), sha256="0" * 64), flame.shape, 4, 3, "cpu")


# encoders of one's own


def own(tmp_path, width, **options):
    matrix = np.random.default_rng(0).normal(size=(width, EDGE * EDGE))
    path = saved(Projection(matrix, np.arange(width)), tmp_path / "encoder.pt")
    return matrix, EncoderOptions(str(path), "torchscript", size=EDGE, **options)


def test_an_own_encoder_reads_its_span(tmp_path):
    """The head's model: 3 angles, 2 expressions, and 4 of identity behind them."""
    matrix, options = own(tmp_path, 9, span=(0.0, 255.0))
    found = load_shape_encoder(options, HEAD.shape, 100, 2, "cpu")
    assert len(found.names) == 5 and found.names[:3] == ("yaw", "pitch", "roll")
    assert found.names[3:] == HEAD.shape.expression_names[:2]
    assert (found.identities, found.jaw, found.size) == (4, False, EDGE)
    images = torch.rand(2, 3, EDGE, EDGE) * 2 - 1
    expected = (images.mean(dim=1).flatten(1).numpy() + 1) * 127.5 @ matrix.T + np.arange(9)
    np.testing.assert_allclose(found.read(images).numpy(), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("width", [4, 5 + 1000])
def test_another_number_of_codes_is_refused(tmp_path, width):
    _, options = own(tmp_path, width)
    with pytest.raises(InputError, match=f"gives {width} numbers; expected 5"):
        load_shape_encoder(options, HEAD.shape, 100, 2, "cpu")


def test_files_that_are_no_encoders_are_refused(tmp_path):
    path = tmp_path / "encoder.pt"
    path.write_text("no program")
    options = EncoderOptions(str(path), "torchscript", size=EDGE)
    with pytest.raises(InputError, match="chain of images: encoder: .* no TorchScript file"):
        load_shape_encoder(options, HEAD.shape, 4, 2, "cpu")
    _, good = own(tmp_path, 9)
    with pytest.raises(InputError, match="does not run on an image"):
        load_shape_encoder(
            EncoderOptions(good.file, "torchscript", size=EDGE + 1), HEAD.shape, 4, 2, "cpu"
        )


def test_a_jaw_wants_a_model_with_a_jaw(tmp_path, flame):
    _, options = own(tmp_path, 9, jaw=True)
    found = load_shape_encoder(options, HEAD.shape, 4, 2, "cpu")
    assert found.names[3] == "jaw_open" and found.identities == 3
    with pytest.raises(InputError, match="jaw came with the shape model 'head'"):
        shape_points(HEAD, found, "cpu")
    points = shape_points(flame, load_shape_encoder(options, flame.shape, 4, 2, "cpu"), "cpu")
    shut, wide = torch.zeros(1, 6), torch.tensor([[0.0, 0, 0, 30, 0, 0]])
    moved = (points(wide, torch.zeros(1, 3)) - points(shut, torch.zeros(1, 3))).norm(dim=2)
    assert float(moved.max()) > 0.01

"""DECA's encoder: its architecture, its file, its crop, and what becomes of planted codes."""

from __future__ import annotations

import importlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mining.extractors.base import (
    FAILED,
    NO_FACE,
    NO_POSE,
    NOT_MEASURED,
    OK,
    Extractor,
    Measurement,
    check_measurement,
)
from mining.extractors.deca import Deca, columns_of, cropped, square
from mining.extractors.deca_weights import CODES, OUTPUTS, PARAMETERS, load_encoder
from mining.extractors.models import find_model
from mining.extractors.registry import make_extractors
from mining.extractors.resnet50 import Regressor, ResNet50
from mining.generators.registry import make_generator
from schemas.errors import CorruptDataError, InputError


def random_weights(seed: int = 0) -> dict[str, torch.Tensor]:
    """A state dict as DECA's E_flame: random numbers, batch norms that keep them in range."""
    torch.manual_seed(seed)
    state = Regressor(OUTPUTS).state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            value.normal_(std=0.1)
    return state


WEIGHTS = random_weights()


def write(path: Path, state: dict[str, torch.Tensor], legacy: bool = False) -> Path:
    """deca_model.tar: what DECA's trainer saves, of which only E_flame is read."""
    content = {
        "E_flame": state,
        "E_detail": {"layers.0.weight": torch.zeros(2, 3)},
        "opt": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "global_step": 7,
    }
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("deca") / "deca_model.tar", WEIGHTS)


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """Weights whose last layer forgets the image and says one code."""
    code = np.random.default_rng(1).normal(size=OUTPUTS).astype(np.float32)
    state = dict(WEIGHTS)
    state["layers.2.weight"] = torch.zeros_like(state["layers.2.weight"])
    state["layers.2.bias"] = torch.from_numpy(code)
    return write(tmp_path_factory.mktemp("planted") / "deca_model.tar", state), code


def source(count: int, rng: np.random.Generator) -> dict[str, Measurement]:
    """What dlib says of faces in the middle of images, with one image without a face."""
    angle = np.linspace(0, 2 * np.pi, 68)
    points = 0.5 + 0.25 * np.stack([np.cos(angle), 1.1 * np.sin(angle)], axis=1)
    points = points + rng.normal(scale=0.02, size=(count, 1, 2))
    status = tuple(OK if k != 1 else NO_FACE for k in range(count))
    box = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    values = {"landmarks": points.astype(np.float32), "box": box.astype(np.float32)}
    return {"dlib": Measurement(status, values)}


# the architecture


def test_the_encoder_has_the_published_parameters():
    network = Regressor(OUTPUTS)
    assert sum(value.numel() for value in network.parameters()) == PARAMETERS == 25_848_108
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert sum(not name.endswith("num_batches_tracked") for name in shapes) == 269
    for name, shape in {
        "encoder.conv1.weight": (64, 3, 7, 7),
        "encoder.bn1.running_var": (64,),
        "encoder.layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "encoder.layer2.0.conv2.weight": (128, 128, 3, 3),
        "encoder.layer3.5.bn3.bias": (1024,),
        "encoder.layer4.2.conv3.weight": (2048, 512, 1, 1),
        "layers.0.weight": (1024, 2048),
        "layers.2.weight": (236, 1024),
        "layers.2.bias": (236,),
    }.items():
        assert shapes[name] == shape
    assert not any(name.startswith("encoder.fc") for name in shapes)


@pytest.mark.needs("clip")
def test_features_are_those_of_another_resnet50():
    """transformers' ResNet with the same weights, renamed."""
    library = importlib.import_module("transformers")
    other = library.ResNetModel(library.ResNetConfig()).eval()
    encoder = {n.removeprefix("encoder."): v for n, v in WEIGHTS.items() if n[:8] == "encoder."}
    parts = {"conv": "convolution", "bn": "normalization"}
    state = {}
    for name, value in encoder.items():
        words = name.split(".")
        stage = int(words[0][5:]) - 1 if words[0].startswith("layer") else None
        if stage is None:
            place = f"embedder.embedder.{parts[words[0][:-1]]}"
        else:
            place = f"encoder.stages.{stage}.layers.{words[1]}."
            if words[2] == "downsample":
                place += f"shortcut.{list(parts.values())[int(words[3])]}"
            else:
                place += f"layer.{int(words[2][-1]) - 1}.{parts[words[2][:-1]]}"
        state[f"{place}.{words[-1]}"] = value
    assert set(other.state_dict()) == set(state)
    other.load_state_dict(state)
    ours = ResNet50().eval()
    ours.load_state_dict(encoder)
    torch.manual_seed(1)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        wanted = other(images).pooler_output.flatten(1)
        assert torch.allclose(ours(images), wanted, rtol=1e-4, atol=1e-4 * float(wanted.max()))


# the file


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "safetensors of all"])
def test_every_kind_of_file_gives_the_same_weights(tmp_path, kind):
    path = tmp_path / "weights"
    if kind.startswith("safe"):
        from safetensors.torch import save_file as save

        prefix = "E_flame." if kind.endswith("all") else ""
        more = {"E_detail.a": torch.zeros(3)} if prefix else {}
        save({prefix + name: value for name, value in WEIGHTS.items()} | more, path)
    else:
        write(path, WEIGHTS, legacy=kind == "legacy")
    found = load_encoder("who", find_model("who", path)).state_dict()
    assert all(torch.equal(found[n], v) for n, v in WEIGHTS.items() if not n.endswith("tracked"))


def without(name: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in WEIGHTS.items() if key != name}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (without("layers.2.bias"), "lacks 1 tensors, such as 'E_flame.layers.2.bias'"),
        (WEIGHTS | {"encoder.fc.weight": torch.zeros(2)}, "besides 1 .*E_flame.encoder.fc.weight"),
        (WEIGHTS | {"layers.2.bias": torch.zeros(235)}, r"shape \(235,\); expected \(236,\)"),
        (WEIGHTS | {"layers.2.bias": torch.full((236,), torch.nan)}, "are no number"),
        ({"a": torch.zeros(1)}, "lacks 269 tensors"),
        ([1], "holds 'E_flame'.*expected a dict with E_flame"),
        ({"a": 1}, "something other than tensors"),
    ],
)
def test_other_weights_are_refused(tmp_path, changed, says):
    with pytest.raises(InputError, match=f"extractor 'deca': deca_model.tar: .*{says}"):
        Deca(write(tmp_path / "deca_model.tar", changed), device="cpu")


class Runs:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("container", ["torch", "pickle"])
def test_nothing_in_the_file_is_run(tmp_path, container):
    target, path = tmp_path / "made by the file", tmp_path / "deca_model.tar"
    if container == "torch":
        torch.save({"E_flame": Runs(target)}, path)
    else:
        path.write_bytes(pickle.dumps({"E_flame": Runs(target)}))
    with pytest.raises(InputError, match="posix.mkdir.*Expected an unbroken deca_model.tar"):
        Deca(path, device="cpu")
    assert not target.exists()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<html>log in", "a web page"),
        (b"", "the file is empty"),
        ((50).to_bytes(8, "little") + b'{"a": 1}', "no safetensors file"),
    ],
)
def test_other_files_are_refused(tmp_path, data, says):
    path = tmp_path / "deca_model.tar"
    path.write_bytes(data)
    with pytest.raises(InputError, match=says):
        Deca(path, device="cpu")
    with pytest.raises(InputError, match="does not exist"):
        Deca(tmp_path / "none.tar", device="cpu")


# what it measures


def test_codes_are_split_as_published(planted, rng):
    path, code = planted
    deca = Deca(path, device="cpu")
    assert isinstance(deca, Extractor)
    images = rng.integers(0, 256, (3, 96, 96, 3), np.uint8)
    found = deca(images, source(3, rng))
    check_measurement(deca, found, 3)
    assert found.status == (OK, NOT_MEASURED, OK)
    shape, expression = code[:100], code[150:200]
    turn, jaw, camera = code[200:203], code[203:206], code[206:209]
    for row in (0, 2):
        assert np.allclose(found.values["shape"][row], shape, atol=1e-6)
        assert np.allclose(found.values["expression"][row], expression, atol=1e-6)
        assert np.allclose(found.values["jaw"][row], np.degrees(jaw), atol=1e-4)
        assert found.values["jaw_open"][row] == pytest.approx(np.degrees(jaw[0]), abs=1e-4)
        assert np.allclose(found.values["camera"][row], camera, atol=1e-6)
        yaw, pitch, roll = (float(found.values[name][row]) for name in ("yaw", "pitch", "roll"))
        rebuilt = Rotation.from_euler("ZXY", [-roll, -pitch, yaw], degrees=True)
        assert np.allclose(rebuilt.as_matrix(), Rotation.from_rotvec(turn).as_matrix(), atol=1e-5)
    assert all(np.isnan(value[1]).all() for value in found.values.values())


def code_with(pose: tuple[float, float, float]) -> np.ndarray:
    code = np.zeros(OUTPUTS)
    at = sum(list(CODES.values())[:3])
    code[at : at + 3] = pose
    return code


@given(angle=st.floats(-80, 80))
@pytest.mark.parametrize(
    ("name", "axis", "sign"),
    [
        ("yaw", (0, 1, 0), 1),  # about y, up: ahead turns to the right of the image
        ("pitch", (1, 0, 0), -1),  # about x, right: ahead turns down
        ("roll", (0, 0, 1), -1),  # about z, to the viewer: counter-clockwise in the image
    ],
)
def test_turns_have_the_signs_of_the_other_extractors(name, axis, sign, angle):
    found = columns_of(code_with(tuple(np.radians(angle) * np.array(axis))))
    wanted = dict.fromkeys(("yaw", "pitch", "roll"), 0.0) | {name: sign * angle}
    assert {k: found[k] for k in wanted} == pytest.approx(wanted, abs=1e-6)


def test_each_image_is_measured_alone(weights, rng):
    deca = Deca(weights, device="cpu")
    images = rng.integers(0, 256, (3, 128, 160, 3), np.uint8)
    earlier = source(3, rng)
    together = deca(images, earlier)
    again = deca(images, earlier)
    assert not np.allclose(together.values["shape"][0], together.values["shape"][2])
    for row in range(3):
        alone = deca(images[row : row + 1], {"dlib": earlier["dlib"].row(row)})
        for name in deca.columns:
            value = together.values[name][row]
            assert np.array_equal(value, alone.values[name][0], equal_nan=True)
            assert np.array_equal(value, again.values[name][row], equal_nan=True)


def test_faces_that_cannot_be_cropped_are_no_pose(planted, rng):
    deca = Deca(planted[0], device="cpu")
    images = rng.integers(0, 256, (3, 64, 64, 3), np.uint8)
    earlier = source(3, rng)
    points = earlier["dlib"].values["landmarks"]
    points[0] = 0.5
    points[2, 7] = np.nan
    assert deca(images, earlier).status == (NO_POSE, NOT_MEASURED, NO_POSE)


def test_a_source_with_other_landmarks_is_refused(planted, rng):
    images = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    earlier = source(2, rng)
    earlier["dlib"].values["landmarks"].resize((2, 34, 2), refcheck=False)
    with pytest.raises(InputError, match=r"landmarks \(34, 2\) of 'dlib' came"):
        Deca(planted[0], device="cpu")(images, earlier)
    found = Deca(planted[0], device="cpu", crop="box")(images, earlier)
    assert found.status == (OK, NOT_MEASURED)


def test_the_square_is_decas():
    corners = np.array([100.0, 200.0, 180.0, 320.0])  # 80 wide, 120 high: an extent of 100
    middle, edge = square(corners, "landmarks", 1.25)
    assert (middle.tolist(), edge) == ([140, 260], 137)  # 1.1 x 100 x 1.25 = 137.5, cut
    middle, edge = square(corners, "box", 1.25)
    assert (middle.tolist(), edge) == ([140, 272], 125)


def test_the_crop_shows_the_square():
    """A ramp of brightness: the crop's corners show the values at the square's corners."""
    ramp = np.arange(256, dtype=np.uint8)
    image = np.stack(np.broadcast_arrays(ramp[None], ramp[:, None], 0), axis=-1).astype(np.uint8)
    crop = cropped(image, np.array([120.0, 140.0]), 112.0)
    across = 64 + np.arange(224) * 112 / 223
    assert crop.shape == (224, 224, 3)
    assert np.abs(crop[:, :, 0] - across[None]).max() <= 1
    assert np.abs(crop[:, :, 1] - (across[:, None] + 20)).max() <= 1
    outside = cropped(image, np.array([-500.0, 0.0]), 112.0)
    assert outside.shape == (224, 224, 3) and not outside.any()
    half = cropped(image, np.array([0.0, 140.0]), 112.0)
    assert not half[:, :109].any() and (half[:, 113:, 1] > 80).all()


@pytest.mark.parametrize("edge", [112.0, 600.0])
def test_what_is_far_from_the_square_does_not_matter(rng, edge):
    image = rng.integers(0, 256, (1000, 900, 3), np.uint8)
    middle = np.array([420.0, 480.0])
    other = np.zeros_like(image)
    inside = slice(480 - int(edge / 2) - 8, 480 + int(edge / 2) + 9)
    across = slice(420 - int(edge / 2) - 8, 420 + int(edge / 2) + 9)
    other[inside, across] = image[inside, across]
    assert np.array_equal(cropped(image, middle, edge), cropped(other, middle, edge))


def test_the_fingerprint_covers_what_decides(weights, planted, tmp_path):
    first = Deca(weights, device="cpu")
    other_place = tmp_path / "elsewhere.tar"
    other_place.write_bytes(weights.read_bytes())
    assert Deca(other_place, device="cpu", batch=9).fingerprint() == first.fingerprint()
    others = [
        Deca(planted[0], device="cpu"),
        Deca(weights, device="cpu", scale=1.3),
        Deca(weights, device="cpu", crop="box"),
        Deca(weights, device="cpu", source="insightface"),
    ]
    prints = {extractor.fingerprint() for extractor in (first, *others)}
    assert len(prints) == 5 and all(len(text) == 64 for text in prints)
    assert "non-commercial" in first.licence and first.models[0].name == "deca_model.tar"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"crop": "ears"}, "crop 'ears' came"),
        ({"scale": 0.1}, "scale 0.1 came"),
        ({"batch": 0}, "batch 0 came"),
        ({"device": "abacus"}, "device 'abacus' came"),
    ],
)
def test_odd_options_are_refused(weights, options, says):
    with pytest.raises(InputError, match=says):
        Deca(weights, **options)


@pytest.mark.weights("deca_model.tar")
def test_the_published_encoder_sees_which_way_heads_turn():
    path = Path(os.environ.get("LODE_MODELS", "none")) / "deca_model.tar"
    if not path.is_file():
        pytest.skip("LODE_MODELS holds no deca_model.tar")
    head = make_generator("head", resolution=256)
    w = head.map(head.sample_z(24, np.random.default_rng(3)), psi=0.7)
    images, truth = head.synthesize_with_truth(head.broadcast(w))
    points = np.asarray(truth.landmarks_2d, np.float32)
    earlier = {"dlib": Measurement((OK,) * len(images), {"landmarks": points})}
    found = Deca(path, device="cpu")(images, earlier)
    assert found.measured().all()
    assert np.isfinite(found.values["shape"]).all() and np.abs(found.values["shape"]).max() < 10
    assert (
        np.corrcoef(found.values["yaw"], truth.parameters[:, head.truth().names.index("yaw")])[0, 1]
        > 0.8
    )


def test_a_code_that_is_not_finite_is_a_failure_with_its_reason(tmp_path, rng):
    state = dict(WEIGHTS)
    for name in ("layers.0.weight", "layers.2.weight"):  # finite, and far too large
        state[name] = torch.full_like(state[name], 3e38)
    extractor = Deca(write(tmp_path / "deca_model.tar", state))
    images = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    found = extractor(images, source(2, rng))
    assert found.status == (FAILED, NOT_MEASURED)
    assert found.reasons == {0: "the encoder's output is not finite"}


def test_weights_may_be_pinned(weights):
    pinned = find_model("test", weights).sha256
    assert Deca(weights, sha256=pinned).fingerprint() == Deca(weights).fingerprint()
    with pytest.raises(CorruptDataError, match="expected " + "0" * 64):
        Deca(weights, sha256="0" * 64)


def test_a_source_without_landmarks_is_refused_before_any_image(weights):
    chain = {"dlib": {}, "geometry": {}, "deca": {"weights": str(weights), "source": "geometry"}}
    with pytest.raises(InputError, match="reads landmarks_68 or landmarks of 'geometry'"):
        make_extractors(chain)

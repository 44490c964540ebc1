"""ONNX networks in torch: the same numbers as onnxruntime, true gradients, refusals."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from mining.editing.onnx_torch import read_onnx  # noqa: E402
from schemas.errors import CorruptDataError, InputError  # noqa: E402
from tests.mining.editing.onnx_graphs import (  # noqa: E402
    SIZE,
    floats,
    iresnet,
    node,
    single,
    whole,
    written,
)

pytestmark = pytest.mark.needs("insightface")
OPERATORS = single("", np.random.default_rng(0))


def expected(path, images):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(["out"], {session.get_inputs()[0].name: images})
    return found


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_gives_what_onnxruntime_gives(tmp_path, rng, operator):
    nodes, weights, opset = single(operator, rng)
    last = node("Flatten", ["x"], ["out"], axis=1)
    path = written(tmp_path, [*nodes, last], weights, opset)
    images = floats(rng, 2, 3, SIZE, SIZE)
    found = read_onnx(path, size=SIZE)(torch.from_numpy(images))
    np.testing.assert_allclose(found.numpy(), expected(path, images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch", ["N", 1])
def test_a_face_network_in_little(tmp_path, rng, batch):
    path = iresnet(tmp_path, rng, batch)
    network = read_onnx(path)
    images = floats(rng, 3, 3, 16, 16)
    assert network.size == (16, 16) and network.width == 6
    found = network(torch.from_numpy(images)).numpy()
    parts = [images] if batch == "N" else images[:, None]
    wanted = np.concatenate([expected(path, part) for part in parts])
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_graph_of_one_image_at_a_time_runs_so(tmp_path, rng):
    nodes = [
        node("Reshape", ["image", "to"], ["row"]),
        node("MatMul", ["row", "w"], ["out"]),
    ]
    weights = {"to": whole(1, -1), "w": floats(rng, 3 * SIZE * SIZE, 4) / 10}
    path = written(tmp_path, nodes, weights, shape=(1, 3, SIZE, SIZE))
    images = floats(rng, 3, 3, SIZE, SIZE)
    found = read_onnx(path)(torch.from_numpy(images)).numpy()
    wanted = np.concatenate([expected(path, image[None]) for image in images])
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_finite_differences(tmp_path, rng):
    network = read_onnx(iresnet(tmp_path, rng)).double()
    images = torch.from_numpy(rng.normal(size=(2, 3, 16, 16))).requires_grad_()
    along = torch.from_numpy(rng.normal(size=images.shape))
    ways = torch.from_numpy(rng.normal(size=(2, 6)))
    (slope,) = torch.autograd.grad((network(images) * ways).sum(), images)
    step = 1e-6
    with torch.no_grad():
        change = network(images + step * along) - network(images - step * along)
    assert float((change * ways).sum() / (2 * step)) == pytest.approx(
        float((slope * along).sum()), rel=1e-5
    )


def test_an_unknown_operator_is_named(tmp_path):
    nodes = [node("Cos", ["image"], ["x"]), node("Flatten", ["x"], ["out"])]
    with pytest.raises(InputError, match="operator Cos, which is not known"):
        read_onnx(written(tmp_path, nodes))


def test_an_operator_of_somebodys_own_is_refused(tmp_path):
    nodes = [node("Relu", ["image"], ["x"], domain="mine"), node("Flatten", ["x"], ["out"])]
    with pytest.raises(InputError, match="operator Relu"):
        read_onnx(written(tmp_path, nodes))


def test_weights_in_other_files_are_refused(tmp_path, rng):
    path = iresnet(tmp_path, rng)
    model = onnx.load_model(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="weights in other files"):
        read_onnx(path)


def test_tensors_larger_than_the_file_are_refused(tmp_path, rng):
    path = iresnet(tmp_path, rng)
    model = onnx.load_model(path)
    model.graph.initializer[0].dims[:] = [1 << 20, 1 << 20]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="larger than its file"):
        read_onnx(path)


def test_tensors_whose_bytes_do_not_fit_their_shape_are_refused(tmp_path, rng):
    path = iresnet(tmp_path, rng)
    model = onnx.load_model(path)
    model.graph.initializer[0].dims[0] += 1
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="cannot be read"):
        read_onnx(path)


def test_a_graph_that_grows_without_end_is_refused_before_it_runs(tmp_path):
    names = ["image", *(f"x{k}" for k in range(40))]
    nodes = [node("Concat", [a, a], [b], axis=1) for a, b in zip(names, names[1:], strict=False)]
    path = written(tmp_path, [*nodes, node("Flatten", [names[-1]], ["out"])])
    with pytest.raises(InputError, match="makes .* numbers.*, expected at most"):
        read_onnx(path)


def test_features_are_bounded_all_together(tmp_path):
    """None is large, and there are many: all are kept to the end."""
    names = ["image", *(f"x{k}" for k in range(12))]
    twice = [
        node("Concat", [a, a], [b], axis=1) for a, b in zip(names[:13], names[1:], strict=False)
    ]
    many = [node("Relu", [names[-1]], [f"r{k}"]) for k in range(400)]
    path = written(tmp_path, [*twice, *many, node("Flatten", ["image"], ["out"])])
    with pytest.raises(InputError, match="Relu .* with all before it, expected at most"):
        read_onnx(path, size=SIZE)


@pytest.mark.parametrize("pads", [[0, 0, 1 << 16, 1 << 16], [1 << 20] * 4, [0, 0, -1, 0]])
def test_borders_that_are_larger_than_any_image_are_refused(tmp_path, rng, pads):
    """With strides as wide the result is small; what is padded is not."""
    nodes = [
        node("Conv", ["image", "w"], ["x"], pads=pads, strides=[1 << 16] * 2),
        node("Flatten", ["x"], ["out"]),
    ]
    path = written(tmp_path, nodes, {"w": floats(rng, 4, 3, 3, 3)})
    with pytest.raises(InputError, match=r"Conv 'x' does not fit its inputs: pads"):
        read_onnx(path, size=SIZE)


def test_what_is_gathered_from_outside_is_refused(tmp_path):
    nodes = [node("Gather", ["image", "at"], ["x"], axis=1), node("Flatten", ["x"], ["out"])]
    with pytest.raises(InputError, match=r"Gather of \[5\] from an edge of 3"):
        read_onnx(written(tmp_path, nodes, {"at": whole(5)}), size=SIZE)


def test_names_that_are_no_text_are_refused(tmp_path):
    path = written(tmp_path, [node("Flatten", ["image"], ["out"])])
    path.write_bytes(path.read_bytes().replace(b"Flatten", b"Fl\xfftten"))
    with pytest.raises(InputError):
        read_onnx(path, size=SIZE)


def test_damaged_files_are_refused_or_run(tmp_path, rng):
    """Bytes changed, lost, doubled or made huge: never another error than InputError."""
    sound, refused = iresnet(tmp_path, rng).read_bytes(), 0
    path = tmp_path / "damaged.onnx"
    for _ in range(250):
        data, at = bytearray(sound), int(rng.integers(len(sound)))
        other = int(rng.integers(len(sound)))
        data[at : at + int(rng.integers(4))] = [
            bytes(rng.integers(0, 256, 2, np.uint8)),
            b"",
            sound[other : other + 30],
            b"\xff" * 9 + b"\x01",
        ][int(rng.integers(4))]
        path.write_bytes(data)
        try:
            network = read_onnx(path)
        except InputError:
            refused += 1
        else:
            assert network.width > 0
    assert refused > 25


def test_whole_numbers_that_grow_are_refused(tmp_path):
    names = ["s0", *(f"s{k}" for k in range(1, 30))]
    nodes = [node("Shape", ["image"], ["s0"])]
    nodes += [node("Concat", [a, a], [b], axis=0) for a, b in zip(names, names[1:], strict=False)]
    path = written(tmp_path, [*nodes, node("Reshape", ["image", names[-1]], ["out"])])
    with pytest.raises(InputError, match="makes .* numbers, expected at most 1,000"):
        read_onnx(path)


@pytest.mark.parametrize(
    ("nodes", "weights", "said"),
    [
        ([node("Relu", ["image"], ["out"])], {}, "other than"),
        ([node("Add", ["image", "w"], ["x"]), node("Flatten", ["x"], ["out"])],
         {"w": np.ones(7, np.float32)}, "Add 'x' does not fit its inputs"),
        ([node("Flatten", ["nowhere"], ["out"])], {}, "reads 'nowhere' early"),
        ([node("Flatten", ["image"], ["other"])], {}, "no node writes the output 'out'"),
        ([node("Conv", ["image", "w"], ["x"], auto_pad="SAME_UPPER"),
          node("Flatten", ["x"], ["out"])], {"w": np.ones((1, 3, 3, 3), np.float32)}, "auto_pad"),
        ([node("BatchNormalization", ["image", *"wwww"], ["x"], training_mode=1),
          node("Flatten", ["x"], ["out"])], {"w": np.ones(3, np.float32)}, "training mode"),
    ],
    ids=["shape", "broadcast", "early", "output", "auto_pad", "training"],
)  # fmt: skip
def test_graphs_that_do_not_fit_are_refused(tmp_path, nodes, weights, said):
    with pytest.raises(InputError, match=said):
        read_onnx(written(tmp_path, nodes, weights))


def test_files_that_are_no_models_are_refused(tmp_path, rng):
    (tmp_path / "text.onnx").write_text("this is no model")
    with pytest.raises(InputError):
        read_onnx(tmp_path / "text.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(InputError):
        read_onnx(tmp_path / "empty.onnx")
    with pytest.raises(InputError):
        read_onnx(tmp_path / "absent.onnx")
    with pytest.raises(InputError, match="opset"):
        read_onnx(written(tmp_path, [node("Flatten", ["image"], ["out"])], opset=6))


def test_the_checksum_is_compared(tmp_path, rng):
    path = iresnet(tmp_path, rng)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_onnx(path, sha256=digest).width == 6
    with pytest.raises(CorruptDataError):
        read_onnx(path, sha256="0" * 64)


def test_images_of_another_size_are_refused(tmp_path, rng):
    network = read_onnx(iresnet(tmp_path, rng))
    with pytest.raises(InputError, match=r"\(1, 3, 8, 8\) came, expected \(N, 3, 16, 16\)"):
        network(torch.zeros(1, 3, 8, 8))

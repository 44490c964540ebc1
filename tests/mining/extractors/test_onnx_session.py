"""ONNX models open from their own bytes alone, and what is wrong with one is told in a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
import onnxruntime

from mining.extractors.models import Model, find_model
from mining.extractors.onnx_session import gpu_model, open_session
from schemas.errors import InputError

pytestmark = pytest.mark.needs("onnx")

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
SECRET = np.arange(16, dtype=np.float32)
info = onnx.helper.make_tensor_value_info
node = onnx.helper.make_node


def serialized(nodes, inputs, outputs, weights=()) -> bytes:
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs, list(weights))
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def double() -> bytes:
    return serialized(
        [node("Add", ["x", "x"], ["y"])], [info("x", FLOAT, ["N"])], [info("y", FLOAT, ["N"])]
    )


def elsewhere(location: str, shape: list[int]):
    """A tensor whose numbers lie in another file."""
    tensor = onnx.TensorProto(name="w", data_type=FLOAT, dims=shape, data_location=1)
    size = str(4 * int(np.prod(shape)))
    for key, value in {"location": location, "offset": "0", "length": size}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def gathering(location: str) -> bytes:
    """Returns the numbers of the other file."""
    places = [info("x", INT64, ["N"])]
    take = node("Gather", ["w", "x"], ["y"])
    return serialized([take], places, [info("y", FLOAT, None)], [elsewhere(location, [16])])


def multiplying(location: str) -> bytes:
    product = node("MatMul", ["x", "w"], ["y"])
    rows = [info("x", FLOAT, ["N", 4])]
    return serialized([product], rows, [info("y", FLOAT, None)], [elsewhere(location, [4, 4])])


def branching(location: str) -> bytes:
    """The weights lie in a branch of the graph."""

    def branch(name: str):
        made = [node("Gather", ["w", "x"], [name])]
        return onnx.helper.make_graph(
            made, name, [], [info(name, FLOAT, None)], [elsewhere(location, [16])]
        )

    choice = node("If", ["c"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    given = [info("c", onnx.TensorProto.BOOL, []), info("x", INT64, ["N"])]
    return serialized([choice], given, [info("y", FLOAT, None)])


def constant(location: str) -> bytes:
    """The weights lie in an attribute."""
    made = node("Constant", [], ["w"], value=elsewhere(location, [16]))
    add = node("Add", ["x", "w"], ["y"])
    return serialized([made, add], [info("x", FLOAT, [16])], [info("y", FLOAT, None)])


def stored(folder: Path, data: bytes) -> Model:
    path = folder / "model.onnx"
    path.write_bytes(data)
    return find_model("extractor 'x'", path)


def test_a_model_runs(tmp_path):
    session = open_session("extractor 'x'", stored(tmp_path, double()))
    assert session.run(None, {"x": np.array([1.5, -2], np.float32)})[0].tolist() == [3, -4]
    assert session.get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize("make", [gathering, multiplying, branching, constant])
@pytest.mark.parametrize("location", ["w.bin", "inner/../w.bin", "../{folder}/w.bin", "{full}"])
def test_files_that_a_model_names_are_not_read(tmp_path, monkeypatch, make, location):
    """Also not those beside it, nor those in the working directory."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "w.bin").write_bytes(SECRET.tobytes())
    monkeypatch.chdir(tmp_path)
    named = location.format(folder=tmp_path.name, full=tmp_path / "w.bin")
    with pytest.raises(InputError, match="model.onnx keeps weights in other files, .* as one file"):
        open_session("extractor 'x'", stored(tmp_path, make(named)))


@pytest.mark.parametrize(
    "data",
    [b"", b"no model", b"\x08\x08" * 100, double()[:-20], b"\x08\x00\x00\x00ORTM" + bytes(64)],
    ids=["empty", "text", "noise", "cut", "another format"],
)
def test_what_is_no_model_is_refused_in_one_line(tmp_path, data):
    with pytest.raises(InputError, match="^extractor 'x': .*model.onnx is no ONNX model") as caught:
        open_session("extractor 'x'", stored(tmp_path, data))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_operators_of_other_libraries_are_refused(tmp_path):
    strange = node("RunShell", ["x"], ["y"], domain="org.example")
    data = serialized([strange], [info("x", FLOAT, ["N"])], [info("y", FLOAT, ["N"])])
    with pytest.raises(InputError, match="no ONNX model that runs here"):
        open_session("extractor 'x'", stored(tmp_path, data))


def test_a_file_that_is_gone_is_told(tmp_path):
    model = stored(tmp_path, double())
    model.path.unlink()
    with pytest.raises(InputError, match="extractor 'x': .*model.onnx: No such file"):
        open_session("extractor 'x'", model)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="it has CUDA"
)
def test_a_provider_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="'cuda' came, .* CPUExecutionProvider; install"):
        open_session("extractor 'x'", stored(tmp_path, double()), "cuda")


def test_the_gpu_is_told_where_there_is_one():
    import subprocess
    import sys

    import torch

    assert gpu_model("x", "cpu") == ()
    light = "import sys; from mining.extractors.onnx_session import gpu_model; "
    light += "gpu_model('x', 'cpu'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", light]).returncode == 0
    if torch.cuda.is_available():
        assert gpu_model("x", "cuda") == (torch.cuda.get_device_name(0),)
    else:
        with pytest.raises(InputError, match="x: provider 'cuda' came, .* sees no GPU"):
            gpu_model("x", "cuda")

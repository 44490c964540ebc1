"""A description that does not fit its model, or none, is told in one line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import yaml

from mining.extractors.onnx_attributes import OnnxAttributes
from schemas.errors import InputError
from tests.mining.extractors.onnx_models import fixed, identity, model, node, seen, written

pytestmark = pytest.mark.needs("onnx")


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("shape", "given", "said"),
    [
        (("N", 3, 4, 4), {"size": 5}, r"shape \['N', 3, 4, 4\]; .* \['N', 3, 5, 5\] \(NCHW\)"),
        (("N", 3, 4, 4), {"size": 4, "layout": "NHWC"}, r"gives \['N', 4, 4, 3\] \(NHWC\)"),
        (("N", 1, 4, 4), {"size": 4}, r"shape \['N', 1, 4, 4\]; .* 3, 4, 4"),
        (("N", 48), {"size": 4}, r"shape \['N', 48\]"),
        (("N", 3, 4, 4), {"size": 4, "name": "data"}, "inputs 'pixels'; .* input 'data'"),
    ],
)
def test_an_input_that_does_not_fit_is_told(tmp_path, shape, given, said):
    with pytest.raises(InputError, match=f"^extractor 'same': the model.*{said}"):
        OnnxAttributes(identity(tmp_path, shape, input=given, outputs=[{"columns": ["a"]}]))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({"columns": {"a": 0}}, "outputs 'out0', 'out1'; the one behind the columns a needs"),
        ({"name": "out2", "columns": {"a": 0}}, "no output 'out2'; it has 'out0', 'out1'"),
        ({"name": "out0", "columns": {"a": 5}}, "'a' reads number 5 of .*'out0', which has 5"),
        ({"name": "out0", "columns": {"a": {}}}, "'a' needs an index: .* has 5 numbers"),
        ({"name": "out0", "columns": {"a": 0}, "numbers": [3, 6]}, "5 numbers; .* from 3 to 5"),
        (
            {"name": "out0", "columns": ["a"], "activation": "expectation", "bins": [1, 2]},
            "2 bins came for the 5 numbers of 'out0'",
        ),
    ],
)
def test_an_output_that_does_not_fit_is_told(tmp_path, output, said):
    with pytest.raises(InputError, match=f"^extractor 'fixed': .*{said}"):
        OnnxAttributes(fixed(tmp_path, [output]))


def test_a_model_that_mixes_images_is_refused(tmp_path):
    nodes = [node("ReduceMean", ["pixels"], ["out"], axes=[0], keepdims=1)]
    path = identity(tmp_path)
    (tmp_path / "same.onnx").write_bytes(model(nodes, ["N", 3, 4, 4], {"out": [1, 3, 4, 4]}))
    with pytest.raises(InputError, match=r"'out' is \(1, 3, 4, 4\) float32 for 2 images"):
        OnnxAttributes(path)


def test_a_model_that_cannot_run_is_told_at_the_start(tmp_path):
    """Its inner shapes do not fit; free sizes hide it until it runs."""
    nodes = [
        node("Reshape", ["pixels", "shape"], ["out"]),
    ]
    weights = {"shape": np.array([7, -1], np.int64)}
    path = identity(tmp_path)
    data = model(nodes, ["N", 3, "H", "W"], {"out": ["A", "B"]}, weights)
    (tmp_path / "same.onnx").write_bytes(data)
    with pytest.raises(InputError, match="^extractor 'same': the model does not run: ") as caught:
        OnnxAttributes(path)
    assert "\n" not in str(caught.value)


GOOD = {
    "name": "same",
    "model": "same.onnx",
    "input": {"size": 4},
    "outputs": [{"activation": "softmax", "columns": ["a", "b"]}],
}
POINTS = {"kind": "points", "source": "d", "template": [[0, 0], [1, 1]]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"outputs": [{"activasion": "none"}]}, "key 'outputs.0.activasion'; .* 'activation'"),
        ({"inputs": {"size": 4}}, "unknown key 'inputs'; did you mean 'input'"),
        ({"model": None}, "model = None: input should be a valid string"),
        ({"name": "../same"}, "name = '../same': string should match"),
        ({"name": "Same"}, "name = 'Same': string should match"),
        ({"name": "s" * 41}, "at most 40 characters"),
        ({"input": {"size": 0}}, "input.size.0 = 0: input should be greater than or equal to 1"),
        ({"input": {"size": [4, 4, 3]}}, "input.size: 3 numbers came; expected width and height"),
        ({"input": {"size": 10**6}}, "less than or equal to 2048"),
        ({"input": {"size": "4"}}, "input.size = '4': input should be a valid array"),
        ({"input": {"size": 4, "std": 0}}, r"input: std \[0.0\] came; expected numbers above 0"),
        ({"input": {"size": 4, "mean": [1, 2]}}, "mean has 2 .* expected 1 or 3 for rgb"),
        ({"input": {"size": 4, "range": [1, 1]}}, r"range \[1.0, 1.0\] came"),
        ({"input": {"size": 4, "range": [0, float("nan")]}}, "finite number"),
        ({"input": {"size": 4, "resize": "lanczos"}}, "'bilinear', 'bicubic', 'plain'"),
        ({"crop": {"kind": "box"}}, "kind box needs a source, such as dlib"),
        ({"crop": {"kind": "image", "margin": 1}}, "kind image takes no margin; it takes share"),
        ({"crop": {"kind": "points", "source": "d"}}, "a template of 0 points"),
        ({"crop": {**POINTS, "points": [1]}}, "1 points and a template of 2"),
        ({"crop": {**POINTS, "template": [[1, 1], [1, 1]]}}, "one place"),
        (
            {"crop": POINTS, "input": {"size": 4, "resize": "area"}},
            "kind points is warped; it takes no input.resize",
        ),
        ({"outputs": []}, "at least 1 item"),
        ({"outputs": [{"columns": ["a", "a"]}]}, "a name stands twice"),
        ({"outputs": [{"columns": [True, "a"]}]}, "what is no name; quote it"),
        ({"outputs": [{"columns": {}}]}, "columns are empty"),
        ({"outputs": [{"columns": ["a"]}, {"columns": ["a"]}]}, "the column 'a' stands twice"),
        ({"outputs": [{"columns": ["status"]}]}, "cannot be called 'status'"),
        ({"outputs": [{"columns": ["a b"]}]}, "should match pattern"),
        ({"outputs": [{"columns": {"a": -1}}]}, "greater than or equal to 0"),
        ({"outputs": [{"columns": {"a": {}, "b": {}}}]}, "need an index each, or a list"),
        ({"outputs": [{"columns": ["a"], "activation": "expectation"}]}, "belong together"),
        ({"outputs": [{"columns": ["a", "b"], "numbers": [0, 1]}]}, "b has the index 1 of 1"),
        ({"outputs": [{"columns": {"a": {"text": "one\ntwo"}}}]}, "should match pattern"),
        ({"sha256": "abc"}, "should match pattern"),
    ],
)  # fmt: skip
def test_a_description_that_does_not_fit_is_told_in_one_line(tmp_path, change, said):
    path = written(tmp_path, **{**GOOD, **change})
    with pytest.raises(InputError, match=f"^description .*yaml: .*{said}") as caught:
        OnnxAttributes(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds a NoneType, not a mapping"),
        ("[1, 2]", "holds a list"),
        ("name: a\nname: b", "'name' stands twice"),
        ("name: !!python/object/apply:os.system [ls]", "is not YAML"),
        ("a: &a [x, x]\nb: [*a, *a]", "line 2: aliases are not read here"),
        ("a: " + "[" * 50_000, "line 1: values lie 20 deep"),
        ("- " * 5000, "line 1: values lie 20 deep"),
        ("\x00", "is not YAML"),
        ("a" * 300_000, "has 300,000 bytes; at most 200,000"),
    ],
    ids=["empty", "list", "twice", "code", "bomb", "deep", "deep list", "binary", "large"],
)
def test_a_file_that_is_no_description_is_told(tmp_path, text, said):
    path = tmp_path / "about.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        OnnxAttributes(str(path))


def test_a_name_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="extractor name 'A b' came"):
        OnnxAttributes(identity(tmp_path), name="A b")


def test_files_that_are_not_there_are_told(tmp_path):
    with pytest.raises(InputError, match="gone.yaml does not exist"):
        OnnxAttributes(str(tmp_path / "gone.yaml"))
    with pytest.raises(InputError, match="extractor 'same': .*gone.onnx does not exist"):
        OnnxAttributes(written(tmp_path, **{**GOOD, "model": "gone.onnx"}))


# -------------------------------------------------------------------------- from elsewhere


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store behind URLs, memory://there/..., and its files' folder for the cache."""
    import fsspec

    monkeypatch.setenv("LODE_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    yield lambda name, data: memory.pipe(f"/there/{name}", data)
    memory.store.clear()


def test_description_and_model_may_come_from_a_url(tmp_path, store, images):
    wanted = seen(identity(tmp_path), images)
    data = (tmp_path / "same.onnx").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    path = identity(tmp_path, sha256=digest)
    store("about.yaml", Path(path).read_bytes())
    store("same.onnx", data)
    assert (seen("memory://there/about.yaml", images) == wanted).all()
    far = identity(tmp_path, sha256=digest, model="memory://there/same.onnx")
    (tmp_path / "same.onnx").unlink()
    assert (seen(far, images) == wanted).all()


@pytest.mark.parametrize(
    ("model_path", "said"),
    [
        ("/etc/hostname", "names the local file '/etc/hostname'"),
        ("~/model.onnx", "names the local file"),
        ("file:///etc/hostname", "names the local file"),
        ("same.onnx", "is a URL without a checksum; set sha256"),
    ],
)
def test_a_description_from_elsewhere_names_no_local_file(tmp_path, store, model_path, said):
    store("about.yaml", yaml.safe_dump({**GOOD, "model": model_path}).encode())
    with pytest.raises(InputError, match=f"extractor 'same': .*{said}"):
        OnnxAttributes("memory://there/about.yaml")

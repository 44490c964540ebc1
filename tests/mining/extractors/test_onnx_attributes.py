"""Any described ONNX model measures: planted arithmetic, planted crops."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


from mining.extractors.base import (
    FAILED,
    NO_FACE,
    NOT_MEASURED,
    OK,
    Extractor,
    Measurement,
    measure,
)
from mining.extractors.crops import box_crop, resized
from mining.extractors.models import models_of
from mining.extractors.onnx_attributes import OnnxAttributes
from mining.extractors.registry import make_extractors
from schemas.errors import CorruptDataError, InputError
from storage.downloads.cache import file_sha256
from storage.downloads.offline import offline
from tests.mining.extractors.onnx_models import (
    BYTE,
    HALF,
    LOGITS,
    fixed,
    identity,
    model,
    node,
    seen,
)

pytestmark = pytest.mark.needs("onnx")


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", ["rgb", "bgr", "gray"])
def test_pixels_come_in_the_order_that_is_described(tmp_path, images, layout, channels):
    depth = 1 if channels == "gray" else 3
    shape = ("N", depth, 4, 4) if layout == "NCHW" else ("N", 4, 4, depth)
    given = {"size": 4, "layout": layout, "channels": channels, "range": [0, 255]}
    wanted = images.astype(float)
    if channels == "bgr":
        wanted = wanted[..., ::-1]
    if channels == "gray":
        wanted = np.rint(wanted @ [0.299, 0.587, 0.114])[..., None]
    wanted = wanted.transpose(0, 3, 1, 2) if layout == "NCHW" else wanted
    found = seen(identity(tmp_path, shape, input=given), images)
    assert found == pytest.approx(wanted.reshape(3, -1), abs=1e-3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, lambda x: x / 255),
        ({"range": [-1, 1]}, lambda x: x / 127.5 - 1),
        ({"range": [0, 255], "mean": 127.5, "std": 128}, lambda x: (x - 127.5) / 128),
        (
            {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
            lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        ),
        (
            {"channels": "bgr", "mean": [1, 2, 3], "range": [0, 255]},
            lambda x: x[..., ::-1] - [1, 2, 3],
        ),
    ],
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_values_are_scaled_as_described(tmp_path, images, given, expected, layout):
    shape = ("N", 3, 4, 4) if layout == "NCHW" else ("N", 4, 4, 3)
    wanted = expected(images.astype(float))
    wanted = wanted.transpose(0, 3, 1, 2) if layout == "NCHW" else wanted
    found = seen(identity(tmp_path, shape, input={"size": 4, "layout": layout, **given}), images)
    assert found == pytest.approx(wanted.reshape(3, -1), rel=1e-5, abs=1e-5)


def test_models_of_bytes_and_half_floats_are_fed(tmp_path, images):
    given = {"size": 4, "range": [0, 255]}
    wanted = images.transpose(0, 3, 1, 2).reshape(3, -1)
    for kind in (BYTE, HALF):
        assert (seen(identity(tmp_path, kind=kind, input=given), images) == wanted).all()
    with pytest.raises(InputError, match=r"reads bytes; expected range \[0, 255\]"):
        OnnxAttributes(identity(tmp_path, kind=BYTE))


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_models_of_fixed_batches_give_the_same(tmp_path, images, batch):
    free = seen(identity(tmp_path), images)
    assert (seen(identity(tmp_path, (batch, 3, 4, 4)), images) == free).all()


def first(path: str, images: np.ndarray) -> dict[str, float]:
    found = OnnxAttributes(path)(images, {}).values
    assert all((value == value[0]).all() for value in found.values())
    return {name: float(value[0]) for name, value in found.items()}


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.exp(row - row.max())
    return powers / powers.sum()


@pytest.mark.parametrize("k", [0, 1])
def test_activations(tmp_path, images, k):
    row, name = LOGITS[k], f"out{k}"
    raw = {"index": 3, "scale": 100, "offset": -1, "unit": "years"}
    outputs = [
        {"name": name, "columns": {"raw": raw}},
        {"name": name, "activation": "sigmoid", "columns": {"a": 0, "b": 1}},
        {"name": name, "activation": "softmax", "columns": list("vwxyz")},
        {"name": name, "activation": "softmax", "numbers": [2, 5], "columns": {"last": 2}},
        {"name": name, "activation": "expectation", "bins": {"first": 20, "step": 10},
         "columns": {"age": {"unit": "years", "text": "how old"}}},
        {"name": name, "activation": "expectation", "bins": [1, -1], "numbers": [3, 5],
         "columns": ["even"]},
    ]  # fmt: skip
    path = fixed(tmp_path, outputs)
    found, weights = first(path, images), softmax(row)
    assert found["raw"] == pytest.approx(100 * row[3] - 1)
    with np.errstate(over="ignore"):
        assert found["a"] == pytest.approx(1 / (1 + np.exp(-row[0])))
        assert found["b"] == pytest.approx(1 / (1 + np.exp(-row[1])))
    assert [found[name] for name in "vwxyz"] == pytest.approx(weights.tolist())
    assert found["last"] == pytest.approx(softmax(row[2:])[2])
    assert found["age"] == pytest.approx(weights @ [20, 30, 40, 50, 60])
    assert found["even"] == pytest.approx(softmax(row[3:]) @ [1, -1])
    columns = OnnxAttributes(path).columns
    assert (columns["age"].unit, columns["age"].text) == ("years", "how old")
    assert (columns["raw"].unit, columns["v"].unit) == ("years", "1")
    assert "softmax" in columns["v"].text and "sigmoid" in columns["a"].text


def test_what_is_not_finite_is_a_reason(tmp_path, images):
    """A logarithm of a black pixel."""
    nodes = [node("Log", ["pixels"], ["out"])]
    data = model(nodes, ["N", 3, 4, 4], {"out": ["N", 3, 4, 4]})
    path = identity(tmp_path)
    (tmp_path / "same.onnx").write_bytes(data)
    images = np.maximum(images, 1)
    images[1, 2, 2, 1] = 0
    found = measure([OnnxAttributes(path)], images)["same"]
    assert found.status == (OK, FAILED, OK)
    assert found.reasons == {1: "the model's output is not finite"}
    for value in found.values.values():
        assert np.isfinite(value[[0, 2]]).all() and np.isnan(value[1])


# ------------------------------------------------------------------------------------- crops


def squares(rng) -> tuple[np.ndarray, np.ndarray]:
    """Images with a bright square each, and its boxes; 64 pixels."""
    images = rng.integers(0, 40, (4, 64, 64, 3), dtype=np.uint8)
    boxes = np.empty((4, 4), np.float32)
    for image, box in zip(images, boxes, strict=True):
        left, top, edge = rng.integers(4, 20), rng.integers(4, 20), rng.integers(16, 32)
        image[top : top + edge, left : left + edge] = 220
        box[:] = np.array([left, top, left + edge, top + edge]) / 64
    return images, boxes


def source(boxes: np.ndarray) -> Measurement:
    """What an extractor before this one found: nothing in row 2."""
    boxes = boxes.copy()
    boxes[2] = np.nan
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3], [0, 0]]]
    corners[:, 4] = 7.0  # a point that no template reads
    return Measurement((OK, OK, NO_FACE, OK), {"box": boxes, "points": corners})


TEMPLATE = [[-0.5, -0.5], [3.5, -0.5], [3.5, 3.5], [-0.5, 3.5]]  # the corners of 4 pixels
CROPS = {
    "box": {"kind": "box", "source": "before"},
    "points": {
        "kind": "points",
        "source": "before",
        "column": "points",
        "points": [0, 1, [2], [3, 3]],
        "template": TEMPLATE,
    },
}


@pytest.mark.parametrize("crop", list(CROPS))
def test_faces_of_an_earlier_extractor_are_cut(tmp_path, rng, crop):
    images, boxes = squares(rng)
    extractor = OnnxAttributes(
        identity(tmp_path, crop=CROPS[crop], input={"size": 4, "range": [0, 255]})
    )
    # points say edges of pixels here, as boxes do
    assert extractor.needs == ("before",)
    found = extractor(images, {"before": source(boxes)})
    assert found.status == (OK, OK, NOT_MEASURED, OK)
    values = np.stack(list(found.values.values()), axis=1)
    assert np.isnan(values[2]).all()
    inner = values[[0, 1, 3]].reshape(3, 3, 4, 4)
    assert inner[..., 1:-1, 1:-1] == pytest.approx(220, abs=1)
    assert inner.min() > 100  # a warp mixes what lies at the edge with what is beyond


def test_a_margin_shows_what_lies_around(tmp_path, rng):
    images, boxes = squares(rng)
    crop = {**CROPS["box"], "margin": 0.5}
    given = {"size": 4, "range": [0, 255]}
    found = seen(identity(tmp_path, crop=crop, input=given), images, {"before": source(boxes)})
    inner = found[[0, 1, 3]].reshape(3, 3, 4, 4)
    assert inner[..., 1:3, 1:3].min() > 150 and inner[..., 0, 0].max() < 60


@pytest.mark.parametrize("way", ["bilinear", "bicubic", "plain", "area", "nearest"])
@pytest.mark.parametrize("crop", [{}, {"kind": "box", "source": "before", "margin": 0.1}])
def test_images_are_resized_as_described(tmp_path, rng, way, crop):
    images = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    box = np.array([0.2, 0.3, 0.7, 0.9], np.float32)
    before = {"before": Measurement((OK, OK), {"box": np.stack([box, box])})}
    path = identity(tmp_path, crop=crop, input={"size": 4, "range": [0, 255], "resize": way})
    if crop:
        wanted = np.stack([box_crop(image, box, (4, 4), 0.1, way) for image in images])
    else:
        wanted = resized(images, (4, 4), way)
    found = seen(path, images, before).reshape(2, 3, 4, 4)
    assert found == pytest.approx(wanted.transpose(0, 3, 1, 2), abs=1e-3)


def test_the_middle_of_an_image_may_be_read(tmp_path):
    images = np.zeros((1, 32, 32, 3), np.uint8)
    images[:, 8:24, 8:24] = 200
    given = {"size": 4, "range": [0, 255]}
    assert (seen(identity(tmp_path, crop={"share": 0.5}, input=given), images) == 200).all()
    assert seen(identity(tmp_path, input=given), images).min() < 30


def test_rows_without_faces_do_not_reach_the_model(tmp_path, rng):
    images, boxes = squares(rng)
    extractor = OnnxAttributes(identity(tmp_path, crop=CROPS["box"]))
    nothing = Measurement((NO_FACE,) * 4, {"box": np.full((4, 4), np.nan, np.float32)})
    none = Measurement((), {"box": boxes[:0]})
    found = extractor(images, {"before": nothing})
    assert found.status == (NOT_MEASURED,) * 4
    assert all(np.isnan(value).all() for value in found.values.values())
    assert len(extractor(images[:0], {"before": none})) == 0


@pytest.mark.parametrize(
    ("crop", "said"),
    [
        ({**CROPS["box"], "column": "oval"}, "before has no column 'oval'; it has box, points"),
        ({**CROPS["box"], "column": "points"}, r"before_points has \(5, 2\); no box"),
        ({**CROPS["points"], "points": [0, 1, 2, 9]}, r"shape \(5, 2\); .* up to number 9"),
        ({**CROPS["points"], "column": "box"}, r"shape \(4,\)"),
    ],
)
def test_a_source_that_lacks_what_is_read_is_told(tmp_path, rng, crop, said):
    images, boxes = squares(rng)
    with pytest.raises(InputError, match=f"^same: .*{said}"):
        OnnxAttributes(identity(tmp_path, crop=crop))(images, {"before": source(boxes)})


# ------------------------------------------------------------- what stands for what was used


def test_the_fingerprint_knows_content_and_not_places(tmp_path, images):
    path = identity(tmp_path)
    base = OnnxAttributes(path).fingerprint()
    moved = tmp_path / "moved"
    moved.mkdir()
    assert OnnxAttributes(identity(moved)).fingerprint() == base
    (tmp_path / "other.onnx").write_bytes((tmp_path / "same.onnx").read_bytes())
    assert OnnxAttributes(path, model=str(tmp_path / "other.onnx")).fingerprint() == base
    given = {"size": 4, "mean": 0.5}
    others = [
        OnnxAttributes(path, name="other"),
        OnnxAttributes(identity(tmp_path, input=given)),
        OnnxAttributes(identity(tmp_path, ("N", 3, 4, 4), HALF)),
    ]
    assert len({base, *(other.fingerprint() for other in others)}) == 4


def test_several_stand_in_one_run(tmp_path, images):
    one = OnnxAttributes(identity(tmp_path))
    two = OnnxAttributes(fixed(tmp_path, [{"name": "out0", "columns": {"a": 0}}], name="two"))
    three = OnnxAttributes(identity(tmp_path), name="three")
    found = measure([one, two, three], images)
    assert list(found) == ["same", "two", "three"]
    assert (found["same"].values["n0"] == found["three"].values["n0"]).all()


def test_settings_make_it(tmp_path, images):
    """By its class, as a run's settings name it, also from a file:// URL."""
    path, kind = identity(tmp_path), "mining.extractors.onnx_attributes:OnnxAttributes"
    for source_path in (path, Path(path).as_uri()):
        (made,) = make_extractors({kind: {"description": source_path, "provider": "cpu"}})
        assert isinstance(made, Extractor) and made.fingerprint_tells_all
        assert measure([made], images)["same"].status == (OK,) * 3
        assert models_of(made)[0]["name"] == "same.onnx"
    with pytest.raises(InputError, match="provider = 'tpu': "):
        make_extractors({kind: {"description": path, "provider": "tpu"}})


def test_model_and_licence_are_told_of(tmp_path):
    extractor = OnnxAttributes(identity(tmp_path, licence="MIT"))
    digest = hashlib.sha256((tmp_path / "same.onnx").read_bytes()).hexdigest()
    assert extractor.licence == "same.onnx: MIT"
    stored = [each.to_json() for each in extractor.models]
    assert stored == [{"name": "same.onnx", "sha256": digest, "licence": "MIT"}]
    assert OnnxAttributes(identity(tmp_path)).licence.startswith("same.onnx: unknown")


def test_another_checksum_is_refused(tmp_path):
    path = identity(tmp_path, sha256="0" * 64)
    for model_path in (None, str(tmp_path / "same.onnx")):
        with pytest.raises(CorruptDataError, match="same.onnx has the SHA-256"):
            OnnxAttributes(path, model=model_path)


@pytest.mark.parametrize(("layout", "shape"), [("NCHW", (3, 2, 6)), ("NHWC", (2, 6, 3))])
def test_width_comes_before_height(tmp_path, layout, shape, rng):
    """A model of 6 by 2 pixels sees an image of 6 by 2 as it is."""
    images = rng.integers(0, 256, (2, 2, 6, 3), dtype=np.uint8)
    given = {"size": [6, 2], "layout": layout, "range": [0, 255]}
    found = seen(identity(tmp_path, ("N", *shape), input=given), images)
    wanted = images.transpose(0, 3, 1, 2) if layout == "NCHW" else images
    assert found == pytest.approx(wanted.reshape(2, -1).astype(float), abs=1e-3)


def test_words_about_a_model_make_no_other_dataset(tmp_path):
    plain = OnnxAttributes(identity(tmp_path)).fingerprint()
    worded = identity(tmp_path, licence="MIT", text="gives back what it sees")
    assert OnnxAttributes(worded).fingerprint() == plain
    assert OnnxAttributes(identity(tmp_path, input={"size": 4, "mean": 1})).fingerprint() != plain


def test_checksums_of_both_files_are_held(tmp_path):
    path = identity(tmp_path)
    sums = {
        "sha256": file_sha256(tmp_path / "same.onnx"),
        "description_sha256": file_sha256(Path(path)),
    }
    OnnxAttributes(path, **sums)
    for key in sums:
        with pytest.raises(CorruptDataError, match="expected " + "0" * 64):
            OnnxAttributes(path, **{**sums, key: "0" * 64})
    with pytest.raises(InputError, match="is a URL without a checksum; set sha256"):
        OnnxAttributes(path, model="https://example.org/same.onnx")


def test_a_source_without_the_column_is_refused_before_any_image(tmp_path):
    path = identity(tmp_path, crop={"kind": "box", "source": "geometry"})
    with pytest.raises(InputError, match="reads box of 'geometry'"):
        make_extractors({"dlib": {}, "geometry": {}, "onnx_attributes": {"description": path}})


def test_a_url_in_the_description_may_be_pinned_by_the_option(tmp_path):
    path = identity(tmp_path, model="https://user:secret@example.org/same.onnx?key=secret")
    with pytest.raises(InputError, match="is a URL without a checksum; set sha256") as told:
        OnnxAttributes(path)
    assert "secret" not in str(told.value)
    with offline(True), pytest.raises(InputError, match="nothing is fetched offline"):
        OnnxAttributes(path, sha256="0" * 64)


def test_nobodys_home_is_told_in_one_line(tmp_path):
    path = identity(tmp_path, model="~nobody-of-that-name/same.onnx")
    with pytest.raises(InputError, match="extractor 'same': model ~nobody"):
        OnnxAttributes(path)

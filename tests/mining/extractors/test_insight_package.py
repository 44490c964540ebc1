"""Our reading of InsightFace's models against the package's own, on the same files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mining.extractors import arcface
from mining.extractors.insight_face import InsightFace
from mining.extractors.scrfd import OVERLAP, best, letterbox
from tests.mining.extractors import insight_models as models
from tests.mining.extractors.insight_models import person, picture, placed

pytestmark = pytest.mark.needs("insightface")

SIZE = 320
FACES = [
    (placed((120, 130), 60, 15), person(1)),
    (placed((140.4, 121.7), 33, -40), person(2)),
    (placed((128, 128), 50), person(3)),
]


@pytest.fixture(scope="module")
def package():
    """The package; what it and its own needs warn of on import is not ours."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        insightface = pytest.importorskip("insightface")
    return insightface


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return models.folder(tmp_path_factory.mktemp("insight") / "buffalo_l")


@pytest.fixture(scope="module")
def detector(package, folder):
    made = package.model_zoo.SCRFD(str(folder / "det_10g.onnx"))
    made.prepare(-1, input_size=(SIZE, SIZE), det_thresh=0.5)
    return made


@pytest.fixture(scope="module")
def ours(folder):
    images = np.stack([picture(256, face) for face in FACES])
    parts = ("embedding", "gender_age", "landmarks_106", "landmarks_68")
    return images, InsightFace(str(folder), parts=parts, detect_size=SIZE)(images, {}).values


def theirs(detector, image):
    """Boxes, scores and points of the package, in fractions of the image from its edges."""
    found, points = detector.detect(np.ascontiguousarray(image[..., ::-1]))
    size = np.array(image.shape[1::-1])
    return found[:, :4] / np.tile(size, 2), found[:, 4], (points + 0.5) / size


def test_the_detector_finds_the_same_boxes_scores_and_points(detector, ours):
    images, values = ours
    for row, image in enumerate(images):
        boxes, scores, points = theirs(detector, image)
        assert len(scores) == values["faces"][row] == 1
        np.testing.assert_allclose(values["box"][row], boxes[0], atol=1e-6)
        np.testing.assert_allclose(values["score"][row], scores[0], atol=1e-6)
        np.testing.assert_allclose(values["landmarks_5"][row], points[0], atol=1e-6)


@pytest.mark.parametrize("shape", [(200, 333), (333, 200)], ids=["wide", "tall"])
def test_the_detector_agrees_within_a_pixel_where_edges_are_cut(detector, folder, shape):
    """The package scales both axes by one of the two scales, we each by its own."""
    image = picture(256, (placed((100, 100), 40, 20), person(1)), shape=shape)
    values = InsightFace(str(folder), parts=(), detect_size=SIZE)(image[None], {}).values
    boxes, _, points = theirs(detector, image)
    pixel = 1 / min(shape)
    np.testing.assert_allclose(values["box"][0], boxes[0], atol=pixel)
    np.testing.assert_allclose(values["landmarks_5"][0], points[0], atol=pixel)


def face_of(package, values, row):
    """A face as the package keeps it."""
    from insightface.app.common import Face

    return Face(bbox=values["box"][row] * 256, kps=values["landmarks_5"][row] * 256 - 0.5)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # scikit-image, of how the package calls it
def test_embeddings_are_the_same(package, folder, ours):
    images, values = ours
    net = package.model_zoo.ArcFaceONNX(str(folder / "w600k_r50.onnx"))
    for row, image in enumerate(images):
        face = face_of(package, values, row)
        net.get(np.ascontiguousarray(image[..., ::-1]), face)
        np.testing.assert_allclose(values["embedding"][row], face.normed_embedding, atol=1e-3)
        assert values["embedding"][row] @ face.normed_embedding > 0.999999


@pytest.mark.parametrize(
    ("file", "column"), [("2d106det", "landmarks_106"), ("1k3d68", "landmarks")]
)
def test_landmarks_are_the_same(package, folder, ours, file, column):
    images, values = ours
    net = package.model_zoo.Landmark(str(folder / f"{file}.onnx"))
    for row, image in enumerate(images):
        points = net.get(np.ascontiguousarray(image[..., ::-1]), face_of(package, values, row))
        np.testing.assert_allclose(values[column][row] * 256 - 0.5, points[:, :2], atol=0.01)


def test_gender_and_age_are_the_same(package, folder, ours):
    from insightface.model_zoo.attribute import Attribute

    images, values = ours
    net = Attribute(str(folder / "genderage.onnx"))
    assert (net.input_mean, net.input_std) == (0.0, 1.0)  # as of the real model
    for row, image in enumerate(images):
        bgr = np.ascontiguousarray(image[..., ::-1])
        gender, age = net.get(bgr, face_of(package, values, row))
        assert gender == (values["gender"][row] > 0)
        assert age == round(float(values["age"][row]))


def test_the_template_is_the_package_s(package):
    from insightface.utils import face_align

    np.testing.assert_allclose(arcface.TEMPLATE, face_align.arcface_dst, atol=1e-5)


@given(
    points=arrays(np.float64, (5, 2), elements=st.floats(-200, 400, width=32)),
)
def test_the_alignment_is_that_of_scikit_image(points):
    transform = pytest.importorskip("skimage.transform")
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if spread[1] < 1:  # on a line or in one place the best turn is not one alone
        return
    wanted = transform.SimilarityTransform.from_estimate(points, arcface.TEMPLATE).params[:2]
    np.testing.assert_allclose(arcface.alignment(points[None])[0], wanted, atol=1e-6, rtol=1e-6)


@given(height=st.integers(1, 700), width=st.integers(1, 700))
def test_a_letterbox_holds_the_whole_image_and_says_its_scale(height, width):
    image = np.full((height, width, 3), 200, np.uint8)
    copy, scale = letterbox(image, 96)
    inside = np.argwhere(copy.max(axis=-1) > 0)
    np.testing.assert_array_equal(inside.max(axis=0) + 1, np.rint([height, width] * scale[::-1]))
    assert max(inside.max(axis=0)) + 1 == 96
    assert (copy[: inside[-1][0] + 1, : inside[-1][1] + 1] == 200).all()


@st.composite
def candidates(draw):
    """Scores and boxes of up to 40 candidates, many of which overlap."""
    count = draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, edges = rng.uniform(0, 100, (count, 2)), rng.uniform(-2, 60, (count, 2))
    return rng.uniform(0, 1, count), np.concatenate([low, low + edges], axis=1)


@given(candidates())
def test_kept_faces_overlap_little_and_dropped_ones_overlap_a_better_one(drawn):
    scores, boxes = drawn
    points = np.tile(np.arange(10.0).reshape(1, 5, 2), (len(scores), 1, 1))
    kept = best(scores, boxes, points, 0.5)
    assert (kept.scores >= 0.5).all() and (np.diff(kept.scores) <= 0).all()
    within = overlaps(kept.boxes, kept.boxes) - np.eye(len(kept))
    assert (within <= OVERLAP + 1e-5).all()
    for score, box in zip(scores, boxes, strict=True):
        if score >= 0.5 and (box[2:] > box[:2]).all():
            better = kept.boxes[kept.scores >= score]
            assert overlaps(box[None], better).max() > OVERLAP - 1e-5


def overlaps(a, b):
    """(A, B) intersection over union."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1] - shared)


def test_candidates_that_are_no_faces_are_dropped():
    boxes = np.array([[0, 0, 9, 9], [20, 0, 20, 9], [40, 0, np.inf, 9], [60, 0, 69, 9]], float)
    points = np.tile(np.arange(10.0).reshape(1, 5, 2), (4, 1, 1))
    points[3, 2] = np.nan
    kept = best(np.full(4, 0.9), boxes, points, 0.5)
    np.testing.assert_array_equal(kept.boxes, boxes[:1])
    assert len(best(np.full(4, np.nan), boxes, points, 0.5)) == 0
    assert len(best(np.full(4, 0.9), boxes, points * 0, 0.5)) == 0

"""Photographs of eight people: dlib always, InsightFace's own models where $LODE_MODELS has them.

The pictures are those that the package insightface and scikit-image carry: a group of six, a
portrait of 112 pixels, an astronaut.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")
data = pytest.importorskip("skimage.data")

# found and not imported: the package is large, and its pictures are plain files
SPEC = importlib.util.find_spec("insightface")
PICTURES = Path((SPEC.submodule_search_locations or [""])[0] if SPEC else "") / "data" / "images"
EDGE = 400  # pixels of one person's picture

pytestmark = pytest.mark.needs("insightface")  # for its photographs


def photograph(name):
    return np.ascontiguousarray(cv2.imread(str(PICTURES / name))[..., ::-1])


@pytest.fixture(scope="module")
def group():
    return photograph("t1.jpg")


@pytest.fixture(scope="module")
def people(group):
    """(8, EDGE, EDGE, 3) one person in each."""
    from mining.extractors.dlib68 import Dlib68

    found = [group_member(group, box) for box in faces_of(group)]
    found += [square(photograph("Tom_Hanks_54745.png"), (-10, -10, 122, 122))]
    astronaut = data.astronaut()
    box = Dlib68()(astronaut[None], {}).values["box"][0] * 512
    return np.stack([*found, group_member(astronaut, box)])


def faces_of(image):
    """The boxes of every face, in pixels."""
    import dlib

    boxes = dlib.get_frontal_face_detector()(image, 0)
    return [(box.left(), box.top(), box.right(), box.bottom()) for box in boxes]


def group_member(image, box):
    """One face with half of its box around it."""
    left, top, right, bottom = box
    more = (right - left) / 2
    return square(image, (left - more, top - more, right + more, bottom + more))


def square(image, box):
    """A part of an image as (EDGE, EDGE, 3), grey outside."""
    from mining.extractors.crops import warped

    left, top, right, _ = box
    scale = EDGE / (right - left)
    return warped(
        image, np.array([[scale, 0, -left * scale], [0, scale, -top * scale]]), (EDGE,) * 2
    )


def variants(people):
    """The same people mirrored, half as large, turned by 6 degrees, darker."""
    yield people[:, :, ::-1]
    yield np.stack([cv2.resize(p, (EDGE // 2,) * 2, interpolation=cv2.INTER_AREA) for p in people])
    turn = cv2.getRotationMatrix2D((EDGE / 2, EDGE / 2), -6, 1)
    yield np.stack([cv2.warpAffine(p, turn, (EDGE, EDGE)) for p in people])
    yield (people * 0.7).astype(np.uint8)


def check_people_are_told_apart(extractor, column, people):
    """Every person in every variant is closer to itself than anyone is to anyone else."""
    whole = extractor(people, {})
    assert whole.measured().all(), whole.status
    known = whole.values[column].astype(np.float64)
    apart = np.linalg.norm(known[:, None] - known, axis=-1)[np.triu_indices(len(people), 1)]
    same = []
    for changed in variants(people):
        found = extractor(np.ascontiguousarray(changed), {})
        assert found.measured().all(), found.status
        distance = np.linalg.norm(known[:, None] - found.values[column], axis=-1)
        assert (distance.argmin(axis=0) == np.arange(len(people))).all()
        same += list(np.diag(distance))
    assert max(same) < apart.min()


def test_dlib_counts_the_people(group):
    from mining.extractors.dlib68 import Dlib68

    found = Dlib68(detect_size=1280)(group[None], {})
    assert found.status == ("several_faces",)
    assert found.values["faces"][0] == 6


def test_dlib_tells_people_apart(people):
    from mining.extractors.dlib68 import Dlib68

    assert len(people) == 8
    check_people_are_told_apart(Dlib68(descriptor=True), "descriptor", people)


def test_landmarks_of_dlib_bring_photographs_onto_the_template_of_arcface(people):
    from mining.extractors import arcface
    from mining.extractors.dlib68 import Dlib68

    points = arcface.five_points("", Dlib68()(people, {}).values["landmarks"]) * EDGE
    matrices = arcface.alignment(points)
    crop = points @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]
    away = np.linalg.norm(crop - arcface.TEMPLATE, axis=-1)
    assert away.mean() < 6  # pixels of 112, of which the eyes are 35 apart: half are turned heads
    assert away.max() < 14


@pytest.mark.needs("mediapipe")
@pytest.mark.weights("face_landmarker.task")
def test_landmarks_of_mediapipe_and_dlib_give_the_same_five_points(people):
    model = Path(os.environ.get("LODE_MODELS", "")) / "face_landmarker.task"
    if not os.environ.get("LODE_MODELS") or not model.is_file():
        pytest.skip("needs $LODE_MODELS/face_landmarker.task")
    from mining.extractors.arcface import five_points
    from mining.extractors.dlib68 import Dlib68
    from mining.extractors.mediapipe_face import MediaPipeFace

    dlib = five_points("", Dlib68()(people, {}).values["landmarks"])
    mesh = five_points("", MediaPipeFace(str(model))(people, {}).values["landmarks"])
    eyes = np.linalg.norm(dlib[:, 0] - dlib[:, 1], axis=-1)
    away = np.linalg.norm(mesh - dlib, axis=-1) / eyes[:, None]
    assert (np.median(away, axis=0) < 0.1).all()  # two of the eight are half profiles


@pytest.fixture(scope="module")
def buffalo():
    folder = Path(os.environ.get("LODE_MODELS", "")) / "buffalo_l"
    if not os.environ.get("LODE_MODELS") or not (folder / "det_10g.onnx").is_file():
        pytest.skip("needs $LODE_MODELS/buffalo_l with InsightFace's models")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    return str(folder)


@pytest.mark.weights("buffalo_l/det_10g.onnx")
def test_insightface_counts_the_people(buffalo, group):
    from mining.extractors.insight_face import InsightFace

    found = InsightFace(buffalo, parts=())(group[None], {})
    assert found.status == ("several_faces",)
    assert found.values["faces"][0] == 6


@pytest.mark.weights("buffalo_l/det_10g.onnx")
def test_insightface_tells_people_apart(buffalo, people):
    from mining.extractors.insight_face import InsightFace

    check_people_are_told_apart(InsightFace(buffalo), "embedding", people)


@pytest.mark.weights("buffalo_l/det_10g.onnx")
def test_insightface_sees_the_same_face_through_the_landmarks_of_dlib(buffalo, people):
    from mining.extractors.base import measure
    from mining.extractors.dlib68 import Dlib68
    from mining.extractors.insight_face import InsightFace

    own = InsightFace(buffalo, parts=("embedding",))(people, {}).values["embedding"]
    aligned = InsightFace(buffalo, parts=("embedding",), source="dlib")
    other = measure([Dlib68(), aligned], people)["insightface"].values["embedding"]
    assert (own * other).sum(axis=1).min() > (own @ own.T - np.eye(len(own))).max()

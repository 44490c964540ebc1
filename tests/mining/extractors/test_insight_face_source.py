"""InsightFace by the landmarks of another extractor, on faces whose places are known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mining.extractors.base import Measurement
from mining.extractors.insight_face import InsightFace
from schemas.errors import InputError
from tests.mining.extractors import insight_models as models
from tests.mining.extractors.insight_models import person, picture, placed, points_at

pytestmark = pytest.mark.needs("insightface")

SIZE = 320  # pixels of the copy; a fourth of the time at 640


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(models.folder(tmp_path_factory.mktemp("insight") / "buffalo_l"))


@pytest.fixture(scope="module")
def extractor(folder):
    return InsightFace(folder, detect_size=SIZE)


def landmarks_of(places, count=68):
    """What an extractor of landmarks would say: the five points, each at all its landmarks."""
    from mining.extractors.arcface import FIVE

    marks = np.full((len(places), count, 2), 0.5, np.float32)
    for row, place in enumerate(places):
        for group, point in zip(FIVE[count], points_at(place), strict=True):
            marks[row, list(group)] = point / 256
    return marks


@pytest.mark.parametrize("count", [68, 478])
def test_landmarks_of_another_extractor_align_as_well(folder, extractor, count):
    places = [placed((120, 130), 60, 20), placed((150, 140), 40), placed((128, 128), 50, -20)]
    seen = np.stack([picture(256, (place, person(k))) for k, place in enumerate(places)])
    marks = landmarks_of(places, count)
    marks[2] = 0.5  # all in one place
    earlier = Measurement(("ok", "several_faces", "ok"), {"landmarks": marks})
    aligned = InsightFace(folder, parts=("embedding",), source="dlib")
    assert aligned.needs == ("dlib",) and aligned.reads == {"dlib": ("landmarks",)}
    assert set(aligned.columns) == {"landmarks_5", "embedding"}
    assert [model.name for model in aligned.models] == ["w600k_r50.onnx"]
    found = aligned(seen, {"dlib": earlier})
    own = extractor(seen, {})
    assert found.status == ("ok", "several_faces", "no_pose")
    for row in range(2):
        assert found.values["embedding"][row] @ own.values["embedding"][row] > 0.99
    assert np.isnan(found.values["embedding"][2]).all()
    np.testing.assert_allclose(
        found.values["landmarks_5"][:2] * 256, [points_at(p) for p in places[:2]], atol=1e-3
    )


def test_points_by_the_detector_and_by_landmarks_are_counted_alike(folder):
    """Half a pixel is a tenth of the distance between the eyes of a small face in a small image."""
    places = [placed((40 + k, 45), 18, 7 * k) for k in range(8)]
    seen = np.stack([picture(96, (place, person(1))) for place in places])
    own = InsightFace(folder, parts=(), detect_size=96)  # scale 1
    marks = landmarks_of(places) * 256 / 96
    aligned = InsightFace(folder, parts=("embedding",), source="dlib")
    given = aligned(seen, {"dlib": Measurement(("ok",) * 8, {"landmarks": marks})})
    off = (own(seen, {}).values["landmarks_5"] - given.values["landmarks_5"]) * 96
    assert np.abs(off.mean(axis=(0, 1))).max() < 0.1  # pixels


def test_a_source_without_landmarks_is_refused_when_it_is_made(folder):
    from mining.extractors.registry import make_extractors

    boxes = {"models": folder, "parts": (), "name": "boxes"}
    aligned = {"models": folder, "parts": ("embedding",), "source": "boxes"}
    with pytest.raises(InputError, match="reads landmarks of 'boxes', which has box, score"):
        make_extractors({"insightface@boxes": boxes, "insightface": aligned})


def test_rows_that_the_source_did_not_measure_are_not_measured(folder):
    marks = landmarks_of([placed((120, 130), 60)] * 2)
    marks[1] = np.nan
    earlier = Measurement(("ok", "no_face"), {"landmarks": marks})
    aligned = InsightFace(folder, parts=("embedding",), source="dlib")
    seen = np.stack([picture(256, (placed((120, 130), 60), person(1)))] * 2)
    assert aligned(seen, {"dlib": earlier}).status == ("ok", "not_measured")


def test_a_source_without_landmarks_is_refused(folder):
    aligned = InsightFace(folder, parts=("embedding",), source="clip")
    images = np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(InputError, match="'clip' has no column 'landmarks'"):
        aligned(images, {"clip": Measurement(("ok",), {})})
    wrong = Measurement(("ok",), {"landmarks": np.zeros((1, 5, 2), np.float32)})
    with pytest.raises(InputError, match=r"landmarks \(1, 5, 2\) came; .* 68, 468, 478"):
        aligned(images, {"clip": wrong})

"""InsightFace's pipeline on faces whose places, persons and ages are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mining.extractors.base import measure
from mining.extractors.crops import warped
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


def one(extractor, *faces, edge=256, shape=None):
    """The measurement of one picture."""
    return extractor(picture(edge, *faces, shape=shape)[None], {})


@settings(max_examples=15)
@given(
    x=st.floats(90, 166),
    y=st.floats(90, 166),
    eyes=st.floats(24, 72),
    degrees=st.floats(-60, 60),
)
def test_boxes_and_points_lie_where_they_are(extractor, x, y, eyes, degrees):
    place = placed((x, y), eyes, degrees)
    found = one(extractor, (place, person(1)))
    assert found.status == ("ok",)
    assert found.values["faces"][0] == 1
    points = points_at(place)
    # pixels; 0.1 of them since InsightFace's way back from the copy, which is 1.25 times as large,
    # divides what is counted from middles
    assert np.abs(found.values["landmarks_5"][0] * 256 - points).max() < 0.4
    assert np.abs(found.values["box"][0] * 256 - models.box_of(points)).max() < 0.5


@pytest.mark.parametrize("shape", [(200, 333), (333, 200)], ids=["wide", "tall"])
def test_images_that_are_not_square_scale_alike_on_both_axes(extractor, shape):
    place = placed((shape[1] - 95.0, shape[0] - 95.0), 40, 20)
    found = one(extractor, (place, person(1)), shape=shape)
    points = found.values["landmarks_5"][0] * shape[::-1]
    assert np.abs(points - points_at(place)).max() < 0.3


@pytest.mark.parametrize("edge", [128, 1024])
def test_points_are_fractions_of_images_of_any_size(extractor, edge):
    place = placed((0.55 * edge, 0.48 * edge), 0.2 * edge, -10)
    found = one(extractor, (place, person(1)), edge=edge)
    error = found.values["landmarks_5"][0] - points_at(place) / edge
    assert np.abs(error).max() < 0.003


def test_every_stride_finds_faces_of_its_own_size_at_640(folder):
    extractor = InsightFace(folder, parts=(), detect_size=640)
    for eyes in (18, 50, 100):  # of strides 8, 16, 32
        place = placed((310, 300), eyes, 5)
        found = one(extractor, (place, person(1)), edge=640)
        assert found.status == ("ok",)
        assert np.abs(found.values["landmarks_5"][0] * 640 - points_at(place)).max() < 0.3


def test_one_person_is_closer_to_itself_elsewhere_than_to_others(extractor):
    places = [placed((120, 130), 60), placed((150, 140), 40, 45), placed((128, 125), 55, -30)]
    seen = np.stack([picture(256, (place, person(k))) for k in (1, 2, 3) for place in places])
    known = extractor(seen, {}).values["embedding"].astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(known, axis=1), 1, atol=1e-6)
    cosines = (known @ known.T).reshape(3, 3, 3, 3)
    same = min(cosines[k, :, k].min() for k in range(3))
    other = max(cosines[k, :, j].max() for k in range(3) for j in range(k))
    assert same > 0.99
    assert other < 0.8


def test_without_the_turn_the_same_person_would_look_like_another(extractor):
    """What the test above owes to the alignment."""
    upright, turned = placed((120, 130), 60), placed((120, 130), 60, 45)
    net = extractor._nets["embedding"]
    linear = np.linalg.inv(upright[:, :2])
    upright_crop = np.column_stack([linear, -linear @ upright[:, 2]])
    crops = [
        warped(picture(256, (place, person(1))), upright_crop, (112, 112))
        for place in (upright, turned)
    ]
    a, b = net(np.stack(crops))
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) < 0.9


def test_gender_and_age_are_what_the_model_says_of_the_skin(extractor):
    skins = np.array([[90, 60, 190], [180, 190, 60], [130, 125, 125]])
    seen = np.stack([picture(256, (placed((120, 130), 60), np.tile(s, (4, 1)))) for s in skins])
    values = extractor(seen, {}).values
    np.testing.assert_allclose(values["age"], skins[:, 0] / 255 * 100, atol=0.3)
    np.testing.assert_allclose(values["gender"], (skins[:, 2] - skins[:, 1]) / 255, atol=0.003)


def test_landmarks_of_the_larger_models_come_back_to_the_image(folder):
    extractor = InsightFace(folder, parts=("landmarks_68", "landmarks_106"), detect_size=SIZE)
    place = placed((120, 130), 60, 25)
    values = one(extractor, (place, person(1))).values
    eye = points_at(place)[1]  # the stand-ins set every point on it
    for name in ("landmarks", "landmarks_106"):
        assert np.abs(values[name][0] * 256 - eye).max() < 0.2  # under half a pixel


def test_the_largest_of_several_faces_is_measured_and_all_are_counted(extractor):
    small, large = placed((60, 130), 20), placed((170, 130), 45)
    found = one(extractor, (small, person(1)), (large, person(2)))
    alone = one(extractor, (large, person(2)))
    assert found.status == ("several_faces",)
    assert found.values["faces"][0] == 2
    error = found.values["landmarks_5"][0] * 256 - points_at(large)
    assert np.abs(error).max() < 0.3
    assert found.values["embedding"][0] @ alone.values["embedding"][0] > 0.99


def test_images_without_a_face_are_rows_without_values(extractor):
    seen = np.stack([picture(256), picture(256, (placed((120, 130), 60), person(1))), picture(256)])
    found = measure([extractor], seen)["insightface"]
    assert found.status == ("no_face", "ok", "no_face")
    np.testing.assert_array_equal(found.values["faces"], [0, 1, 0])
    for name, column in extractor.columns.items():
        if column.dtype == "float32":
            assert np.isnan(found.values[name][[0, 2]]).all()
            assert np.isfinite(found.values[name][1]).all()
    assert len(measure([extractor], seen[:0])["insightface"]) == 0
    assert measure([extractor], seen[::2])["insightface"].status == ("no_face", "no_face")


@pytest.mark.parametrize("batch", [False, True], ids=["one image a run", "all at once"])
def test_batches_change_at_most_the_last_bits(tmp_path, batch):
    path = models.folder(tmp_path / "m", det_10g=models.scrfd(batch))
    extractor = InsightFace(str(path), detect_size=SIZE)
    seen = np.stack([picture(256, (placed((120 + k, 130), 60, k), person(k))) for k in range(5)])
    whole = extractor(seen, {})
    for row in range(len(seen)):
        alone = extractor(seen[row : row + 1], {})
        assert alone.status[0] == whole.status[row]
        for name, value in alone.values.items():
            np.testing.assert_allclose(value[0], whole.values[name][row], rtol=2e-6, atol=2e-6)
    again = extractor(seen, {})
    for name, value in whole.values.items():
        np.testing.assert_array_equal(value, again.values[name])


def test_models_that_take_many_images_say_the_same_as_one_by_one(tmp_path, extractor):
    several = models.folder(tmp_path / "m", det_10g=models.scrfd(batch=True, size=SIZE))
    single = models.folder(tmp_path / "s", w600k_r50=models.arcface(batch=False))
    seen = np.stack([picture(256, (placed((120 + k, 130), 60, k), person(k))) for k in range(3)])
    wanted = extractor(seen, {})
    for path in (several, single):
        found = InsightFace(str(path), detect_size=SIZE)(seen, {})
        for name, value in wanted.values.items():
            np.testing.assert_allclose(found.values[name], value, rtol=2e-6, atol=2e-6)


def test_two_may_stand_in_one_dataset(folder):
    from mining.extractors.registry import make_extractors

    first, second = make_extractors(
        {
            "insightface": {"models": folder, "parts": ("embedding",)},
            "insightface@strict": {"models": folder, "parts": (), "threshold": 0.99, "name": "not"},
        }
    )
    assert (first.name, second.name) == ("insightface", "not")
    found = measure([first, second], picture(256, (placed((120, 130), 60), person(1)))[None])
    assert found["insightface"].status == ("ok",) and found["not"].status == ("no_face",)


def test_what_decides_the_result_is_part_of_the_fingerprint_and_paths_are_not(folder, tmp_path):
    elsewhere = str(models.folder(tmp_path / "elsewhere"))
    other = str(models.folder(tmp_path / "other", w600k_r50=models.arcface(gain=2.0)))
    assert InsightFace(folder).fingerprint() == InsightFace(elsewhere).fingerprint()
    prints = {
        InsightFace(folder).fingerprint(),
        InsightFace(other).fingerprint(),
        InsightFace(folder, parts=("embedding",)).fingerprint(),
        InsightFace(folder, detect_size=320).fingerprint(),
        InsightFace(folder, threshold=0.4).fingerprint(),
        InsightFace(folder, parts=("embedding",), source="dlib").fingerprint(),
        InsightFace(folder, name="second").fingerprint(),
    }
    assert len(prints) == 7


def test_a_threshold_above_the_score_leaves_no_face(folder):
    face = (placed((120, 130), 60), person(1))
    strict = InsightFace(folder, parts=(), detect_size=SIZE, threshold=0.99)
    assert one(strict, face).status == ("no_face",)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"parts": ("embeding",)}, "unknown part .*'embeding'; did you mean 'embedding'"),
        ({"detect_size": 600}, "detect_size 600 came; expected a multiple of 32"),
        ({"detect_size": 8192}, "detect_size 8192 came"),
        ({"threshold": 0.0}, r"threshold 0.0 came; expected a number in \(0, 1\)"),
        ({"threshold": float("nan")}, "threshold nan came"),
        ({"provider": "tpu"}, "provider 'tpu' came; expected cpu or cuda"),
        ({"name": "Insight-Face"}, "extractor name 'Insight-Face' came"),
        ({"source": "dlib"}, r"embedding alone: set parts to \[embedding\]"),
    ],
)
def test_wrong_options_are_refused(folder, wrong, said):
    with pytest.raises(InputError, match=said):
        InsightFace(folder, **wrong)

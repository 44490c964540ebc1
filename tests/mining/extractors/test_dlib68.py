"""dlib on heads whose landmarks are known."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mining.extractors.dlib68 import Dlib68, model_file
from mining.generators.registry import make_generator
from schemas.errors import InputError, MissingBackendError


def rendered(count: int, resolution: int):
    head = make_generator("head", resolution=resolution)
    w = head.map(head.sample_z(count, np.random.default_rng(3)), psi=0.7)
    return head.synthesize_with_truth(head.broadcast(w))


def nme(found, truth):
    """(N,) mean distance of (N, 68, 2) points in distances between the outer eye corners."""
    eyes = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=-1)
    return np.linalg.norm(found - truth, axis=-1).mean(axis=1) / eyes


@pytest.fixture(scope="module")
def heads():
    return rendered(16, 256)


@pytest.fixture(scope="module")
def large():
    return rendered(5, 1024)


def test_landmarks_lie_where_they_are(heads):
    images, truth = heads
    result = Dlib68()(images, {})
    found = result.measured()
    assert found.mean() >= 0.9
    error = result.values["landmarks"][found] - truth.landmarks_2d[found]
    error -= error.mean(axis=0)  # dlib's own idea of each point
    true = truth.landmarks_2d[found]
    assert nme(true + error, true).mean() < 0.05


def test_the_largest_of_several_faces_is_measured_and_all_are_counted(heads):
    import cv2

    images, _ = heads
    wide = np.zeros((256, 512, 3), np.uint8)
    wide[:, :256] = images[0]
    wide[64:192, 320:448] = cv2.resize(images[1], (128, 128), interpolation=cv2.INTER_AREA)
    result = Dlib68()(wide[None], {})
    assert result.status == ("several_faces",)
    assert result.values["faces"][0] == 2
    assert result.values["landmarks"][0, :, 0].max() < 0.5


def test_the_descriptor_is_a_setting_of_its_own_and_tells_people_apart(heads):
    images, _ = heads
    assert "descriptor" not in Dlib68().columns
    result = Dlib68(descriptor=True)(images[:6], {})
    known = result.values["descriptor"][result.measured()].astype(float)
    apart = [np.linalg.norm(a - b) for k, a in enumerate(known) for b in known[:k]]
    assert min(apart) > 0.05


def test_settings_are_part_of_the_fingerprint():
    prints = {Dlib68().fingerprint(), Dlib68(upsample=0).fingerprint()}
    prints.add(Dlib68(threshold=-0.5).fingerprint())
    prints.add(Dlib68(detect_size=1024).fingerprint())
    assert len(prints) == 4


def test_an_upsampling_that_would_fill_the_memory_is_refused():
    with pytest.raises(InputError, match="upsample 9 came"):
        Dlib68(upsample=9)


@pytest.mark.parametrize("wrong", [79, 0, -512, 512.0, "512", True, None])
def test_a_wrong_detect_size_is_refused(wrong):
    with pytest.raises(InputError, match=r"dlib: detect_size .* came; expected whole pixels, 80"):
        Dlib68(detect_size=wrong)


def test_small_images_are_doubled_for_everything(heads):
    import cv2
    import dlib

    image = cv2.resize(heads[0][0], (512, 512), interpolation=cv2.INTER_LINEAR)
    box = max(dlib.get_frontal_face_detector()(image, 0), key=lambda box: box.area())
    shape = dlib.shape_predictor(str(model_file("shape_predictor_68_face_landmarks.dat")))(
        image, box
    )
    net = dlib.face_recognition_model_v1(
        str(model_file("dlib_face_recognition_resnet_model_v1.dat"))
    )
    result = Dlib68(descriptor=True)(heads[0][:1], {}).values
    points = np.array([(point.x, point.y) for point in shape.parts()])
    np.testing.assert_array_equal(result["landmarks"][0], np.float32((points + 0.5) / 512))
    corners = [box.left(), box.top(), box.right(), box.bottom()]
    np.testing.assert_array_equal(result["box"][0], np.float32(corners) / 512)
    known = np.float32(net.compute_face_descriptor(image, shape))
    np.testing.assert_array_equal(result["descriptor"][0], known)


def test_a_shrunk_copy_finds_what_the_full_image_shows(large):
    images, truth = large
    full = Dlib68(upsample=0, detect_size=1024)(images, {})
    small = Dlib68(detect_size=512)(images, {})
    assert small.status == full.status
    assert small.measured().all()
    points, true = small.values["landmarks"], truth.landmarks_2d
    # two starts of one regressor differ by far less than either from the truth
    assert np.median(nme(points, full.values["landmarks"])) < 0.02
    assert np.mean(nme(points, true)) < 1.1 * np.mean(nme(full.values["landmarks"], true))
    assert np.abs(small.values["box"] - full.values["box"]).max() < 0.1


def test_landmarks_are_fitted_on_the_full_image(large):
    images, _ = large
    pixels = Dlib68()(images[:2], {}).values["landmarks"].astype(float) * 1024 - 0.5
    # whole pixels of 1024; those of the copy of 512 would lie halfway between two
    np.testing.assert_allclose(pixels, np.rint(pixels), atol=1e-3)


def test_the_box_holds_the_inner_landmarks_at_every_detect_size(large):
    images, _ = large
    for detect_size in (256, 300, 512, 1024):
        result = Dlib68(detect_size=detect_size)(images[:2], {})
        assert result.measured().all()
        box, inner = result.values["box"], result.values["landmarks"][:, 17:]
        middle, size = (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]
        # dlib's box ends at the brows: a tenth of it may lie outside
        assert (np.abs(inner - middle[:, None]) < 0.6 * size[:, None]).all()


@pytest.mark.parametrize("axis", [0, 1], ids=["tall", "wide"])
def test_images_that_are_not_square_scale_alike_on_both_axes(large, axis):
    images, truth = large
    wide = np.full((1024, 1701, 3), 90, np.uint8)  # shrinks to 308.2 x 512 px: rounded
    wide[:, 500:1524] = images[0]
    canvas = wide if axis == 1 else np.full((1701, 1024, 3), 90, np.uint8)
    if axis == 0:
        canvas[500:1524] = images[0]
    result = Dlib68()(canvas[None], {})
    assert result.status == ("ok",)
    points = result.values["landmarks"].astype(float) * canvas.shape[1::-1]
    points[..., 1 - axis] -= 500
    assert nme(points / 1024, truth.landmarks_2d[:1])[0] < 0.06


@pytest.mark.parametrize("detect_size", [512, 2048])
def test_a_small_face_in_a_large_image_is_found(heads, detect_size):
    """At 512 the copy shows 64 px of head, too few: the image is searched whole."""
    import cv2

    images, truth = heads
    canvas = np.full((1024, 1024, 3), 90, np.uint8)
    canvas[400:560, 600:760] = cv2.resize(images[0], (160, 160), interpolation=cv2.INTER_AREA)
    result = Dlib68(detect_size=detect_size)(canvas[None], {})
    assert result.status == ("ok",)
    points = (result.values["landmarks"] * 1024 - [600, 400]) / 160
    assert nme(points, truth.landmarks_2d[:1])[0] < 0.06


def test_next_to_a_large_face_a_small_one_is_counted_where_the_detector_sees_it(heads, large):
    canvas = np.concatenate([large[0][0], np.full((1024, 512, 3), 90, np.uint8)], axis=1)
    canvas[400:656, 1152:1408] = heads[0][0]
    assert Dlib68()(canvas[None], {}).values["faces"][0] == 1
    assert Dlib68(detect_size=1536)(canvas[None], {}).values["faces"][0] == 2


def test_several_faces_are_still_counted_on_the_shrunk_copy(large):
    images, _ = large
    wide = np.concatenate([images[0], images[1]], axis=1)
    result = Dlib68(detect_size=600)(wide[None], {})
    assert result.status == ("several_faces",)
    assert result.values["faces"][0] == 2


def test_batches_change_no_descriptor(heads):
    dlib = Dlib68(descriptor=True)
    images = heads[0][:3]
    whole = dlib(images, {})
    for row in range(len(images)):
        alone = dlib(images[row : row + 1], {})
        np.testing.assert_array_equal(
            alone.values["descriptor"][0], whole.values["descriptor"][row]
        )


def test_models_are_found_without_importing_their_package():
    assert model_file("shape_predictor_68_face_landmarks.dat").stat().st_size > 90_000_000
    assert "face_recognition_models" not in sys.modules
    with pytest.raises(MissingBackendError, match="pip install face_recognition_models"):
        model_file("no_such_model.dat")

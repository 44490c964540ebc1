"""dlib on heads whose landmarks are known."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mining.extractors.dlib68 import Dlib68, model_file
from mining.generators.registry import make_generator
from schemas.errors import InputError, MissingBackendError


@pytest.fixture(scope="module")
def heads():
    head = make_generator("head")
    w = head.map(head.sample_z(16, np.random.default_rng(3)), psi=0.7)
    return head.synthesize_with_truth(head.broadcast(w))


def test_landmarks_lie_where_they_are(heads):
    images, truth = heads
    result = Dlib68()(images, {})
    found = result.measured()
    assert found.mean() >= 0.9
    error = result.values["landmarks"][found] - truth.landmarks_2d[found]
    error -= error.mean(axis=0)  # dlib's own idea of each point
    eyes = truth.landmarks_2d[found][:, [36, 45]]
    scale = np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=-1)
    nme = (np.linalg.norm(error, axis=-1).mean(axis=1) / scale).mean()
    assert nme < 0.05  # of the distance between the outer eye corners


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
    assert len(prints) == 3


def test_an_upsampling_that_would_fill_the_memory_is_refused():
    with pytest.raises(InputError, match="upsample 9 came"):
        Dlib68(upsample=9)


def test_models_are_found_without_importing_their_package():
    assert model_file("shape_predictor_68_face_landmarks.dat").stat().st_size > 90_000_000
    assert "face_recognition_models" not in sys.modules
    with pytest.raises(MissingBackendError, match="pip install face_recognition_models"):
        model_file("no_such_model.dat")

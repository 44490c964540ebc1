"""MediaPipe on a photograph of a person: the portrait that scikit-image ships.

Eileen Collins, NASA, in the public domain; she smiles and looks about straight ahead.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mining.extractors.base import measure
from mining.extractors.dlib68 import Dlib68
from mining.extractors.mediapipe_face import MediaPipeFace
from mining.extractors.mediapipe_points import BLENDSHAPES

pytestmark = [pytest.mark.needs("mediapipe"), pytest.mark.weights("face_landmarker.task")]
SIZE = 512


@pytest.fixture(scope="module")
def portrait():
    """(512, 512, 3); the face lies in the upper middle."""
    data = pytest.importorskip("skimage.data")
    return data.astronaut()


@pytest.fixture(scope="module")
def mediapipe():
    path = Path(os.environ.get("LODE_MODELS", "none")) / "face_landmarker.task"
    if not path.is_file():
        pytest.skip("LODE_MODELS holds no face_landmarker.task")
    return MediaPipeFace(model=str(path))


@pytest.fixture(scope="module")
def found(mediapipe, portrait):
    return measure([Dlib68(), mediapipe], portrait[None])


def test_one_face_is_seen_about_from_the_front(found):
    result = found["mediapipe"]
    assert result.status == ("ok",)
    values = {name: array[0] for name, array in result.values.items()}
    assert (values["faces"], values["retries"]) == (1, 0)
    assert abs(values["yaw"]) < 8 and abs(values["pitch"]) < 20 and abs(values["roll"]) < 8
    left, top, right, bottom = values["box"] * SIZE
    assert 170 < left < 195 and 60 < top < 85 and 255 < right < 280 and 165 < bottom < 190


def test_landmarks_agree_with_those_of_dlib(found):
    one, other = (found[name].values for name in ("mediapipe", "dlib"))
    points, reference = one["landmarks_68"][0].astype(float), other["landmarks"][0].astype(float)
    eyes = np.linalg.norm(reference[36] - reference[45])
    apart = np.linalg.norm(points - reference, axis=1) / eyes
    assert apart.mean() < 0.06 and apart[17:].mean() < 0.05


def test_the_expression_is_a_smile_with_open_eyes(found):
    values = {name: float(found["mediapipe"].values[name][0]) for name in BLENDSHAPES}
    assert min(values["mouth_smile_left"], values["mouth_smile_right"]) > 0.7
    assert max(values["eye_blink_left"], values["eye_blink_right"]) < 0.2
    assert values["jaw_open"] < 0.2
    assert max(values, key=values.__getitem__) in ("mouth_smile_left", "mouth_smile_right")


def test_in_the_corner_of_a_large_black_image_the_same_face_is_found(mediapipe, found, portrait):
    for size in (1024, 1536):
        canvas = np.zeros((size, size, 3), np.uint8)
        canvas[:SIZE, -SIZE:] = portrait
        result = mediapipe(canvas[None], {})
        assert result.status == ("ok",) and result.values["retries"][0] > 0
        points = result.values["landmarks"][0] * size - [size - SIZE, 0]
        apart = np.linalg.norm(points - found["mediapipe"].values["landmarks"][0] * SIZE, axis=1)
        assert apart.mean() < 1 and apart.max() < 4  # pixels; the face has 90


def test_a_turned_photograph_turns_the_roll(mediapipe, portrait, found):
    import cv2

    middle = tuple(float(v) for v in found["mediapipe"].values["landmarks"][0].mean(axis=0) * SIZE)
    upright = found["mediapipe"].values["roll"][0]
    for angle in (-25, 25):  # OpenCV turns counter-clockwise
        turned = cv2.warpAffine(portrait, cv2.getRotationMatrix2D(middle, angle, 1), (SIZE, SIZE))
        roll = mediapipe(np.asarray(turned)[None], {}).values["roll"][0]
        assert roll - upright == pytest.approx(-angle, abs=4)

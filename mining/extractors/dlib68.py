"""dlib: HOG face detection, 68 landmarks, 128-number face descriptor.

The models come with the package face_recognition_models. The landmark model was trained on
iBUG 300-W, whose licence excludes commercial use.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import (
    NO_FACE,
    OK,
    SEVERAL_FACES,
    Column,
    Measurement,
    check_images,
    empty_values,
)
from schemas.errors import InputError, MissingBackendError

VERSION = "2"
LANDMARKS = "shape_predictor_68_face_landmarks.dat"
DESCRIPTOR = "dlib_face_recognition_resnet_model_v1.dat"
WINDOW = 80  # pixels, the edge of the detector's window: no smaller face is found


class Dlib68:
    """Finds faces with dlib and measures the largest one in each image.

    Args:
        upsample: how often a small image is doubled at most; 1 finds faces from 40 px on in
            images up to 256 px and gives their landmarks to half a pixel.
        threshold: added to the detector's own threshold; below 0 finds more faces.
        descriptor: also compute the face descriptor, which costs most (75 ms of 100).
        detect_size: pixels, the longest edge of the copy on which faces are looked for. Small
            images are doubled no further; larger ones are searched whole only where the copy
            shows no face. Next to a large face, those under 80 px of the copy (a sixth of the
            edge at 512) go uncounted. At 1024 px, 512 gives 2.8 times the rate of full size
            (1.5 with the descriptor) and NME within its noise (-1.5 +- 1.7 %, 400 heads).
    """

    name = "dlib"
    needs = ()
    licence = "dlib: BSL-1.0; 68-point model: iBUG 300-W, research only; face net: CC0-1.0"

    def __init__(
        self,
        upsample: int = 1,
        threshold: float = 0.0,
        descriptor: bool = False,
        detect_size: int = 512,
    ):
        check_settings(upsample, detect_size)
        import dlib

        api: Any = dlib  # dlib ships no type information
        self._settings = (upsample, float(threshold), descriptor, detect_size)
        self._rectangle = api.rectangle
        self._detector = api.get_frontal_face_detector()
        self._landmarks = api.shape_predictor(str(model_file(LANDMARKS)))
        self._net = (
            api.face_recognition_model_v1(str(model_file(DESCRIPTOR))) if descriptor else None
        )
        self.columns = {
            "landmarks": Column(
                (68, 2), "fraction of the image", "x, y of the 68 iBUG landmarks, y down"
            ),
            "box": Column((4,), "fraction of the image", "left, top, right, bottom of the face"),
            "score": Column((), "1", "the detector's score, about 0 to 3"),
            "faces": Column((), "faces", "how many faces were found", "int32"),
        }
        if descriptor:
            self.columns["descriptor"] = Column(
                (128,), "1", "face descriptor; Euclidean distances under 0.6 mean one person"
            )

    def fingerprint(self) -> str:
        """SHA-256 over the code version, the package version, the settings and the models."""
        import dlib

        files = [LANDMARKS] + ([DESCRIPTOR] if self._settings[2] else [])
        parts = [VERSION, getattr(dlib, "__version__", ""), repr(self._settings)]
        parts += [file_digest(model_file(name)) for name in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def __call__(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> Measurement:
        """images: (N, H, W, 3) RGB. Each image is measured alone, so batches change nothing."""
        check_images(self.name, images)
        count = len(images)
        status: list[str] = []
        values: dict[str, NDArray] = empty_values(self.columns, count)
        for row, image in enumerate(images):
            found = self._measure(image)
            status.append(found.pop("status"))
            for name, value in found.items():
                values[name][row] = value
        return Measurement(tuple(status), values)

    def _measure(self, image: NDArray[np.uint8]) -> dict[str, Any]:
        image = np.ascontiguousarray(image)
        seen, boxes, scores = self._find(image)
        if not boxes:
            return {"status": NO_FACE}
        largest = max(range(len(boxes)), key=lambda k: (boxes[k].area(), scores[k]))
        box = boxes[largest]
        corners = np.array([box.left(), box.top(), box.right(), box.bottom()], np.float64)
        # dlib rounds landmarks to whole pixels: they are fitted on the larger of the two
        fitted = max(seen, image, key=np.size)
        small, large = (np.array(array.shape[1::-1], np.float64) for array in (seen, fitted))
        # dlib's whole numbers are the middles of pixels
        full = np.rint((corners + 0.5) * np.tile(large / small, 2) - 0.5).astype(int)
        shape = self._landmarks(fitted, self._rectangle(*full.tolist()))
        points = np.array([(point.x, point.y) for point in shape.parts()], np.float64)
        found: dict[str, Any] = {
            "status": OK if len(boxes) == 1 else SEVERAL_FACES,
            "landmarks": (points + 0.5) / large,
            "box": corners / np.tile(small, 2),
            "score": scores[largest],
            "faces": len(boxes),
        }
        if self._net is not None:
            # one by one: batches of 16 give the same bits at the same 73 ms a face on a CPU
            found["descriptor"] = np.array(self._net.compute_face_descriptor(fitted, shape))
        return found

    def _find(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Any, Any]:
        """The image or its copy that shows faces, their boxes in its pixels, their scores."""
        upsample, threshold, _, detect_size = self._settings
        scale = min(2**upsample, detect_size / max(image.shape[:2]))
        seen = resized(image, scale)
        boxes, scores, _ = self._detector.run(seen, 0, threshold)
        if not boxes and scale < 1:
            seen = image
            boxes, scores, _ = self._detector.run(seen, 0, threshold)
        return seen, boxes, scores


def check_settings(upsample: int, detect_size: int) -> None:
    """Raise InputError unless both are in range."""
    if not 0 <= upsample <= 3:
        raise InputError(f"dlib: upsample {upsample} came; expected 0, 1, 2 or 3.")
    if type(detect_size) is not int or detect_size < WINDOW:
        raise InputError(
            f"dlib: detect_size {detect_size!r} came; expected whole pixels, {WINDOW} or more "
            "(512 is the default)."
        )


def resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """The image with its edges times `scale`, rounded to whole pixels."""
    import cv2

    if scale == 1:
        return image
    height, width = (max(1, round(edge * scale)) for edge in image.shape[:2])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)


def model_file(name: str) -> Path:
    """The path of one model of the package face_recognition_models.

    The package itself is not imported: it needs pkg_resources, which newer setuptools lack.

    Raises:
        MissingBackendError: the package is not installed or holds no such file.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise MissingBackendError(f"extractor 'dlib' needs {name}: pip install face_recognition_models")


@cache
def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

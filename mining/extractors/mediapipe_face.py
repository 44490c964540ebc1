"""MediaPipe's face landmarker: 478 points with depth, 52 blendshapes and the head's pose."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import (
    NO_FACE,
    OK,
    SEVERAL_FACES,
    Measurement,
    check_images,
    empty_values,
)
from mining.extractors.geometry import POSE, euler_angles
from mining.extractors.mediapipe_points import (
    CATEGORIES,
    MESH,
    MESH_AND_IRISES,
    TRANSLATION,
    View,
    around,
    columns,
    ibug_68,
    in_camera,
    numbers,
    same_face,
    views,
)
from mining.extractors.models import Model, find_model, licences
from schemas.errors import CorruptDataError, InputError, MissingBackendError, RunError, StorageError
from storage.downloads.locate import Public

VERSION = "1"
WHO = "extractor 'mediapipe'"
INSTALL = "pip install 'latentlode[mediapipe]' && pip install --no-deps mediapipe==1.2.2"
MOST_BYTES = 1 << 28  # of a model; the known one has 3.8 MB
FILE_OPTION = "--extractors.mediapipe.model FILE"
PAGE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"
MODELS = {
    "face_landmarker": Public(
        "face_landmarker",
        "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/"
        "float16/1/face_landmarker.task",
        "Apache-2.0",
        PAGE,
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    )
}


class MediaPipeFace:
    """Finds faces with MediaPipe and measures the largest one in each image.

    MediaPipe reports on its use to play.googleapis.com: its version, Python's, how many calls took
    how long, no images. It has no setting against that, so it is told to trust no server: its
    connection ends in the handshake, before any of this is sent.

    The same images give the same bytes in every process; on a processor of another kind its
    code may round otherwise.

    Args:
        model: a path, a URL, or the known name "face_landmarker".
        sha256: that the model must have; the known one brings its own when it is fetched.
        points: 478, or 468 without the irises, which are the last ten.
        focal: of the camera in which the pose is told, in image widths, as for `geometry`;
            4.26 is that of EG3D's FFHQ crops.
        max_faces: that are looked for; `faces` counts no further.
        min_detection_confidence: of the detector, 0 to 1.
        min_presence_confidence: that the points found lie on a face, 0 to 1.
        retries: where no face is found, look at copies with margins and at enlarged parts, and
            take a face that is there that is seen on other copies too. An image without any
            costs 22 detections then, four times a measured one.
    """

    name = "mediapipe"
    needs = ()
    fingerprint_tells_all = True

    def __init__(
        self,
        model: str = "face_landmarker",
        sha256: str | None = None,
        points: Literal[468, 478] = 478,
        focal: float = 4.26,
        max_faces: int = 4,
        min_detection_confidence: float = 0.5,
        min_presence_confidence: float = 0.5,
        retries: bool = True,
    ):
        if points not in (MESH, MESH_AND_IRISES):
            raise InputError(f"{WHO}: points {points!r} came; expected 468 or 478.")
        for option, value, low, high in (
            ("focal", focal, 0.3, 100),
            ("max_faces", max_faces, 1, 100),
            ("min_detection_confidence", min_detection_confidence, 0, 1),
            ("min_presence_confidence", min_presence_confidence, 0, 1),
        ):
            if not low <= value <= high:
                raise InputError(f"{WHO}: {option} {value} came; expected {low} to {high}.")
        self._package = load_package()
        try:
            found = find_model(WHO, model, MODELS, sha256, most_bytes=MOST_BYTES)
        except CorruptDataError:
            raise
        except StorageError as error:  # it could not be fetched
            raise StorageError(f"{error} A file is given as {FILE_OPTION}.") from None
        if found.sha256 == MODELS["face_landmarker"].sha256:  # whatever its path
            found = replace(found, licence=MODELS["face_landmarker"].licence)
        self.models = (found,)
        self.licence = f"mediapipe: Apache-2.0; {licences(self.models)}"
        self.columns = columns(points)
        self._points, self._focal, self._retries = points, float(focal), bool(retries)
        self._finds = (max_faces, float(min_detection_confidence), float(min_presence_confidence))
        self._landmarker = open_landmarker(self._package, found, *self._finds)
        self._process = os.getpid()
        weakref.finalize(self, _close, self._landmarker, self._process)

    def fingerprint(self) -> str:
        """SHA-256 over the code version, the package version, the settings and the model."""
        from importlib.metadata import version

        settings = (self._points, self._focal, self._retries, *self._finds)
        parts = (VERSION, version("mediapipe"), settings, self.models[0].sha256)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def __call__(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> Measurement:
        """images: (N, H, W, 3) RGB. Each image is measured alone, so batches change nothing."""
        check_images(self.name, images)
        if self._process != os.getpid():  # it would wait for ever for threads that a fork lacks
            raise RunError(f"{WHO} was opened before this process forked; make it in this one.")
        status: list[str] = []
        values: dict[str, NDArray] = empty_values(self.columns, len(images))
        for row, image in enumerate(images):
            found = self._measure(image)
            status.append(found.pop("status"))
            for name, value in found.items():
                values[name][row] = value
        return Measurement(tuple(status), values)

    def _measure(self, image: NDArray[np.uint8]) -> dict[str, Any]:
        height, width = image.shape[:2]
        for tries, view in enumerate(views(height, width)):
            if tries and not self._retries:
                break
            seen = self._detect(view.cut(image) if tries else image)
            if seen.face_landmarks:
                found = self._row(seen, view, height, width)
                if not tries or self._seen_again(image, found["landmarks"][:MESH]):
                    return {**found, "retries": tries}
        return {"status": NO_FACE}

    def _seen_again(self, image: NDArray[np.uint8], mesh: NDArray[np.float64]) -> bool:
        """Whether a face that a copy showed is there on other copies too.

        A copy may show a face where there is none, or turn a profile to the front. Of 14 on
        procedural heads that lay off by 0.2 to 2 distances between the eyes, 2 were seen again;
        of 38 others, 28.
        """
        height, width = image.shape[:2]
        pixels = mesh * [width, height]
        return any(
            same_face(pixels, view.in_image(numbers(face), height, width)[:, :2] * [width, height])
            for view in around(pixels)
            for face in self._detect(view.cut(image)).face_landmarks
        )

    def _row(self, seen: Any, view: View, height: int, width: int) -> dict[str, Any]:
        """The values of the largest face of a view."""
        faces = [numbers(face) for face in seen.face_landmarks]
        largest = max(range(len(faces)), key=lambda k: np.ptp(faces[k][:MESH, :2], axis=0).prod())
        scores = {score.category_name: score.score for score in seen.face_blendshapes[largest]}
        if len(faces[largest]) != MESH_AND_IRISES or not scores.keys() >= set(CATEGORIES.values()):
            raise RunError(
                f"{WHO}: {self.models[0].path} gave {len(faces[largest])} points and {len(scores)} "
                "blendshapes; expected 478 and MediaPipe's 52."
            )
        matrix = np.asarray(seen.facial_transformation_matrixes[largest], np.float64)
        rotation, shift = in_camera(matrix, faces[largest], view, height, width, self._focal)
        mesh = view.in_image(faces[largest], height, width)
        box = [mesh[:MESH, :2].min(axis=0), mesh[:MESH, :2].max(axis=0)]
        return {
            "status": OK if len(faces) == 1 else SEVERAL_FACES,
            "landmarks": mesh[: self._points, :2],
            "depth": mesh[: self._points, 2],
            "landmarks_68": ibug_68(mesh[:, :2]),
            "box": np.ravel(box),
            "faces": len(faces),
            **dict(zip(POSE, euler_angles(rotation), strict=True)),
            **dict(zip(TRANSLATION, shift, strict=True)),
            **{name: scores[category] for name, category in CATEGORIES.items()},
        }

    def _detect(self, image: NDArray[np.uint8]) -> Any:
        data = np.ascontiguousarray(image)
        return self._landmarker.detect(self._package.Image(self._package.ImageFormat.SRGB, data))


def load_package() -> Any:
    """The package mediapipe, with the library behind it loaded.

    Raises:
        MissingBackendError: it, or what it needs, is not there.
    """
    try:
        import mediapipe
        from mediapipe.tasks.python.audio.core import audio_record

        # without sounddevice it keeps an error whose frames would keep this extractor for ever
        if (kept := getattr(audio_record, "sd_error", None)) is not None:
            kept.__traceback__ = None
        mediapipe.Image(mediapipe.ImageFormat.SRGB, np.zeros((1, 1, 3), np.uint8))
    except ModuleNotFoundError as error:
        raise MissingBackendError(f"{WHO} needs the package {error.name!r}: {INSTALL}") from error
    except OSError as error:
        raise MissingBackendError(
            f"{WHO}: MediaPipe's library does not load: {error}. On Debian and Ubuntu it needs: "
            "apt-get install libegl1 libgles2"
        ) from error
    return mediapipe


def open_landmarker(
    package: Any, model: Model, faces: int, detection: float, presence: float
) -> Any:
    """A `FaceLandmarker` for single images.

    Raises:
        InputError: the file is no face landmarker.
    """
    tasks = package.tasks

    class Silent(tasks.BaseOptions):
        """Options of a library that trusts no server, so that it sends none its reports."""

        def to_ctypes(self) -> Any:
            options = super().to_ctypes()
            options.ca_bundle_path = os.devnull.encode()
            return options

    if not model.path.stat().st_size:
        raise InputError(f"{WHO}: {model.path} is empty; expected a .task file, see {PAGE}.")
    try:
        options = tasks.vision.FaceLandmarkerOptions(
            base_options=Silent(model_asset_buffer=model.path.read_bytes()),
            num_faces=faces,
            min_face_detection_confidence=detection,
            min_face_presence_confidence=presence,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        with _without_notices():
            landmarker = tasks.vision.FaceLandmarker.create_from_options(options)
            blank = package.Image(package.ImageFormat.SRGB, np.zeros((64, 64, 3), np.uint8))
            landmarker.detect(blank)  # some parts say something when they are first used
    except Exception as error:  # one class per kind of status, with no base but Exception
        said = " ".join(str(error).split())[:300]
        raise InputError(
            f"{WHO}: {model.path} is no face landmarker: {said.rstrip('.')}. Expected the .task "
            f"file of {PAGE}."
        ) from None
    return landmarker


def _close(landmarker: Any, process: int) -> None:
    """Close a landmarker where it was opened; a fork has none of the threads that close it."""
    # when Python ends, it may have stopped the thread that would close it: nothing is left to do
    with contextlib.suppress(RuntimeError):
        if os.getpid() == process:
            landmarker.close()
    landmarker._handle = None  # or its own finaliser tries again, and raises or waits for ever


NOTICE = re.compile(rb"[IW]\d{4} |INFO: |WARNING: Logging before InitGoogle")


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
    """Keep MediaPipe's first notices, which no setting stops, from standard error.

    What else this process writes there meanwhile follows at the end.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            kept.seek(0)
            for line in kept:
                if not NOTICE.match(line):
                    os.write(2, line)

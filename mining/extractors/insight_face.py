"""InsightFace: SCRFD detection, ArcFace embedding, gender, age and landmarks, from ONNX files.

The files are run here and not by the package `insightface`: its wrappers take one image at a time
and may download. They agree (`tests/mining/extractors/test_insight_package.py`), but for faces
over twice the size of a crop, which are shrunk before they are aligned: the package skips pixels.

InsightFace's models are for non-commercial research only. They are never downloaded: put the
files of `buffalo_l` into a folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mining.extractors import arcface
from mining.extractors.base import (
    NO_FACE,
    NO_POSE,
    NOT_MEASURED,
    OK,
    SEVERAL_FACES,
    Column,
    Measurement,
    check_images,
    checked_name,
    empty_values,
)
from mining.extractors.crop_net import CropNet
from mining.extractors.crops import warped
from mining.extractors.insight_parts import DETECTOR, PARTS, box_alignment, fractions, model_in
from mining.extractors.models import Model, licences
from mining.extractors.onnx_session import PROVIDERS, Provider, gpu_model
from mining.extractors.scrfd import Scrfd
from schemas.errors import InputError
from schemas.registry import unknown

VERSION = "2"
DETECTED = {
    "box": Column((4,), "fraction of the image", "left, top, right, bottom of the face"),
    "score": Column((), "1", "the detector's score, from its threshold to 1"),
    "faces": Column((), "faces", "how many faces were found", "int32"),
}
POINTS = Column(
    (5, 2), "fraction of the image", "x, y of eyes, nose and mouth corners, left as seen first"
)
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """The faces of a batch, at most one for each image."""

    status: list[str]  # N
    rows: NDArray[np.intp]  # (M,) the images with a face
    points: Array  # (M, 5, 2) pixels, whole numbers at their middles
    boxes: Array  # (M, 4) pixels, from their edges; (0, 4) without a detector
    told: Mapping[str, NDArray]  # values of the rows


class InsightFace:
    """Finds faces with SCRFD and measures the largest one in each image.

    All faces of a batch go through each model in one run; images through the detector one by one,
    as det_10g.onnx takes no more, and together where a graph does. The number of faces in a run may
    change the last bit of a value: by a relative 1e-7 on a CPU.

    Args:
        models: a local folder with det_10g.onnx and the files of `parts`.
        parts: what is measured beside the box: "embedding" (w600k_r50.onnx), "gender_age"
            (genderage.onnx), "landmarks_106" (2d106det.onnx), "landmarks_68" (1k3d68.onnx).
        detect_size: pixels, the longer edge of the copy on which faces are looked for.
        threshold: of the detector's score, in (0, 1).
        source: an earlier extractor with a column `landmarks` (68 of iBUG, 468 or 478 of
            MediaPipe), by which faces are aligned instead of being looked for again; only for
            the embedding, since the other parts need the detector's box.
        provider: "cpu" or "cuda" (needs onnxruntime-gpu).
        name: of the extractor and its columns, so that two may stand in one dataset.

    Raises:
        InputError: an option is out of range, or a file is missing or is another model.
    """

    fingerprint_tells_all = True

    def __init__(
        self,
        models: str,
        parts: tuple[str, ...] = ("embedding", "gender_age"),
        detect_size: int = 640,
        threshold: float = 0.5,
        source: str | None = None,
        provider: Provider = "cpu",
        name: str = "insightface",
    ):
        self.name = checked_name(name)
        who = f"extractor {name!r}"
        check_parts(who, parts, source)
        if provider not in PROVIDERS:
            raise InputError(f"{who}: provider {provider!r} came; expected cpu or cuda.")
        folder = Path(models).expanduser()
        self.needs: tuple[str, ...] = () if source is None else (source,)
        self.reads = {} if source is None else {source: ("landmarks",)}
        self._who: str = who
        self._provider: Provider = provider
        self._parts = {kind: PARTS[kind] for kind in PARTS if kind in parts}
        self.models: tuple[Model, ...] = ()
        self._detector = None
        if source is None:
            self.models = (model_in(who, folder, DETECTOR),)
            self._detector = Scrfd(who, self.models[0], detect_size, float(threshold), provider)
        self._nets: dict[str, CropNet] = {}
        for kind, part in self._parts.items():
            model = model_in(who, folder, part.file)
            self.models += (model,)
            self._nets[kind] = CropNet(who, model, part.edge, part.width, part.half_range, provider)
        self.licence = licences(self.models)
        detection = (detect_size, float(threshold)) if source is None else None
        self._settings = (tuple(self._parts), detection, source, provider, name)
        self.columns = dict(DETECTED) if source is None else {}
        self.columns["landmarks_5"] = POINTS
        for part in self._parts.values():
            self.columns |= part.columns

    def fingerprint(self) -> str:
        """SHA-256 over the versions of code and runtime, settings, models and the GPU's kind."""
        import onnxruntime

        parts = [VERSION, onnxruntime.__version__, repr(self._settings)]
        parts += [model.sha256 for model in self.models]
        parts += gpu_model(self._who, self._provider)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def __call__(
        self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]
    ) -> Measurement:
        """images: (N, H, W, 3) RGB."""
        check_images(self.name, images)
        size = np.array(images.shape[2:0:-1], np.float64)
        if self._detector is not None:
            found = self._find(images, self._detector)
        else:
            found = self._read(earlier, size)
        values: dict[str, NDArray] = empty_values(self.columns, len(images))
        measured = dict(found.told)
        for name, part in self._parts.items():
            if part.aligned:
                matrices = arcface.alignment(found.points)
            else:
                matrices = box_alignment(found.boxes, part.edge)
            edges = (part.edge, part.edge)
            crops = [
                warped(images[row], matrix, edges)
                for row, matrix in zip(found.rows, matrices, strict=True)
            ]
            batch = np.stack(crops) if crops else np.empty((0, *edges, 3), np.uint8)
            measured |= part.read(self._who, self._nets[name](batch), matrices, size)
        for name, value in measured.items():
            values[name][found.rows] = value
        return Measurement(tuple(found.status), values)

    def _find(self, images: NDArray[np.uint8], detector: Scrfd) -> Found:
        """The largest face of each image."""
        every = detector(images)
        rows = np.array([row for row, faces in enumerate(every) if len(faces)], np.intp)
        picked = [(every[row], every[row].largest()) for row in rows]
        boxes = np.array([faces.boxes[k] for faces, k in picked]).reshape(-1, 4)
        points = np.array([faces.points[k] for faces, k in picked]).reshape(-1, 5, 2)
        size = np.array(images.shape[2:0:-1], np.float64)
        told = {
            "box": boxes / np.tile(size, 2),
            "score": np.array([faces.scores[k] for faces, k in picked]),
            "faces": np.array([len(faces) for faces, _ in picked], np.int32),
            "landmarks_5": fractions(points, size),
        }
        names = {0: NO_FACE, 1: OK}
        status = [names.get(len(faces), SEVERAL_FACES) for faces in every]
        return Found(status, rows, points, boxes, told)

    def _read(self, earlier: Mapping[str, Measurement], size: Array) -> Found:
        """The faces whose landmarks the source has."""
        (source,) = self.needs
        if "landmarks" not in earlier[source].values:
            raise InputError(
                f"{self._who}: {source!r} has no column 'landmarks'; name another source."
            )
        said = earlier[source]
        points = arcface.five_points(self._who, said.values["landmarks"])
        sound = np.isfinite(points).all(axis=(1, 2))
        sound &= np.ptp(np.where(np.isfinite(points), points, 0), axis=1).max(axis=1) > 0
        status = [
            (was if whole else NO_POSE) if there else NOT_MEASURED
            for was, there, whole in zip(said.status, said.measured(), sound, strict=True)
        ]
        rows = np.flatnonzero(said.measured() & sound)
        told = {"landmarks_5": points[rows]}
        # landmarks count pixels from their edges, the template from their middles
        return Found(status, rows, points[rows] * size - 0.5, np.empty((0, 4)), told)


def check_parts(who: str, parts: tuple[str, ...], source: str | None) -> None:
    """Raise InputError unless all are known and the source serves them."""
    for part in parts:
        if part not in PARTS:
            raise unknown(f"part of {who}", part, PARTS)
    if source is not None and set(parts) != {"embedding"}:
        raise InputError(
            f"{who}: parts {', '.join(parts) or 'none'} and source {source!r} came; landmarks of "
            "another extractor serve the embedding alone: set parts to [embedding], or leave out "
            "the source."
        )

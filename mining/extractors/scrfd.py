"""SCRFD: finds faces and five points on each, with InsightFace's ONNX models.

Source: Guo, Deng, Lattas, Zafeiriou (2021), Sample and Computation Redistribution for Efficient
Face Detection, arXiv:2105.04714. How InsightFace 2.1 reads the model's nine outputs: strides of
8, 16 and 32 pixels, two anchors at every (column, row) * stride, distances in strides, faces that
overlap by more than 0.4 are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.extractors.models import Model
from mining.extractors.onnx_session import Provider, open_session
from schemas.errors import InputError, RunError

STRIDES = (8, 16, 32)
ANCHORS = 2  # per place
WIDTHS = (1, 4, 10)  # a score; distances to left, top, right, bottom; shifts of five points
OVERLAP = 0.4
MOST_FACES = 4096  # candidates that are compared; a model that fires everywhere ends there
CHUNK = 16  # images in one run: 80 MB of input at 640 px
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Faces:
    """K faces of one image, the best score first, in pixels of that image."""

    boxes: Array  # (K, 4) left, top, right, bottom
    points: Array  # (K, 5, 2) the eyes, the nose, the corners of the mouth; left first, as seen
    scores: Array  # (K,)

    def __len__(self) -> int:
        return len(self.scores)

    def largest(self) -> int:
        """Which of the faces covers most of the image; of equals the one with the best score."""
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).T
        return int(np.argmax(width * height))


class Scrfd:
    """Finds faces on a copy of each image whose longer edge has `size` pixels.

    Args:
        who: the extractor, as messages name it.
        model: det_10g.onnx or another SCRFD with key points.
        size: pixels, a multiple of 32.
        threshold: of the score, in (0, 1).

    Raises:
        InputError: an option is out of range, or the file is no such model.
    """

    def __init__(self, who: str, model: Model, size: int, threshold: float, provider: Provider):
        if type(size) is not int or not 64 <= size <= 4096 or size % STRIDES[-1]:
            raise InputError(
                f"{who}: detect_size {size!r} came; expected a multiple of 32 from 64 to 4096 "
                "(640 is the default)."
            )
        if not 0 < threshold < 1:
            raise InputError(f"{who}: threshold {threshold} came; expected a number in (0, 1).")
        self._who, self._file, self._size, self._threshold = who, model.name, size, threshold
        self._session = open_session(who, model, provider)
        self._batches = check_signature(who, model, self._session, size)
        self._input = self._session.get_inputs()[0].name
        self._centres = [anchor_centres(size, stride) for stride in STRIDES]

    def __call__(self, images: NDArray[np.uint8]) -> list[Faces]:
        """images: (N, H, W, 3) RGB, 0..255."""
        step = CHUNK if self._batches else 1
        found: list[Faces] = []
        for start in range(0, len(images), step):
            found += self._chunk(images[start : start + step])
        return found

    def _chunk(self, images: NDArray[np.uint8]) -> list[Faces]:
        """As many images as go through the model at once."""
        blob = np.empty((len(images), 3, self._size, self._size), np.float32)
        scale = np.ones(2)
        for row, image in enumerate(images):
            copy, scale = letterbox(image, self._size)
            blob[row] = copy.transpose(2, 0, 1)
        blob -= 127.5
        blob *= 1 / 128
        outputs = self._session.run(None, {self._input: blob})
        levels = [self._level(outputs, k, len(images)) for k in range(len(STRIDES))]
        scores, boxes, points = (np.concatenate(part, axis=1) for part in zip(*levels, strict=True))
        boxes /= np.tile(scale, 2)
        points /= scale
        return [
            best(scores[row], boxes[row], points[row], self._threshold)
            for row in range(len(images))
        ]

    def _level(self, outputs: list[NDArray], level: int, count: int) -> tuple[Array, Array, Array]:
        """(N, A), (N, A, 4), (N, A, 5, 2) of one stride, in pixels of the copy."""
        centres, stride = self._centres[level], STRIDES[level]
        read = []
        for kind, width in enumerate(WIDTHS):
            output = outputs[level + len(STRIDES) * kind]
            if output.size != count * len(centres) * width:
                raise RunError(
                    f"{self._who}: {self._file} returned {output.shape} for stride {stride}; "
                    f"expected {count} x {len(centres)} rows of {width}."
                )
            read.append(output.reshape(count, len(centres), width).astype(np.float64))
        scores, sides, shifts = read
        signs = np.array([-1.0, -1.0, 1.0, 1.0])
        boxes = np.tile(centres, 2) + signs * sides * stride
        points = centres[:, None] + shifts.reshape(count, -1, 5, 2) * stride
        return scores[..., 0], boxes, points


def check_signature(who: str, model: Model, session: Any, size: int) -> bool:
    """Whether a model takes many images at once.

    Raises:
        InputError: it is no SCRFD with key points, or takes images of another size.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape = list(inputs[0].shape or []) if inputs else []
    widths = [(output.shape or [None])[-1] for output in outputs]
    wanted = [width for width in WIDTHS for _ in STRIDES]
    fits = len(inputs) == 1 and len(shape) == 4 and shape[1] in (3, None)
    fits = fits and inputs[0].type == "tensor(float)" and len(widths) == len(wanted)
    if not fits or any(
        isinstance(came, int) and came != width for came, width in zip(widths, wanted, strict=True)
    ):
        told = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in inputs[:3])
        raise InputError(
            f"{who}: {model.path} takes {told or 'nothing'} and has {len(outputs)} outputs of "
            f"widths {widths[:12]}; expected an SCRFD with key points: one float input "
            "(N, 3, H, W), and nine outputs: scores (1), boxes (4) and points (10) at strides "
            "8, 16 and 32."
        )
    fixed = [edge for edge in shape[2:] if isinstance(edge, int)]
    if any(edge != size for edge in fixed):
        raise InputError(
            f"{who}: {model.path} takes images of {shape[2]} x {shape[3]} pixels alone; "
            f"detect_size {size} came."
        )
    return not isinstance(shape[0], int)


def anchor_centres(size: int, stride: int) -> Array:
    """(A, 2) x, y in pixels of the copy, row by row, each place once for every anchor."""
    steps = np.arange(0, size, stride, dtype=np.float64)
    x, y = np.meshgrid(steps, steps)
    return np.repeat(np.column_stack([x.ravel(), y.ravel()]), ANCHORS, axis=0)


def letterbox(image: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], Array]:
    """The image as large as fits at the top left of a black square, and (2,) its x and y scale."""
    import cv2

    height, width = image.shape[:2]
    longer = max(height, width)
    # cut, not rounded, and bilinear at every scale, as InsightFace does: its models know no other
    small = max(1, int(width * size / longer)), max(1, int(height * size / longer))
    copy = np.zeros((size, size, 3), np.uint8)
    copy[: small[1], : small[0]] = cv2.resize(image, small, interpolation=cv2.INTER_LINEAR)
    return copy, np.array([small[0] / width, small[1] / height])


def best(scores: Array, boxes: Array, points: Array, threshold: float) -> Faces:
    """Of candidates that overlap by more than OVERLAP the one with the best score.

    Candidates without an area, or whose five points lie in one place, are none.
    """
    import cv2

    keep = np.flatnonzero(scores >= threshold)
    keep = keep[np.argsort(-scores[keep], kind="stable")][:MOST_FACES]
    edges = boxes[keep, 2:] - boxes[keep, :2]
    spread = np.ptp(points[keep], axis=1).max(axis=1)
    with np.errstate(invalid="ignore"):
        sound = (edges > 0).all(axis=1) & (spread > 0) & (np.abs(boxes[keep]) < 1e6).all(axis=1)
        sound &= np.isfinite(points[keep]).all(axis=(1, 2))
    keep, edges = keep[sound], edges[sound]
    if len(keep):
        rectangles = np.column_stack([boxes[keep, :2], edges])
        chosen = cv2.dnn.NMSBoxes(rectangles.tolist(), scores[keep].tolist(), 0.0, OVERLAP)
        keep = keep[np.asarray(chosen, int).ravel()]
    return Faces(boxes[keep], points[keep], scores[keep])

"""ArcFace's crops: a face brought onto a template of five points.

Source: Deng, Guo, Yang, Xue, Kotsia, Zafeiriou (2022), ArcFace, doi:10.1109/TPAMI.2021.3087709;
the template's numbers are those of InsightFace 2.1 (insightface/utils/face_align.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mining.extractors.crops import similarity
from schemas.errors import InputError, RunError

EDGE = 112  # pixels of the crop
WIDTH = 512  # numbers of the embedding
# pixels of the crop: the eyes, the tip of the nose, the corners of the mouth; left as seen first
TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
# how many landmarks: for each of the five points those that it is the mean of
FIVE = {
    68: (range(36, 42), range(42, 48), (30,), (48,), (54,)),  # iBUG
    # MediaPipe's mesh: the eyes' corners, for gaze moves the irises; the tip of the nose that lies
    # nearest to iBUG's (2 % of the distance between the eyes; the point 1 is 8 % below it)
    468: ((33, 133), (362, 263), (4,), (61,), (291,)),
    478: ((33, 133), (362, 263), (4,), (61,), (291,)),
}
Array = NDArray[np.float64]


def five_points(who: str, landmarks: NDArray) -> Array:
    """(N, 5, 2) of (N, K, 2 or 3) landmarks, K among FIVE.

    Raises:
        InputError: they are other landmarks.
    """
    if landmarks.ndim != 3 or landmarks.shape[1] not in FIVE or landmarks.shape[2] not in (2, 3):
        raise InputError(
            f"{who}: landmarks {landmarks.shape} came; expected (N, K, 2) with K of "
            f"{', '.join(map(str, FIVE))}."
        )
    flat = np.asarray(landmarks[..., :2], np.float64)
    groups = FIVE[landmarks.shape[1]]
    return np.stack([flat[:, list(group)].mean(axis=1) for group in groups], axis=1)


def alignment(points: Array) -> Array:
    """(N, 2, 3): pixels of the image -> pixels of the crop, from (N, 5, 2) pixels of the image."""
    return similarity(points, TEMPLATE)


def unit_length(who: str, raw: Array) -> Array:
    """(N, 512) embeddings divided by their lengths: their products are cosines.

    Raises:
        RunError: one has no length.
    """
    length = np.linalg.norm(raw, axis=1, keepdims=True)
    if not (np.isfinite(length) & (length > 0)).all():
        raise RunError(f"{who}: an embedding is zero or not finite; is the model file whole?")
    return raw / length

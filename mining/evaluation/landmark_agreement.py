"""How far apart two extractors put the same landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

NAN = float("nan")
FAR = 0.1  # mean landmark distance in eye distances from which a face counts as mistaken
# points of a set -> its two outer eye corners: iBUG, and MediaPipe's mesh with and without irises
EYE_CORNERS = {68: (36, 45), 468: (33, 263), 478: (33, 263)}


@dataclass(frozen=True)
class LandmarkComparison:
    """Two sets of as many landmarks; distances in parts of the first set's eye distance."""

    first: str
    second: str
    points: int
    size: str  # what a distance of 1 is
    rows: int
    only_first: int
    only_second: int
    mean: float
    median: float
    high: float  # 95th percentile
    far: float  # share of rows whose mean distance is above FAR


def landmark_distances(first: NDArray, second: NDArray) -> NDArray[np.float64]:
    """(N,) mean distance of the points over the first set's size, as `size_of` names it.

    The eye distance shrinks as a face turns, so the same error in pixels counts for more there.
    NaN where a face is missing or has no size.

    Args:
        first, second: (N, K, 2) in fractions of a square image, NaN where there is no face.

    Raises:
        InputError: the sets do not pair up.
    """
    if first.shape != second.shape or first.ndim != 3 or first.shape[2] != 2:
        raise InputError(
            f"agreement: landmarks {first.shape} and {second.shape} came; expected (N, K, 2) twice."
        )
    first, second = first.astype(np.float64), second.astype(np.float64)
    corners = EYE_CORNERS.get(first.shape[1])
    if corners is not None:
        across = first[:, corners[0]] - first[:, corners[1]]
    else:
        across = first.max(axis=1) - first.min(axis=1)
    size = np.linalg.norm(across, axis=1)
    apart = np.linalg.norm(first - second, axis=2).mean(axis=1)
    return np.divide(apart, size, out=np.full(len(apart), np.nan), where=size > 0)


def size_of(points: int) -> str:
    """What a distance of 1 is in sets of so many points."""
    return "outer eye corners" if points in EYE_CORNERS else "diagonal of the points' box"


def compare_landmarks(
    names: tuple[str, str],
    points: int,
    distances: NDArray,
    known: tuple[NDArray[np.bool_], NDArray[np.bool_]],
) -> LandmarkComparison:
    """What the distances of `landmark_distances` come to; `known` says who has landmarks where."""
    found = distances[np.isfinite(distances)].astype(np.float64)
    some = len(found) > 0
    median, high = np.percentile(found, (50, 95)) if some else (NAN, NAN)
    return LandmarkComparison(
        *names, points, size_of(points), len(found),
        only_first=int((known[0] & ~known[1]).sum()),
        only_second=int((known[1] & ~known[0]).sum()),
        mean=float(found.mean()) if some else NAN,
        median=float(median),
        high=float(high),
        far=float((found > FAR).mean()) if some else NAN,
    )  # fmt: skip

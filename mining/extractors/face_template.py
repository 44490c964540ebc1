"""A rigid average face: where the 68 iBUG landmarks lie on a neutral adult head, in millimetres.

Distances are near those of adults, between the landmarks that Farkas (1994), Anthropometry of the
Head and Face, 2nd edition, defines: biocular width 89, intercanthal width 33, nasal height 51,
mouth width 52, nasion to chin 117. Published means (women, men) for comparison: 94 and 98, 31 to
39 by population, 48 and 51, 52 and 56, 118 and 127 (table 9 of doi:10.1186/s40902-019-0191-7;
PMC9029890). Only proportions matter, since the pose's distance takes up the scale. Depths are our
own, tuned on no data.

Frame: origin at the nasion, x to the right of the image, y up, z towards the viewer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# one side (image left, x < 0) and the middle; the other side mirrors it
_JAW = [
    (-68, -6, -88),
    (-67.5, -24, -86),
    (-66, -42, -82),
    (-62, -60, -75),
    (-55, -77, -62),
    (-45, -92, -46),
    (-32, -105, -26),
    (-17, -114, -8),
    (0, -117, -1),
]
_BROW = [(-58, 10, -25), (-49, 18, -12), (-37.5, 21.5, -4), (-25, 20.5, 2), (-12, 16.5, 5)]
_BRIDGE = [(0, 0, 0), (0, -12, 7), (0, -24, 15), (0, -36, 24)]
_NOSE = [(-14.5, -46, 6), (-7.5, -49, 11), (0, -51, 13.5)]
_EYE = [
    (-44.5, -4, -22),
    (-36.5, 2, -13.5),
    (-26.5, 2, -11),
    (-16.5, -5.5, -11.5),
    (-26.5, -9, -12),
    (-36.5, -9, -14.5),
]
_LIPS_OUTER = [(-26, -73, -3), (-15.5, -67.5, 8), (-5.5, -64.5, 13), (0, -66, 14)]
_LIPS_OUTER_LOW = [(0, -84, 9), (-7, -83.5, 8.5), (-16, -80, 4)]
_LIPS_INNER = [(-22, -73, -1), (-7, -72, 8), (0, -72, 9)]
_LIPS_INNER_LOW = [(0, -73.5, 8), (-7, -73.5, 7)]


Point = tuple[float, float, float]


def _mirrored(points: Sequence[Point]) -> list[Point]:
    return [(-x, y, z) for x, y, z in reversed(points) if x != 0]


def _template() -> NDArray[np.float64]:
    eye_right = [_EYE[k] for k in (3, 2, 1, 0, 5, 4)]
    points: list[Point] = [
        *_JAW,
        *_mirrored(_JAW),
        *_BROW,
        *_mirrored(_BROW),
        *_BRIDGE,
        *_NOSE,
        *_mirrored(_NOSE),
        *_EYE,
        *[(-x, y, z) for x, y, z in eye_right],
        *_LIPS_OUTER,
        *_mirrored(_LIPS_OUTER),
        *_mirrored(_LIPS_OUTER_LOW),
        *_LIPS_OUTER_LOW,
        *_LIPS_INNER,
        *_mirrored(_LIPS_INNER),
        *_mirrored(_LIPS_INNER_LOW),
        *_LIPS_INNER_LOW,
    ]
    return np.array(points, np.float64)


TEMPLATE = _template()  # (68, 3) millimetres
# brows, nose and eye corners: what moves little with expression
RIGID = np.array([*range(17, 36), 36, 39, 42, 45])

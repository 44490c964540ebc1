"""The neutral head's sheet: a grid of rows (heights) and columns (azimuths), and its face lines.

The head's own frame is in millimetres: x to the image's right, y up, z towards the viewer, with
the origin between the eyes' height and the nose root, at the front plane of the face.

Distances are those of adults, measured between the landmarks of Farkas (1994), Anthropometry of
the Head and Face, 2nd edition, Raven Press. Template against published means (women, men), mm:
ex-ex 93 (94, 98), ch-ch 56 (52, 56), n-sn 48 (48, 51), sn-gn 70 (70, 76), after table 9 of
doi:10.1186/s40902-019-0191-7; en-en 36 lies within the means of 31 to 39 mm by population of
PMC9029890. The identity parameters vary all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from mining.generators.head.curves import Array, mix, smoothstep

# Horizontal sections from the throat to the crown: height at the front, half width, z of front,
# centre and back, rise of the jaw towards the ear, superellipse exponent (2 is an ellipse).
SECTIONS = np.array(
    [
        [-56.0, 30.0, -52.0, -72.0, -100.0, 0.000, 2.00],
        [-71.0, 39.0, -28.0, -64.0, -105.0, 0.015, 1.80],
        [-79.0, 47.5, -6.5, -56.0, -112.0, 0.058, 1.66],
        [-76.5, 51.0, -0.5, -56.0, -122.0, 0.055, 1.66],
        [-66.0, 55.2, 4.0, -57.0, -135.0, 0.036, 1.72],
        [-54.0, 58.4, 4.5, -58.0, -145.0, 0.020, 1.80],
        [-42.0, 61.3, 7.0, -58.0, -152.0, 0.010, 1.87],
        [-29.0, 63.5, 11.0, -60.0, -158.0, 0.003, 1.92],
        [-15.0, 66.0, 11.0, -62.0, -163.0, 0.000, 1.96],
        [0.0, 68.3, 9.0, -64.0, -168.0, 0.000, 2.00],
        [20.0, 70.3, 8.0, -66.0, -173.0, 0.000, 2.05],
        [40.0, 71.3, 9.0, -68.0, -177.0, 0.000, 2.10],
        [56.0, 71.8, 12.0, -70.0, -179.0, 0.000, 2.12],
        [75.0, 71.8, 11.0, -72.0, -179.0, 0.000, 2.14],
        [95.0, 68.6, 5.0, -74.0, -176.0, 0.000, 2.12],
        [112.0, 61.0, -7.0, -76.0, -168.0, 0.000, 2.10],
        [126.0, 48.5, -24.0, -78.0, -152.0, 0.000, 2.10],
        [136.0, 30.5, -46.0, -80.0, -125.0, 0.000, 2.00],
        [140.0, 12.0, -70.0, -82.0, -95.0, 0.000, 2.00],
        [140.5, 0.5, -81.5, -82.0, -82.5, 0.000, 2.00],
    ]
)
THROAT_ROWS = 8  # rows below the edge of the jaw
EYE_X, EYE_Y, EYE_HALF_WIDTH = 32.2, 37.0, 14.3  # 17.9 to 46.5: en-en 36, ex-ex 93
LID_UP, LID_DOWN = 7.3, 3.6  # the lids' height above and below the corners' line
MOUTH_Y, MOUTH_HALF_WIDTH, GAP_HALF_WIDTH = -28.6, 28.0, 24.6
MAX_AZIMUTH = np.pi * 0.80


@dataclass(frozen=True)
class Sheet:
    """The grid before any relief: (rows, columns) arrays in millimetres and radians."""

    x: Array
    y: Array
    z: Array
    azimuth: Array  # 0 at the front, positive to the image's right
    front: Array  # 1 on the face, 0 from the ears backwards

    @property
    def abs_x(self) -> Array:
        return np.abs(self.x)

    @property
    def side(self) -> Array:
        return np.sign(self.x)


def _resample(axis: Array, step: Array) -> Array:
    """Points along `axis` whose spacing follows `step`, both sampled finely."""
    count = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(axis)) / step[1:])])
    return np.interp(np.linspace(0.0, count[-1], int(count[-1]) + 1), count, axis)


def _section_positions() -> Array:
    """Where on the table of sections the rows lie: dense at the eyes and the mouth."""
    throat = np.linspace(0.0, 2.0, THROAT_ROWS, endpoint=False)
    fine = np.linspace(2.0, len(SECTIONS) - 1.0, 4000)
    height = PchipInterpolator(np.arange(len(SECTIONS)), SECTIONS[:, 0])(fine)
    knots = [-80, -45, -40, -20, -10, 25, 50, 66, 80, 141]
    spacing = np.interp(height, knots, [3.4, 2.3, 1.6, 1.6, 2.3, 2.1, 2.2, 2.6, 4.2, 6.8])
    count = np.cumsum(np.abs(np.diff(height)) / spacing[1:] + 0.0022)
    count = np.concatenate([[0.0], count])
    positions = np.interp(np.linspace(0.0, count[-1], int(count[-1]) + 2), count, fine)
    return np.concatenate([throat, positions])


def _azimuths() -> Array:
    fine = np.linspace(0.0, MAX_AZIMUTH, 4000)
    spacing = np.interp(fine, [0, 0.6, 0.85, 1.3, 2.6], [0.029, 0.032, 0.048, 0.075, 0.15])
    half = _resample(fine, spacing)
    return np.concatenate([-half[:0:-1], half])


def build_sheet() -> Sheet:
    """The smooth head without features: a superellipse per row."""
    table = PchipInterpolator(np.arange(len(SECTIONS)), SECTIONS)(_section_positions())
    height, width, front, centre, back, rise, exponent = (c[:, None] for c in table.T)
    azimuth = np.broadcast_to(_azimuths(), (len(table), len(_azimuths()))).copy()
    sine, cosine = np.sin(azimuth), np.cos(azimuth)
    across = np.sign(sine) * np.abs(sine) ** (2.0 / exponent)
    along = np.sign(cosine) * np.abs(cosine) ** (2.0 / exponent)
    z = np.where(along >= 0, mix(centre, front, along), centre + (centre - back) * along)
    y = height + rise * np.clip(front - z, 0.0, 62.0) ** 1.72
    return Sheet(width * across, y, z, azimuth, smoothstep(1.55, 1.15, np.abs(azimuth)))


def lid_curves(abs_x: Array, closed: Array | float, shape: float = 0.0) -> tuple[Array, Array]:
    """Heights of the upper and the lower lid over |x| for a closure from -0.1 (wide) to 1.

    Args:
        shape: -1 to 1, hooded to round.
    """
    t = np.clip((abs_x - EYE_X) / EYE_HALF_WIDTH, -1.0, 1.0)
    corner_line = EYE_Y + 0.45 * t
    arc = np.sqrt(np.maximum(1.0 - t * t, 0.0))
    arch = 0.45 * arc + 0.55 * arc * arc
    upper = (LID_UP + 0.6 * shape) * arch * (1.0 - 0.13 * t)
    lower = -LID_DOWN * arch * (1.0 + 0.10 * t)
    meet = 0.5 * lower
    lift = np.maximum(closed, 0.0) ** 2
    return corner_line + mix(upper, meet + 0.25, closed), corner_line + mix(lower, meet, lift)


def lip_curves(abs_x: Array) -> tuple[Array, Array, Array, Array]:
    """Heights over |x| of the four lip lines, from the top: outer, inner, inner, outer."""
    outer = np.clip(abs_x / MOUTH_HALF_WIDTH, 0.0, 1.0)
    arc = np.clip(1.0 - (abs_x / GAP_HALF_WIDTH) ** 2, 0.0, 1.0) ** 0.6
    cupid = 1.3 * np.exp(-((abs_x / 3.5) ** 2))
    top = MOUTH_Y + 8.9 * (1.0 - outer**2.0) ** 0.75 - cupid
    bottom = MOUTH_Y - 11.8 * (1.0 - outer**2.2) ** 0.72
    return top, MOUTH_Y + 2.7 * arc, MOUTH_Y - 2.9 * arc, bottom


def fold_x(y: Array) -> Array:
    """|x| of the nasolabial fold at height y."""
    return np.interp(y, [-44.0, -28.0, -10.0, 2.0, 8.0], [38.0, 35.0, 26.0, 19.0, 17.0])


# The left half of the iBUG 68 points (Sagonas et al. 2013, doi:10.1109/ICCVW.2013.59) on the
# template's front plane, each with its mirror index.
_HALF_LANDMARKS: dict[tuple[int, int], tuple[float, float]] = {
    (0, 16): (70.3, 38.0),
    (1, 15): (69.5, 19.5),
    (2, 14): (67.3, 0.5),
    (3, 13): (63.5, -18.5),
    (4, 12): (57.2, -37.0),
    (5, 11): (47.2, -52.5),
    (6, 10): (34.2, -65.0),
    (7, 9): (18.2, -73.8),
    (8, 8): (0.0, -77.0),
    (17, 26): (60.5, 50.0),
    (18, 25): (51.0, 58.0),
    (19, 24): (38.0, 62.0),
    (20, 23): (24.5, 61.0),
    (21, 22): (11.8, 57.0),
    (27, 27): (0.0, 41.0),
    (28, 28): (0.0, 30.5),
    (29, 29): (0.0, 19.5),
    (30, 30): (0.0, 8.5),
    (31, 35): (14.5, -3.0),
    (32, 34): (7.5, -5.0),
    (33, 33): (0.0, -6.8),
    (36, 45): (46.3, 37.3),
    (37, 44): (37.1, 0.0),
    (38, 43): (27.4, 0.0),
    (39, 42): (18.1, 36.6),
    (40, 47): (27.4, 0.0),
    (41, 46): (37.1, 0.0),
    (48, 54): (28.0, -28.5),
    (49, 53): (17.3, -22.3),
    (50, 52): (6.7, -19.2),
    (51, 51): (0.0, -20.7),
    (57, 57): (0.0, -40.3),
    (58, 56): (7.4, -39.7),
    (59, 55): (17.6, -36.7),
    (60, 64): (24.0, -28.7),
    (61, 63): (7.0, -25.6),
    (62, 62): (0.0, -26.0),
    (66, 66): (0.0, -31.5),
    (67, 65): (7.0, -31.0),
}
UPPER_LID_POINTS, LOWER_LID_POINTS = (37, 38, 43, 44), (40, 41, 46, 47)


def landmark_positions(closed: float) -> Array:
    """(68, 2) x, y of the landmarks on the template's front plane, lids at the given closure."""
    points = np.zeros((68, 2))
    for (left, right), (x, y) in _HALF_LANDMARKS.items():
        points[left] = -x, y
        points[right] = (x if left != right else 0.0), y
    upper, lower = lid_curves(np.abs(points[:, 0]), closed)
    for index in UPPER_LID_POINTS:
        points[index, 1] = upper[index]
    for index in LOWER_LID_POINTS:
        points[index, 1] = lower[index]
    return points

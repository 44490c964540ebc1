"""The neutral face's relief on the sheet: nose, sockets, cheeks, lips, chin."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from mining.generators.head.curves import Array, bell, hill, smoothstep
from mining.generators.head.template import (
    EYE_X,
    GAP_HALF_WIDTH,
    Sheet,
    fold_x,
    lip_curves,
)

# Smooth hills added to the depth: millimetres, centre |x| and y, half widths, power.
HILLS = (
    (2.2, (0.0, 6.5), (6.0, 4.5), 2.0),  # tip of the nose
    (8.5, (12.0, 0.3), (3.9, 5.0), 2.3),  # nostril wings
    (3.5, (13.0, 12.0), (7.0, 9.0), 2.0),  # sides of the nose
    (-4.5, (EYE_X - 1.2, 42.0), (15.0, 8.5), 2.0),  # eye sockets
    (-4.5, (15.3, 41.0), (6.0, 8.0), 2.0),  # inner eye corners
    (4.5, (EYE_X, 37.5), (11.0, 7.2), 2.0),  # eyeballs
    (4.0, (30.0, 56.0), (20.0, 6.5), 2.0),  # brow ridges
    (1.5, (0.0, 55.0), (8.0, 6.0), 2.0),  # between the brows
    (3.0, (0.0, 92.0), (36.0, 22.0), 2.0),  # forehead
    (3.5, (44.0, 13.0), (15.0, 12.0), 2.0),  # cheekbones
    (-2.5, (60.0, -20.0), (12.0, 20.0), 2.0),  # hollows before the jaw
    (-2.0, (66.0, 62.0), (10.0, 18.0), 2.0),  # temples
    (5.0, (0.0, -26.0), (22.0, 9.0), 2.4),  # the mouth's mound
    (-3.4, (0.0, -46.5), (17.0, 4.2), 2.0),  # furrow above the chin
    (5.0, (0.0, -63.0), (13.0, 9.0), 2.0),  # chin
    (-2.6, (29.7, -29.5), (5.0, 5.5), 2.0),  # mouth corners
)


def nose_ridge(sheet: Sheet) -> Array:
    """Depth of the nose's ridge over the face in millimetres."""
    heights = [-30, -14, -9.5, -6.5, -3, 0, 3, 7, 12, 20, 31, 41, 50, 60]
    depth = PchipInterpolator(
        heights, [0, 0.3, 2.5, 8, 17, 23, 26.5, 27.5, 25.5, 20.5, 13, 5.5, 1.5, 0]
    )
    width = PchipInterpolator(
        [-14, -6, 0, 8, 20, 32, 42, 56], [12, 10.5, 9.6, 8.6, 7.2, 6.2, 7.5, 10]
    )
    along = depth(np.clip(sheet.y, -30.0, 60.0))
    return along * bell(sheet.abs_x, 0.0, width(np.clip(sheet.y, -14.0, 56.0)), 2.2)


def lip_weight(sheet: Sheet) -> Array:
    """1 in the middle of the lips, 0 beyond the corners."""
    return bell(sheet.abs_x, 0.0, 17.0, 2.6)


def lip_gap(sheet: Sheet) -> Array:
    """1 between the inner lip lines, 0 outside."""
    _, upper, lower, _ = lip_curves(sheet.abs_x)
    inside = smoothstep(0.1, 0.6, upper - sheet.y) * smoothstep(0.1, 0.6, sheet.y - lower)
    return inside * (sheet.abs_x < GAP_HALF_WIDTH)


def neutral_depth(sheet: Sheet) -> Array:
    """(rows, columns) millimetres that the features stand out of the sheet."""
    x, y = sheet.abs_x, sheet.y
    depth = nose_ridge(sheet)
    for height, at, size, power in HILLS:
        depth = depth + height * hill(x, y, at, size, power)
    lips = lip_weight(sheet)
    depth += 3.6 * lips * bell(y, -23.4, 3.1) + 4.8 * lips * bell(y, -35.6, 3.6)
    depth -= 1.5 * hill(x, y, (0.0, -13.0), (2.6, 5.0)) * (y < 0)  # philtrum
    fold = smoothstep(-42.0, -28.0, y) * smoothstep(9.0, 0.0, y)
    return depth - 1.6 * bell(x, fold_x(y), 3.6) * fold

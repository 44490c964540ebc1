"""The expression shapes: how far each vertex moves per unit of each expression parameter."""

from __future__ import annotations

import numpy as np

from mining.generators.head.curves import Array, bell, hill, mix, smoothstep
from mining.generators.head.identity import Shapes, displacement
from mining.generators.head.relief import lip_gap, lip_weight
from mining.generators.head.template import GAP_HALF_WIDTH, MOUTH_Y, Sheet, lip_curves

JAW_DROP = 33.0  # millimetres that the lower lip sinks at mouth_open = 1
CORNER_SHARE = 0.18  # of which the mouth corners follow this share


def _gap_arc(sheet: Sheet) -> Array:
    """1 in the middle of the mouth, 0 at the corners, an ellipse between."""
    return np.sqrt(np.clip(1.0 - (sheet.abs_x / GAP_HALF_WIDTH) ** 2, 0.0, 1.0))


def lip_shift(
    sheet: Sheet,
    upper: Array,
    lower: Array,
    fade: tuple[float, float],
    jaw: Array | float = 0.0,
) -> Array:
    """Vertical shift `upper` at the upper and `lower` at the lower inner lip line.

    Above it fades to nothing over fade[0] mm, below it turns into the jaw's shift over fade[1]
    mm, and it is linear across the gap between the lips.
    """
    _, top, bottom, _ = lip_curves(sheet.abs_x)
    y = sheet.y
    above = upper * bell(np.maximum(y - top, 0.0), 0.0, fade[0])
    near = bell(np.maximum(bottom - y, 0.0), 0.0, fade[1])
    below = mix(jaw, lower, near)
    across = np.clip((top - y) / np.maximum(top - bottom, 0.6), 0.0, 1.0)
    return np.where(y >= top, above, np.where(y <= bottom, below, mix(upper, lower, across)))


def closed_lips(sheet: Sheet) -> Array:
    """(3, rows, columns) that shuts the template's slightly open mouth for the neutral face."""
    arc = _gap_arc(sheet)
    shift = lip_shift(sheet, -2.3 * arc, 2.6 * arc, (5.5, 6.5)) * (sheet.abs_x < 25.5)
    return displacement(sheet, dy=shift, dz=-4.5 * lip_gap(sheet) * arc)


def _mouth_open(sheet: Sheet) -> Array:
    x, y, arc = sheet.abs_x, sheet.y, _gap_arc(sheet)
    jaw = -JAW_DROP * (1 - 0.60 * smoothstep(14, 70, x)) * smoothstep(-20, -44, y)
    cheek = -JAW_DROP * CORNER_SHARE * bell(np.maximum(x - 25.0, 0.0), 0.0, 14.0)
    inside = x < GAP_HALF_WIDTH
    upper = np.where(inside, -JAW_DROP * CORNER_SHARE * (1 - arc) ** 1.5, cheek)
    lower = np.where(inside, -JAW_DROP * mix(CORNER_SHARE, 1.0, arc), cheek)
    middle = lip_shift(sheet, upper, lower, (14.0, 10.0), jaw)
    beside = np.where(
        y > MOUTH_Y, cheek * bell(y, MOUTH_Y, 14.0), mix(jaw, cheek, bell(y, MOUTH_Y, 12.0))
    )
    dz = -6.0 * smoothstep(-30, -60, y) - 9.0 * lip_gap(sheet) * arc
    reach = smoothstep(1.75, 1.2, np.abs(sheet.azimuth))
    # The jaw's edge thins out towards the ears, its drop must die out before the cut.
    return displacement(sheet, dy=np.where(inside, middle, beside) * reach, dz=dz, where=reach)


def _smile(sheet: Sheet) -> Array:
    x, y, arc = sheet.abs_x, sheet.y, _gap_arc(sheet)
    corner = hill(x, y, (27, MOUTH_Y), (13, 13))
    lips = lip_shift(sheet, 0.6 * arc, -1.2 * arc, (5.0, 6.0)) * (x < 25)
    cheek_up = 2.5 * hill(x, y, (40, 5), (15, 13))
    cheek_out = 4.5 * hill(x, y, (40, 4), (13, 11))
    dy = 9.0 * corner + cheek_up + lips
    return displacement(sheet, dx=sheet.side * 8.0 * corner, dy=dy, dz=cheek_out - 3.5 * corner)


def _brow_raise(sheet: Sheet) -> Array:
    y = sheet.y
    return displacement(sheet, dy=11.0 * bell(y, 60.0, np.where(y > 60.0, 20.0, 7.5)))


def _frown(sheet: Sheet) -> Array:
    x, y = sheet.abs_x, sheet.y
    down = 10.5 * hill(x, y, (14, 57), (13, 7.5)) + 3.5 * hill(x, y, (38, 57), (20, 6.5))
    inward = 6.0 * hill(x, y, (14, 56), (10, 8))
    bulge = 3.0 * hill(x, y, (0, 55), (9, 6)) + 2.0 * hill(x, y, (24, 52), (14, 5))
    return displacement(sheet, dx=-sheet.side * inward, dy=-down, dz=bulge)


def _pucker(sheet: Sheet) -> Array:
    x, y, lips = sheet.x, sheet.y, lip_weight(sheet)
    inward = x * 0.50 * hill(x, y, (0, -29), (26, 12), 3.0)
    fuller = 2.4 * lips * (bell(y, -20.0, 3.0) - bell(y, -40.5, 3.5))
    return displacement(sheet, dx=-inward, dy=fuller, dz=11.0 * hill(x, y, (0, -29), (16, 10)))


def expression_shapes(sheet: Sheet) -> Shapes:
    """The expressions that move vertices; lids and irises are drawn, see eyes.py."""
    return {
        "smile": _smile(sheet),
        "mouth_open": _mouth_open(sheet),
        "brow_raise": _brow_raise(sheet),
        "frown": _frown(sheet),
        "pucker": _pucker(sheet),
    }

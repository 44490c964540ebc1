"""The identity shapes: how far each vertex moves per unit of each identity parameter."""

from __future__ import annotations

import numpy as np

from mining.generators.head.curves import Array, bell, hill, smoothstep
from mining.generators.head.relief import lip_weight, nose_ridge
from mining.generators.head.template import EYE_X, Sheet

FACE_WIDTH = 0.08  # share that face_width = 1 adds to every width of the head

Shapes = dict[str, Array]  # name -> (3, rows, columns) millimetres per unit


def displacement(
    sheet: Sheet,
    dx: Array | float = 0.0,
    dy: Array | float = 0.0,
    dz: Array | float = 0.0,
    where: Array | float | None = None,
) -> Array:
    """(3, rows, columns) from its components, weighted by `where` (the face by default)."""
    weight = sheet.front if where is None else where
    return np.stack([np.broadcast_to(d * weight, sheet.x.shape) for d in (dx, dy, dz)])


def outline(sheet: Sheet) -> Shapes:
    """Width and length of the head, jaw, chin, forehead, cheeks."""
    x, y, ax, side = sheet.x, sheet.y, sheet.abs_x, sheet.side
    far = np.abs(sheet.azimuth)
    jaw, chin = smoothstep(10, -45, y), smoothstep(-48, -72, y)
    chin_x = x * 0.17 * chin * smoothstep(60, 30, ax)
    cheek_x = side * 6.3 * hill(ax, y, (58, -30), (16, 24))
    return {
        "face_width": displacement(sheet, dx=x * FACE_WIDTH, where=1.0),
        "face_length": displacement(sheet, dy=-8 * smoothstep(5, -65, y), where=1.0),
        "jaw_width": displacement(
            sheet, dx=x * 0.135 * jaw * (1 - 0.5 * smoothstep(-60, -78, y)), where=1.0
        ),
        "chin_width": displacement(
            sheet, chin_x, -3.0 * chin * smoothstep(5, 25, ax), where=smoothstep(1.7, 1.2, far)
        ),
        "chin_projection": displacement(sheet, dz=7 * hill(x, y, (0, -68), (18, 13))),
        "forehead_height": displacement(sheet, dy=11 * smoothstep(62, 115, y), where=1.0),
        "cheekbone": displacement(
            sheet,
            dx=side * 3.6 * hill(ax, y, (54, 14), (16, 13)),
            dz=4.0 * hill(ax, y, (46, 14), (14, 11)),
        ),
        "cheek_fat": displacement(
            sheet,
            dx=cheek_x,
            dz=5.8 * hill(ax, y, (44, -22), (16, 18)),
            where=smoothstep(1.9, 1.3, far),
        ),
    }


def nose(sheet: Sheet) -> Shapes:
    """Length, width, height, tip and bridge of the nose."""
    x, y = sheet.x, sheet.y
    tip_up = 3.6 * hill(x, y, (0, 4), (9, 7))
    return {
        "nose_length": displacement(sheet, dy=-3.9 * hill(x, y, (0, -1), (22, 13))),
        "nose_width": displacement(sheet, dx=x * 0.31 * hill(x, y, (0, 0), (17, 11))),
        "nose_height": displacement(sheet, dz=0.24 * nose_ridge(sheet)),
        "nose_tip": displacement(sheet, dy=tip_up, dz=1.5 * hill(x, y, (0, 6), (9, 6))),
        "nose_bridge": displacement(sheet, dz=4.2 * hill(x, y, (0, 26), (8, 11))),
    }


def eyes_and_brows(sheet: Sheet) -> Shapes:
    """Spacing, size, slant and depth of the eyes; height and ridge of the brows."""
    x, y, side = sheet.abs_x, sheet.y, sheet.side
    outward = x - EYE_X
    lid = hill(x, y, (EYE_X, 37.5), (15, 10), 3.0)
    return {
        "eye_spacing": displacement(sheet, dx=side * 3.3 * hill(x, y, (EYE_X, 39), (15, 13))),
        "eye_size": displacement(sheet, dx=outward * side * 0.13 * lid, dy=(y - 37.5) * 0.22 * lid),
        "eye_slant": displacement(sheet, dy=0.23 * outward * hill(x, y, (EYE_X, 40), (15, 12))),
        "eye_depth": displacement(sheet, dz=-4.6 * hill(x, y, (31, 41), (16, 9))),
        "brow_height": displacement(sheet, dy=2.4 * hill(x, y, (34, 57), (34, 8))),
        "brow_ridge": displacement(sheet, dz=4.6 * hill(x, y, (30, 56), (22, 6))),
    }


def mouth(sheet: Sheet) -> Shapes:
    """Width and height of the mouth, fullness of the lips."""
    x, y, lips = sheet.x, sheet.y, lip_weight(sheet)
    return {
        "mouth_width": displacement(sheet, dx=x * 0.14 * hill(x, y, (0, -29), (27, 11), 3.0)),
        "lip_upper": displacement(
            sheet, dy=2.3 * lips * bell(y, -20.5, 3.0), dz=1.6 * lips * bell(y, -23.0, 3.0)
        ),
        "lip_lower": displacement(
            sheet, dy=-2.6 * lips * bell(y, -40.0, 3.5), dz=2.0 * lips * bell(y, -36.0, 3.5)
        ),
        "mouth_height": displacement(sheet, dy=-3.5 * hill(x, y, (0, -30), (36, 14), 2.5)),
    }


def asymmetry(sheet: Sheet) -> Shapes:
    """What makes the two halves of a face differ: a bent nose, a tilted mouth, uneven brows."""
    x, y = sheet.x, sheet.y
    tip = hill(x, y, (0, 4), (16, 14))
    lower = smoothstep(0, -60, y)
    tilt = np.clip(x / 28.0, -1.6, 1.6) * hill(x, y, (0, -30), (34, 14), 2.5)
    brow = np.tanh(x / 14.0) * hill(sheet.abs_x, y, (34, 52), (30, 17))
    return {
        "nose_bend": displacement(sheet, dx=1.8 * tip + 1.0 * lower),
        "mouth_tilt": displacement(sheet, dx=0.8 * lower, dy=0.9 * tilt),
        "brow_tilt": displacement(sheet, dy=0.7 * brow),
    }


def identity_shapes(sheet: Sheet) -> Shapes:
    """Every identity shape by parameter name; `lid_shape` is drawn, it moves no vertex."""
    return {
        **outline(sheet),
        **nose(sheet),
        **eyes_and_brows(sheet),
        **mouth(sheet),
        **asymmetry(sheet),
    }

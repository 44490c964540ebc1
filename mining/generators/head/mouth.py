"""The inside of the mouth, drawn between the inner lip lines: dark, tongue and upper teeth."""

from __future__ import annotations

import numpy as np

from mining.generators.head.curves import Array, fade, mix, smoothstep
from mining.generators.head.expression import JAW_DROP
from mining.generators.head.palette import linear
from mining.generators.head.template import lip_curves

DARK, TONGUE, TEETH = linear(52, 18, 18), linear(150, 72, 70), linear(226, 218, 204)
TOOTH_HEIGHT, TOOTH_WIDTH = 6.5, 7.8  # millimetres


def draw_mouth(colour: Array, x: Array, y: Array, gap: Array, values: dict[str, float]) -> None:
    """Paint the mouth's inside onto (3, F) colour where `gap` (F,) is open."""
    inside = np.flatnonzero(gap > 0.01)
    if not len(inside):
        return
    abs_x = np.abs(x[inside])
    _, top, bottom, _ = lip_curves(abs_x)
    share = np.clip((top - y[inside]) / np.maximum(top - bottom, 0.5), 0, 1)  # 0 at the upper lip
    opening = JAW_DROP * values["mouth_open"] + 1.8 * max(values["smile"], 0.0) + 0.6  # mm
    local = opening * np.sqrt(np.clip(1 - (abs_x / 25.1) ** 2, 0.02, 1))
    below = share * local  # mm below the upper lip

    painted = DARK[:, None] * (1 - 0.3 * share)
    tongue = smoothstep(0.60, 0.85, share) * smoothstep(14, 8, abs_x)
    painted = mix(painted, TONGUE[:, None], tongue * fade(5, 14, opening))
    shown = smoothstep(TOOTH_HEIGHT + 0.4, TOOTH_HEIGHT - 0.4, below) * smoothstep(20, 15, abs_x)
    shown *= fade(1.2, 2.5, opening) * smoothstep(0.2, 0.8, below)
    shown *= smoothstep(-0.1, 0.35, below / np.maximum(local, 0.1))
    between = (np.mod(abs_x + TOOTH_WIDTH / 2, TOOTH_WIDTH) - TOOTH_WIDTH / 2) / 0.45
    enamel = TEETH[:, None] * (1 - 0.13 * np.exp(-between * between)) * (1 - 0.02 * abs_x)
    painted = mix(painted, enamel, shown)
    colour[:, inside] = mix(colour[:, inside], painted, gap[inside])

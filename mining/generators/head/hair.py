"""Hair: where it grows on the head's sheet, its styles, and the shade of its strands.

Style is continuous: `hair_length` goes from a crop with faded sides over a bob to long hair,
`hair_fringe` lets it fall over the forehead, `hair_parting` sweeps it from a parting on one side,
`hair_curl` turns strands into curls, `hairline` lets it recede at the temples and on top.
"""

from __future__ import annotations

import numpy as np

from mining.generators.head import palette
from mining.generators.head.curves import Array, bell, fade, mix, smoothstep


def _front(x: Array, masks: dict[str, Array], values: dict[str, float]) -> Array:
    """Millimetres inside the hairline over the forehead, by style."""
    abs_x = np.abs(x)
    part, fringe = values["hair_parting"], values["hair_fringe"]
    drop = 21.0 * fringe**1.5 * bell(abs_x, 0.0, 46.0, 4.0)
    sweep = 7.0 * part * np.tanh(x / 20.0) * (0.4 + fringe)
    notch = 10.0 * abs(part) * fringe * bell(x, -20.0 * part, 9.0)
    recede = values["hairline"] * (7.0 + 17.0 * bell(abs_x, 42.0, 15.0))
    return masks["hair_front"] + drop - sweep - notch - recede


def strand_shade(strands: Array, curls: Array, curl: float) -> Array:
    """Brightness of single strands or curls around 1."""
    return np.clip(1 + (1 - 0.5 * curl) * 0.24 * strands + 0.24 * curl * curls, 0.35, 1.9)


def smooth_maximum(a: Array, b: Array, rounding: float) -> Array:
    """The larger of two distances, with the corner where they meet rounded off."""
    return np.maximum(a, b) + rounding * np.exp(-np.abs(a - b) / rounding) * 0.5


def draw_scalp_hair(
    colour: Array, x: Array, azimuth: Array, masks: dict[str, Array], values: dict[str, float]
) -> Array:
    """Paint the hair onto (3, F) colour; returns its (F,) opacity."""
    length, part = values["hair_length"], values["hair_parting"]
    long = fade(0.25, 0.6, length)
    side = masks["hair_side"] + 6.0 * long
    inside = smoothstep(-4, 5, smooth_maximum(_front(x, masks, values), side, 9.0))
    sides = mix(0.70, 1.0, fade(0.05, 0.3, length))
    low = smoothstep(1.15, 1.4, np.abs(azimuth)) * smoothstep(8, -14, masks["hair_front"])
    opacity = inside * (1 - (1 - sides) * low)
    shade = strand_shade(
        masks["strands"] + 0.3 * masks["fine"], masks["curls"], values["hair_curl"]
    )
    line = bell(x, -20.0 * part, 0.9) * smoothstep(3, 12, masks["hair_front"])
    line *= fade(0.25, 0.7, abs(part)) * (np.abs(azimuth) < 1.0)
    opacity = opacity * (1 - 0.28 * line)
    for channel, new in zip(colour, palette.hair_colour(values), strict=True):
        channel += (new * shade - channel) * opacity
    return opacity


def shell_colours(height: Array, azimuth: Array, values: dict[str, float]) -> Array:
    """(3, F) albedo of the hair behind the face.

    Args:
        height: millimetres in the head's own frame.
        azimuth: radians around the head.
    """
    phase = 46.0 * azimuth + 0.03 * height
    strands = 1.1 * np.sin(phase + 1.7 * np.sin(11.0 * azimuth)) * np.sin(0.37 * phase + 1.0)
    bend = 1.6 * np.sin(7.0 * azimuth + 0.05 * height) + 1.1 * np.sin(
        17.0 * azimuth - 0.09 * height
    )
    shade = strand_shade(strands, np.sin(0.42 * height + 2.0 * bend), values["hair_curl"])
    depth = mix(0.80, 1.0, smoothstep(-160.0, 60.0, height))
    return palette.hair_colour(values)[:, None] * (shade * depth)

"""Colour of the head's own sheet: skin, lips, brows, beard, wrinkles, then mouth, hair and eyes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mining.generators.head import palette
from mining.generators.head.curves import Array, fade, mix, smoothstep
from mining.generators.head.eyes import draw_eyes
from mining.generators.head.hair import draw_scalp_hair
from mining.generators.head.mouth import draw_mouth

Masks = dict[str, Array]


@dataclass(frozen=True)
class Skin:
    """The head's visible pixels, F of them, on the template."""

    x: Array  # (F,) template millimetres
    y: Array
    azimuth: Array
    masks: Masks  # (F,) each, from the atlas


def tint(colour: Array, amount: Array, strength: tuple[float, float, float]) -> None:
    """Darken (3, F) colour in place by amount * strength per channel."""
    for channel, share in zip(colour, strength, strict=True):
        channel *= 1.0 - np.float32(share) * amount


def blend(colour: Array, other: Array, share: Array) -> None:
    """Lay `other`, (3,) or (3, F), over (3, F) colour in place; share (F,) is its opacity."""
    for channel, new in zip(colour, other, strict=True):
        channel += (new - channel) * share


def head_colours(skin: Skin, values: dict[str, float]) -> tuple[Array, Array]:
    """(3, F) albedo and (F,) specular strength of the head's pixels."""
    m = skin.masks
    base = palette.skin_colour(values)
    colour = base[:, None] * (1 + 0.045 * m["coarse"] + 0.02 * m["fine"])
    gloss = 0.14 + 0.22 * m["lips"]
    _complexion(colour, m, values)
    _folds(colour, m, values)
    blend(
        colour, palette.lip_colour(values, base)[:, None] * (1 + 0.06 * m["fine"]), 0.88 * m["lips"]
    )
    _brows_and_beard(colour, m, values, base)
    tint(colour, m["nostrils"], (0.82, 0.85, 0.85))
    draw_mouth(colour, skin.x, skin.y, m["gap"], values)
    hair = draw_scalp_hair(colour, skin.x, skin.azimuth, m, values)
    gloss = gloss * (1 - 0.85 * m["gap"]) - 0.10 * hair - 0.08 * m["beard"] * values["beard"]
    draw_eyes(colour, gloss, skin.x, skin.y, skin.azimuth, m["fine"], values)
    return colour, gloss


def _complexion(colour: Array, m: Masks, values: dict[str, float]) -> None:
    red = 1 + 0.6 * values["make_up"] + 0.3 * values["skin_red"]
    tint(colour, m["blush"], (0.0, 0.16 * red, 0.13))
    spots = 0.5 * values["freckles"] * fade(0.3, 0.9, values["skin_tone"])
    tint(colour, m["freckles"], (0.6 * spots, spots, 1.15 * spots))
    tint(colour, np.clip(m["coarse"], 0, 2), (0.02 * values["age"], 0.05 * values["age"], 0.05))


def _folds(colour: Array, m: Masks, values: dict[str, float]) -> None:
    wrinkled = 0.02 + 0.46 * values["wrinkles"] + 0.14 * values["age"] ** 2
    shade = wrinkled * np.clip(m["wrinkles"], 0, 1.1)
    shade += 0.22 * max(values["smile"], 0.0) * m["smile_fold"]
    shade += 0.50 * max(values["frown"], 0.0) * m["frown_lines"]
    shade += (0.08 + 0.20 * values["age"]) * m["bags"]
    tint(colour, np.clip(shade, 0, 0.8), (0.92, 1.0, 1.0))


def _brows_and_beard(colour: Array, m: Masks, values: dict[str, float], base: Array) -> None:
    wide = 0.95 + 0.75 * values["brow_thickness"]
    edge = np.abs(m["brow"]) / wide - 0.45 + 0.2 * m["fine"]
    shape = smoothstep(1.3, -0.3, edge) * m["brow_reach"]
    brow = palette.brow_colour(values, base)
    blend(
        colour,
        brow[:, None] * (1 + 0.15 * m["strands"]),
        shape * (0.74 + 0.26 * values["brow_dark"]),
    )
    beard = mix(palette.hair_colour(values), palette.HAIR[1], 0.3 * (1 - 0.8 * values["grey"]))
    blend(colour, beard[:, None] * (1 + 0.2 * m["fine"]), 0.88 * values["beard"] * m["beard"])

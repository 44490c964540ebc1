"""Colours in linear light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float32]  # (3,) linear RGB


def linear(*rgb: float) -> Colour:
    """Linear light of an 8-bit RGB colour, with gamma 2.2."""
    return ((np.array(rgb) / 255.0) ** 2.2).astype(np.float32)


def _table(*colours: tuple[float, float, float]) -> NDArray[np.float32]:
    return np.stack([linear(*c) for c in colours])


SKIN = _table(
    (106, 72, 56), (137, 95, 73), (166, 121, 96), (204, 158, 132), (222, 180, 157), (232, 196, 176)
)
HAIR = _table((20, 16, 15), (46, 31, 24), (86, 58, 38), (150, 108, 66), (205, 170, 120))
IRIS = _table((46, 26, 16), (92, 58, 30), (104, 100, 60), (92, 124, 150))
GREY_HAIR = linear(158, 157, 158)


def ramp(table: NDArray[np.float32], amount: float) -> Colour:
    """The table's colour at amount in 0..1, geometric between its entries."""
    position = min(max(amount, 0.0), 1.0) * (len(table) - 1)
    index = min(int(position), len(table) - 2)
    share = position - index
    colour = np.log(table[index]) * (1.0 - share) + np.log(table[index + 1]) * share
    return np.exp(colour).astype(np.float32)


def skin_colour(values: dict[str, float]) -> Colour:
    """The skin's albedo from skin_tone and skin_red."""
    red = values["skin_red"]
    tint = np.array([1 + 0.10 * red, 1 - 0.05 * red, 1 - 0.08 * red], np.float32)
    return ramp(SKIN, values["skin_tone"]) * tint


def hair_colour(values: dict[str, float]) -> Colour:
    """The hair's albedo from hair_dark, hair_red and grey."""
    red = values["hair_red"]
    tint = np.array([1 + 0.5 * red, 1.0, 1 - 0.3 * red], np.float32)
    colour = ramp(HAIR, 1.0 - values["hair_dark"]) * tint
    grey = 0.88 * values["grey"] ** 1.5
    return (colour * (1 - grey) + GREY_HAIR * grey).astype(np.float32)


def brow_colour(values: dict[str, float], skin: Colour) -> Colour:
    """Between the hair's colour and near black, always darker than the skin."""
    dark = 0.40 + 0.45 * values["brow_dark"]
    brow = np.minimum(hair_colour(values), skin * 0.55) * (1 - dark) + HAIR[0] * dark
    return brow.astype(np.float32)


def lip_colour(values: dict[str, float], skin: Colour) -> Colour:
    """From the skin's own red to lipstick."""
    natural = skin * np.array([0.88, 0.56, 0.56], np.float32)
    lipstick = linear(186, 52, 66) * (0.40 + 0.60 * values["skin_tone"])
    share = min(0.18 + 0.35 * values["lip_red"] + 0.35 * values["make_up"], 1.0)
    return (natural * (1 - share) + lipstick * share).astype(np.float32)


def cloth_colour(values: dict[str, float]) -> Colour:
    """The garment's albedo."""
    t = values["clothing"]
    return linear(40 + 150 * t, 60 + 60 * np.sin(5 * t) ** 2, 110 - 60 * t)


def background_colour(values: dict[str, float]) -> Colour:
    """The backdrop's radiance from background_hue and background_value."""
    value = 0.06 + 0.62 * values["background_value"] ** 1.5
    hue = 2.0 * np.pi * values["background_hue"]
    wheel = 1.0 + 0.28 * np.cos(hue + np.array([0.0, 2.1, 4.2]))
    return (value * wheel).astype(np.float32)

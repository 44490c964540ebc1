"""Masks painted once on the sheet and looked up per pixel: lips, brows, beard, wrinkles, noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mining.generators.head.curves import Array, fractal_noise, hill, mix, smoothstep
from mining.generators.head.model import hairline, head_model
from mining.generators.head.template import (
    EYE_X,
    GAP_HALF_WIDTH,
    MOUTH_HALF_WIDTH,
    THROAT_ROWS,
    fold_x,
    lip_curves,
)

FINENESS = 3  # texels per grid cell
_WIDTH = 1024  # pixel lists are reshaped to this width for cv2.remap


@dataclass(frozen=True)
class Canvas:
    """Template coordinates of every texel, and the noise fields used by several masks."""

    x: Array
    y: Array
    azimuth: Array
    front: Array
    coarse: Array  # blotches, some 20 mm
    fine: Array  # grain, some 3 mm
    middle: Array

    @property
    def abs_x(self) -> Array:
        return np.abs(self.x)


def _canvas() -> Canvas:
    sheet = head_model().sheet
    rows, columns = sheet.x.shape
    shape = (rows * FINENESS, columns * FINENESS)
    rng = np.random.default_rng(7)

    def enlarge(field: Array) -> Array:
        return cv2.resize(field.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)

    fields = (enlarge(f) for f in (sheet.x, sheet.y, sheet.azimuth, sheet.front))
    noises = (
        fractal_noise(shape, rng, octaves, cells) for octaves, cells in ((6, 6), (4, 40), (3, 24))
    )
    return Canvas(*fields, *noises)


def _lips(c: Canvas) -> dict[str, Array]:
    top, inner_top, inner_bottom, bottom = lip_curves(c.abs_x)
    depth = np.minimum(top - c.y, c.y - bottom)
    red = smoothstep(-0.55, 0.55, depth) * (c.abs_x < MOUTH_HALF_WIDTH) * c.front
    gap = smoothstep(-0.25, 0.25, np.minimum(inner_top - c.y, c.y - inner_bottom))
    return {
        "lips": red * (1 - 0.35 * smoothstep(0.5, -1.5, depth)),
        "gap": gap * (c.abs_x < GAP_HALF_WIDTH) * c.front,
    }


def _brows(c: Canvas) -> dict[str, Array]:
    knots = [9, 12, 24.5, 38, 51, 60.5, 64]
    line = np.interp(c.abs_x, knots, [54.5, 55.5, 59.3, 61, 57.3, 50.6, 47.5])
    half = np.interp(c.abs_x, knots, [1.5, 3.0, 3.6, 3.3, 2.5, 1.1, 0.2])
    return {
        "brow": np.clip((c.y - line) / half, -9, 9),  # distance in half widths
        "brow_reach": smoothstep(7, 13, c.abs_x) * smoothstep(64, 50, c.abs_x) * c.front,
    }


def _hair(c: Canvas) -> dict[str, Array]:
    """Signed distances to the hairline in mm, positive inside the hair, and strand noise."""
    rng = np.random.default_rng(13)
    temple = (np.abs(c.azimuth) + 0.02 * c.middle - 1.29) * 60.0
    burns = (c.y - 4.0 + 3.0 * c.middle) * 0.45
    waves = fractal_noise(c.x.shape, rng, 2, 12, (0.8, 1.4))
    return {
        "hair_front": c.y - hairline(c.abs_x) - 1.6 * c.middle,
        "hair_side": np.minimum(temple, burns),
        "strands": fractal_noise(c.x.shape, rng, 4, 6, (1, 14)),
        "curls": np.sin(3.2 * waves + 0.5 * c.y + 0.15 * c.abs_x) * (0.7 + 0.3 * c.middle),
    }


def _beard(c: Canvas, lips: Array, gap: Array) -> Array:
    """Where a beard grows, 0 to 1, thin at its edges."""
    x, y = c.abs_x, c.y + 1.2 * c.middle
    jaw = smoothstep(-4, -34, y) * smoothstep(26, 52, x)
    chin = smoothstep(-42, -50, y)
    moustache = smoothstep(-8.5, -13, y) * smoothstep(-24, -20, y) * smoothstep(31, 25, x)
    join = smoothstep(22, 29, x) * smoothstep(44, 34, x) * smoothstep(-12, -20, y)
    patch = 0.7 * smoothstep(9, 5, x) * smoothstep(-38, -41, y)
    burns = 0.8 * smoothstep(1.0, 1.25, np.abs(c.azimuth)) * smoothstep(25, 0, y)
    parts = (jaw, chin, 0.95 * moustache, join, patch, burns)
    bare = np.ones_like(x)
    for part in parts:
        bare = bare * (1 - part)
    density = np.clip(0.82 + 0.13 * c.fine + 0.10 * c.coarse, 0.45, 1)
    return (1 - bare) * density * (1 - np.clip(2 * lips, 0, 1)) * (1 - gap)


def _wrinkles(c: Canvas) -> dict[str, Array]:
    """Lines of old age, folds of a smile, and lines of a frown."""
    x, y = c.abs_x, c.y
    fold_reach = smoothstep(-44, -30, y) * smoothstep(9, 0, y)
    lines = np.exp(-(((x - fold_x(y)) / 1.6) ** 2)) * fold_reach
    for number, height in enumerate((72, 80, 88)):
        wave = 1.5 * np.sin(c.x / 13.0 + number) + 0.6 * c.middle
        lines += 0.75 * np.exp(-((y - height - wave) ** 2)) * smoothstep(46, 28, x)
    for slope in (-0.45, -0.05, 0.35):
        crow = np.exp(-(((y - 37.5 - slope * (x - 49)) / 0.8) ** 2))
        lines += 0.7 * crow * smoothstep(49, 52, x) * smoothstep(62, 56, x)
    under = 30.0 - 5.0 * np.sqrt(np.clip(1 - ((x - EYE_X + 1) / 15.0) ** 2, 0, 1))
    lines += 0.8 * np.exp(-(((y - under) / 1.2) ** 2)) * smoothstep(15, 12, np.abs(x - EYE_X + 1))
    glabella = np.exp(-(((x - 5.0) / 1.3) ** 2)) * smoothstep(48, 52, y) * smoothstep(70, 60, y)
    root = np.exp(-(((y - 46.5) / 1.4) ** 2)) * smoothstep(9, 6, x)
    smile_reach = smoothstep(-36, -20, y) * smoothstep(9, 0, y)
    return {
        "wrinkles": lines + 0.4 * glabella,
        "smile_fold": np.exp(-(((x - fold_x(y)) / 2.2) ** 2)) * smile_reach,
        "frown_lines": glabella + 0.7 * root,
    }


def _skin(c: Canvas) -> dict[str, Array]:
    """Redness, freckles, eye bags, nostrils, and the shade of crevices."""
    x, y = c.abs_x, c.y
    blush = hill(x, y, (42, 8), (13, 11)) + 0.7 * hill(x, y, (0, 5), (11, 9))
    blush = blush + 0.35 * hill(x, y, (0, -66), (14, 9))
    fold = np.exp(-(((x - fold_x(y)) / 3.0) ** 2)) * smoothstep(-42, -28, y) * smoothstep(9, 0, y)
    dark = (
        0.30 * hill(x, y, (16.0, 40), (6, 8))
        + 0.12 * hill(x, y, (31, 46.5), (14, 4.5))
        + 0.10 * hill(x, y, (0, -8.5), (12, 2.4))
        + 0.25 * hill(x, y, (17.5, 0), (2.2, 6))
        + 0.24 * hill(x, y, (0, -46), (14, 4))
        + 0.30 * hill(x, y, (MOUTH_HALF_WIDTH, -28.8), (3.2, 2.6))
        + 0.12 * hill(x, y, (31, 29), (12, 3.5))
        + 0.10 * fold
    )
    spots = fractal_noise(x.shape, np.random.default_rng(19), 1, 80)
    throat = np.zeros_like(x)
    throat[: (THROAT_ROWS - 1) * FINENESS] = 1.0
    return {
        "blush": blush,
        "freckles": smoothstep(1.3, 2.0, spots) * np.clip(blush * 1.2 + 0.15, 0, 1),
        "bags": hill(x, y, (31, 29), (11, 4)),
        "nostrils": hill(x, y, (6.6, -4.2), (2.9, 1.6), 2.4) * c.front,
        "open": np.clip(1 - dark, 0.3, 1) * mix(1.0, 0.62, throat),
        "coarse": c.coarse,
        "fine": c.fine,
    }


class Atlas:
    """The masks, packed by fours because cv2.remap reads four channels at once."""

    def __init__(self, masks: dict[str, Array]) -> None:
        self.names = tuple(masks)
        layers = [m.astype(np.float32) for m in masks.values()]
        layers += [np.zeros_like(layers[0])] * (-len(layers) % 4)
        self._packs = [
            np.ascontiguousarray(np.stack(layers[i : i + 4], axis=-1))
            for i in range(0, len(layers), 4)
        ]

    def sample(self, column: Array, row: Array) -> dict[str, NDArray[np.float32]]:
        """Every mask at (F,) grid positions, bilinear."""
        count = len(column)
        padding = (0, -count % _WIDTH)
        at = [
            np.pad((c + np.float32(0.5)) * FINENESS - np.float32(0.5), padding).reshape(-1, _WIDTH)
            for c in (column, row)
        ]
        found: list[Array] = []
        for pack in self._packs:
            values = cv2.remap(pack, at[0], at[1], cv2.INTER_LINEAR)
            found.extend(np.ascontiguousarray(values.reshape(-1, 4)[:count].T))
        return dict(zip(self.names, found, strict=False))


@lru_cache(maxsize=1)
def head_atlas() -> Atlas:
    """Paint the masks; once per process."""
    canvas = _canvas()
    lips = _lips(canvas)
    return Atlas(
        {
            **lips,
            **_brows(canvas),
            **_hair(canvas),
            "beard": _beard(canvas, lips["lips"], lips["gap"]),
            **_wrinkles(canvas),
            **_skin(canvas),
        }
    )

"""What is not face: ears, neck, shoulders, the hair's shell, and the frame of the glasses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from mining.generators.head.curves import Array, fade, fractal_noise, mix, smoothstep
from mining.generators.head.identity import FACE_WIDTH

Values = Mapping[str, float]
NECK_PIVOT = (0.0, -110.0, -80.0)


def _angles(rows: int, columns: int) -> tuple[Array, Array]:
    """Angle around (0 to 2 pi, along columns) and fraction (0 to 1, along rows)."""
    around = np.linspace(0.0, 2.0 * np.pi, columns)[None, :]
    along = np.linspace(0.0, 1.0, rows)[:, None]
    return np.broadcast_to(around, (rows, columns)), np.broadcast_to(along, (rows, columns))


@lru_cache(maxsize=2)
def _ear(side: int) -> Array:
    around, along = _angles(9, 22)
    radius = np.sin(along * np.pi * 0.5)
    y = np.cos(around) * 28.0 * radius
    z = np.sin(around) * 15.0 * radius * (1.0 + 0.25 * np.cos(around))
    rim = 4.0 * np.exp(-(((along - 0.78) / 0.12) ** 2))
    hollow = 4.0 * np.exp(-(((along - 0.35) / 0.25) ** 2))
    lift = 5.0 * np.cos(along * np.pi * 0.5).clip(0) ** 0.7 + rim - hollow
    x = side * (72.5 + lift + 0.40 * (4.0 - z))
    return np.stack([x, y + 14.0 - 0.15 * z, z - 74.0]).astype(np.float32)


def covering(values: Values) -> float:
    """0 for hair behind the ears, 1 for hair over them."""
    return fade(0.25, 0.6, values["hair_length"])


def ear(side: int, values: Values) -> Array:
    """(3, rows, columns) of one ear; long hair presses it to the head."""
    grid = _ear(side).copy()
    grid[0] *= 1.0 + FACE_WIDTH * values["face_width"]
    grid[0] -= side * 9.0 * covering(values)
    return grid


@lru_cache(maxsize=1)
def _neck() -> Array:
    around, along = _angles(16, 40)
    angle = around - np.pi
    flare = 13.0 * smoothstep(0.55, 0.95, along) + 70.0 * smoothstep(0.72, 1.0, along) ** 2
    radius = 47.0 + flare
    y = mix(-20.0, -215.0, along)
    return np.stack([radius * np.sin(angle), y, -80.0 + 0.92 * radius * np.cos(angle)]).astype(
        np.float32
    )


def neck(values: Values) -> Array:
    """(3, rows, columns) of the neck in the head's frame, its width following the jaw's."""
    grid = _neck().copy()
    grid[0] *= 1.0 + 0.05 * values["jaw_width"]
    return grid


@lru_cache(maxsize=1)
def shoulders() -> Array:
    """(3, rows, columns) of the shoulders; they move with the head but do not turn."""
    around, along = _angles(16, 48)
    angle, tilt = around - np.pi, along * np.pi / 2
    radius = np.sin(tilt) ** 0.62
    y = -120.0 - 125.0 * (1.0 - np.cos(tilt)) - 12.0 * np.sin(angle) ** 2 * radius
    x, z = 205.0 * radius * np.sin(angle), -85.0 + 88.0 * radius * np.cos(angle)
    return np.stack([x, y, z]).astype(np.float32)


@lru_cache(maxsize=1)
def _shell() -> tuple[Array, Array, Array]:
    """Unit shell around the skull: sine and cosine of the azimuth, and the polar fraction."""
    around, along = _angles(28, 46)
    return np.sin(around - np.pi), np.cos(around - np.pi), along


@lru_cache(maxsize=1)
def _locks() -> Array:
    """Smooth seeded bumps over the shell, unit variance."""
    return fractal_noise((28, 46), np.random.default_rng(11), 2, 9)


def hair_shell(values: Values) -> Array:
    """(3, rows, columns) of the hair behind the face, from a crop to below the shoulders.

    The front edge lies behind the ears for short hair and comes forward over them for long hair.
    """
    sine, cosine, along = _shell()
    length, volume, curl = values["hair_length"], values["hair_volume"], values["hair_curl"]
    long = covering(values)
    polar = along * np.pi
    height = 40.0 + 104.0 * np.cos(polar)
    low = smoothstep(60.0, -60.0, height)
    radius = np.sin(polar).clip(0) ** mix(0.75, 0.52, long)
    bulge = 1.0 + 0.06 * (volume + 1.0) + 0.10 * curl * long
    y = height + mix(26.0, -150.0, length**1.2) * low
    y = y + (8.0 * values["forehead_height"] + 5.0 * volume - 1.0) * smoothstep(60, 120, height)
    top = smoothstep(5.0, 110.0, height)  # where the hair on the head's own sheet covers the shell
    wide = mix((80.0 + 8.0 * long + 6.0 * long * low) * bulge, 76.0, top)
    x = wide * (1 + FACE_WIDTH * values["face_width"]) * radius * sine
    z = -92.0 + 86.0 * radius * cosine * bulge
    edge = mix(-97.0, -58.0, long) + mix(60.0, 22.0, long) * smoothstep(40, 95, height)
    # Folded inwards below the crown, so that no curtain hangs before the neck.
    fold = 62.0 * cosine.clip(0) ** 1.5 * smoothstep(75.0, 30.0, height)
    z = np.where(z > edge, edge + 0.04 * (z - edge), z) - fold
    wave = (1.5 + 5.0 * curl) * _locks() * smoothstep(0.0, 0.15, along)
    return np.stack([x + wave * sine, y, z + wave * 0.5 * cosine]).astype(np.float32)


def _lens_outline(side: int, width: float, height: float, count: int) -> Array:
    """(3, count) rounded rectangle around one eye on the glasses' bent plane."""
    turn = np.linspace(0.0, 2.0 * np.pi, count)
    x = side * 33.0 + width * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.72
    y = 36.0 + height * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.72
    return np.stack([x, y, _glasses_depth(x)])


def _glasses_depth(x: Any) -> Any:
    return 24.0 - 0.0042 * x * x


@lru_cache(maxsize=1)
def glasses_ribbons() -> tuple[Array, ...]:
    """Grids (3, 2, n): two rims, two temples and the bridge, each between two lines."""
    ribbons = []
    for side in (-1, 1):
        rim = (_lens_outline(side, 21.5, 16.5, 40), _lens_outline(side, 24.5, 19.5, 40))
        ribbons.append(np.stack(rim, axis=1))
        t = np.linspace(0.0, 1.0, 12)
        x, z = side * mix(57.0, 79.0, t**0.35), mix(_glasses_depth(57.0), -72.0, t)
        ribbons.append(np.stack([np.stack([x, 0 * t + y, z]) for y in (41.0, 44.2)], axis=1))
    x = np.linspace(-9.5, 9.5, 8)
    arch = 0.02 * x * x
    lines = [np.stack([x, y - arch, _glasses_depth(x) + 2.0]) for y in (39.0, 42.3)]
    ribbons.append(np.stack(lines, axis=1))
    return tuple(r.astype(np.float32) for r in ribbons)


@lru_cache(maxsize=1)
def lenses() -> tuple[Array, Array]:
    """(3, 32) outlines of the two lenses."""
    left, right = (_lens_outline(side, 21.5, 16.5, 33)[:, :-1] for side in (-1, 1))
    return left.astype(np.float32), right.astype(np.float32)

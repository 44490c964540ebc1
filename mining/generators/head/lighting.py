"""Light: a wrapped Lambert lamp with a short shadow, ambient light, a weak highlight."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mining.generators.head.curves import Array

FAR = -600.0  # depth of pixels without a surface
WRAP = 0.18
SHADOW_STEPS = 12


@dataclass(frozen=True)
class Surface:
    """The lit pixels, F of them."""

    pixel: Array  # (F,) row * size + column
    normal: Array  # (3, F) unit
    colour: Array  # (3, F) albedo
    gloss: Array  # (F,)
    openness: Array  # (F,) 1 in the open, lower in crevices


def lamp(values: dict[str, float]) -> Array:
    """(3,) unit vector towards the lamp; azimuth > 0 is the image's right, elevation > 0 above."""
    azimuth, elevation = np.deg2rad([values["light_azimuth"], values["light_elevation"]])
    across = np.cos(elevation)
    return np.array(
        [np.sin(azimuth) * across, np.sin(elevation), np.cos(azimuth) * across], np.float32
    )


def occlusion(depth: Array, scale: float) -> Array:
    """0 in the open to 0.85: how far a pixel lies behind the mean depth around it."""
    clipped = np.maximum(depth, -200)
    total = np.zeros_like(depth)
    for width, strength, most in ((9, 0.045, 0.45), (27, 0.012, 0.40)):
        size = int(width * scale) | 1
        total += np.clip((cv2.blur(clipped, (size, size)) - depth) * strength, 0, most)
    return cv2.blur(total, (3, 3))


def cast_shadow(depth: Array, light: Array, pixels_per_mm: float, scale: float) -> Array:
    """0 lit to 1 in shadow: march a few steps from each pixel towards the lamp."""
    height, width = depth.shape
    shadow = np.zeros_like(depth)
    for step in range(1, SHADOW_STEPS + 1):
        reach = 2.0 * step + 0.35 * step * step  # millimetres
        dx = int(round(float(light[0]) * reach * pixels_per_mm))
        dy = int(round(-float(light[1]) * reach * pixels_per_mm))
        source = depth[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
        rows, columns = (
            slice(max(-dy, 0), height + min(-dy, 0)),
            slice(max(-dx, 0), width + min(-dx, 0)),
        )
        above = source - depth[rows, columns] - np.float32(float(light[2]) * reach)
        blocked = np.clip((above - 1.5) * 0.35, 0, 1) * (above < 45)
        np.maximum(shadow[rows, columns], blocked, out=shadow[rows, columns])
    return cv2.GaussianBlur(shadow, (0, 0), 1.5 * scale)


def shade(surface: Surface, depth: Array, values: dict[str, float], pixels_per_mm: float) -> Array:
    """(3, F) radiance of the surface.

    Args:
        depth: (size, size) millimetres, larger is nearer, FAR where nothing is.
    """
    scale = depth.shape[0] / 256.0
    light = lamp(values)
    occluded = occlusion(depth, scale).reshape(-1)[surface.pixel]
    shadow = cast_shadow(depth, light, pixels_per_mm, scale).reshape(-1)[surface.pixel]
    nx, ny, nz = surface.normal
    facing = nx * light[0] + ny * light[1] + nz * light[2]
    ambient = np.float32(values["light_ambient"])

    sky = ambient * (0.78 + 0.22 * ny) * (1 - occluded) * surface.openness
    direct = np.clip((facing + WRAP) / (1 + WRAP), 0, 1) * (1 - 0.72 * shadow)
    direct *= (1 - 0.55 * ambient) * 1.25 * (0.35 + 0.65 * surface.openness)
    direct *= 1 - 0.4 * occluded
    half = light + np.array([0, 0, 1], np.float32)
    half /= np.sqrt((half * half).sum())
    mirror = np.clip(nx * half[0] + ny * half[1] + nz * half[2], 0, 1)
    m2 = mirror * mirror
    m6 = m2 * m2 * m2
    m22 = m6 * m6 * m6 * m2 * m2
    shine = surface.gloss * (0.55 * m22 + 0.12 * m6) * (1 - shadow) * (1 - 0.5 * ambient)
    rim = 1 - np.clip(nz, 0, 1)
    shine += 0.05 * ambient * rim * rim * rim * rim
    # Skin scatters red furthest: green and blue fall off faster into the dark.
    warm = np.stack(
        [1.03 * direct, direct * (0.94 + 0.06 * direct), 0.95 * direct * (0.91 + 0.09 * direct)]
    )
    cool = np.array([0.97, 1.0, 1.04], np.float32)[:, None] * sky
    return surface.colour * (cool + warm) + shine

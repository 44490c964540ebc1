"""Faces of a made-up linear model whose pose and coefficients are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mining.generators.head.camera import pose_matrix
from mining.shape3d.camera import Pose, project
from mining.shape3d.model import Sparse
from mining.shape3d.readers.head import read_head

WIDE = 272.0  # mm across an image


@dataclass(frozen=True)
class Planted:
    """N faces."""

    angles: np.ndarray  # (N, 3) degrees
    pose: Pose
    identity: np.ndarray  # (N, I)
    expression: np.ndarray  # (N, E)
    points: np.ndarray  # (N, 68, 2) fractions of the image


def made_model(rng: np.random.Generator, identities: int = 40, expressions: int = 12) -> Sparse:
    """The head's mean with components that bend all of it, and move each landmark a little."""
    mean = read_head().landmarks(0, 0).mean
    x, y, z = (mean / 60).T
    bends = np.stack([np.ones_like(x), x, y, z, x * y, x * x - y * y])

    def components(count: int, size: float) -> np.ndarray:
        smooth = np.einsum("kxf,fl->klx", rng.standard_normal((count, 3, 6)), bends)
        shrinking = size / np.sqrt(1 + np.arange(count))[:, None, None]
        return shrinking * smooth + 0.3 * rng.standard_normal((count, len(mean), 3))

    return Sparse(mean, components(identities, 1.2), components(expressions, 1.5))


def planted(
    rng: np.random.Generator,
    model: Sparse,
    count: int,
    noise: float = 0.0,
    focal: float | None = 4.26,
    aspect: float = 1.0,
    reach: tuple[float, float, float] = (40, 20, 20),
    distance: float = 0.1,
) -> Planted:
    """Random faces.

    Args:
        noise: mm, added to each landmark's image.
        reach: the largest yaw, pitch, roll.
        distance: of a face from the image's middle, at most, in image widths.
    """
    angles = rng.uniform(-1, 1, (count, 3)) * reach
    scale = rng.uniform(0.8, 1.2, count) / WIDE
    position = 0.5 + rng.uniform(-distance, distance, (count, 2))
    pose = Pose(np.stack([pose_matrix(*three) for three in angles]), scale, position)
    identity = rng.standard_normal((count, len(model.identity)))
    expression = rng.standard_normal((count, len(model.expression)))
    shapes = model.mean + np.tensordot(identity, model.identity, 1)
    shapes = shapes + np.tensordot(expression, model.expression, 1)
    points = project(shapes, pose, focal, aspect)
    points += noise * scale[:, None, None] * rng.standard_normal(points.shape) * [1, 1 / aspect]
    return Planted(angles, pose, identity, expression, points)

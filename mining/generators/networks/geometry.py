"""The shape behind EG3D's images: densities on a grid, points under pixels, a mesh of what is seen.

For a closed surface give a grid of `density_volume` to a marching-cubes routine such as
`skimage.measure.marching_cubes`; the release cuts at a raw density of 10.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mining.generators.networks.base import Noise
from mining.generators.networks.eg3d import Eg3d
from mining.generators.networks.volume import camera_rays
from schemas.errors import InputError

Array = NDArray[np.float32]


def grid_axis(box: float, side: int) -> Array:
    """(side,) the coordinates of a grid's points along each axis, faces of the cube included."""
    return np.linspace(-box / 2, box / 2, side, dtype=np.float32)


@torch.inference_mode()
def density_volume(
    network: Eg3d,
    styles: Tensor,
    side: int,
    noise: Noise = "fixed",
    points_per_chunk: int = 2**18,
) -> Array:
    """Raw densities on a grid over the cube that the tri-planes span.

    Args:
        styles: (N, S).
        side: D, points along each axis, at the coordinates of `grid_axis`.
        points_per_chunk: so many points are held in memory at a time.

    Returns:
        (N, D, D, D), indexed by x, y, z.

    Raises:
        InputError: fewer than 2 points along an axis.
    """
    if side < 2:
        raise InputError(f"eg3d: a grid of {side} points came; expected at least 2 along an axis.")
    axis = torch.from_numpy(grid_axis(network.settings.box, side)).to(styles.device)
    planes = network.planes(styles, noise)
    layers = max(points_per_chunk // side**2, 1)
    parts = []
    for some in axis.split(layers):
        x, y, z = torch.meshgrid(some, axis, axis, indexing="ij")
        points = torch.stack([x, y, z]).flatten(1).expand(len(styles), -1, -1)
        parts.append(network.density(planes, points).unflatten(1, x.shape).cpu())
    return torch.cat(parts, dim=1).numpy()


def seen_points(depth: Tensor, labels: Tensor) -> Tensor:
    """(N, 1, r, r) depths of a `View`, (N, 25) cameras -> (N, 3, r, r) points in space."""
    side = depth.shape[-1]
    points = camera_rays(labels, side).at(depth.flatten(1)[..., None])
    return points[..., 0].unflatten(2, (side, side))


def seen_mesh(points: Array, solid: NDArray[np.bool_], longest: float) -> NDArray[np.int32]:
    """Triangles between neighbouring pixels, all turned towards the camera.

    Args:
        points: (3, r, r), of `seen_points`.
        solid: (r, r), whether a pixel shows a surface, such as opacity > 0.5.
        longest: a triangle with a longer edge bridges a gap and is left out.

    Returns:
        (F, 3) numbers of pixels, counted row by row.
    """
    side = points.shape[-1]
    at = np.arange(side * side).reshape(side, side)
    a, b, c, d = at[:-1, :-1], at[:-1, 1:], at[1:, :-1], at[1:, 1:]
    faces = np.concatenate(
        [np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)]
    )
    corners = points.reshape(3, -1).T[faces]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    keep = solid.ravel()[faces].all(axis=1) & (edges.max(axis=1) <= longest)
    return faces[keep].astype(np.int32)


def ply(vertices: Array, faces: NDArray[np.int32], colours: NDArray[np.uint8]) -> bytes:
    """A mesh as a binary PLY file, which most viewers of meshes read.

    Source: Turk (1994), "The PLY Polygon File Format".

    Args:
        vertices: (V, 3).
        faces: (F, 3), numbers of vertices.
        colours: (V, 3) RGB of the vertices, 0..255.
    """
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    points = np.empty(len(vertices), dtype=[("at", "<f4", 3), ("rgb", "u1", 3)])
    points["at"], points["rgb"] = vertices, colours
    triangles = np.empty(len(faces), dtype=[("count", "u1"), ("of", "<i4", 3)])
    triangles["count"], triangles["of"] = 3, faces
    return "\n".join(header).encode() + points.tobytes() + triangles.tobytes()

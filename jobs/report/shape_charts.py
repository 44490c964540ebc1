"""The shape model as drawings: the mean face and its modes from three sides, and samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.report.shape_data import ShapeFacts, ShapeSample
from mining.methods.camera import rotation

Array = NDArray[np.float64]

VIEWS = (("front", 0.0), ("three-quarter", 45.0), ("profile", 90.0))  # degrees of yaw
# first and last of the 68 iBUG landmarks of each line, and whether it closes.
# Source: Sagonas et al. (2016), doi:10.1016/j.imavis.2016.01.002, figure 1.
LINES_68 = (
    (0, 16, False), (17, 21, False), (22, 26, False), (27, 30, False), (31, 35, False),
    (36, 41, True), (42, 47, True), (48, 59, True), (60, 67, True),
)  # fmt: skip
CELL = 100.0  # edge of one view, in the drawing's units
FILL = 0.7  # of the cell, that the mean face is as large as
REACH = 2.0  # standard deviations of alpha_k that a mode is drawn at
FARTHEST = 0.2  # of the face's largest extent, that no landmark is moved beyond


@dataclass(frozen=True)
class View:
    """SVG paths of one face from one side."""

    mean: str
    low: str = ""  # at minus the reach
    high: str = ""  # at plus the reach


@dataclass(frozen=True)
class Mode:
    """One basis shape B_k = d_k b_k' from three sides."""

    number: int
    views: tuple[View, ...]
    reach: float  # standard deviations drawn to either side
    axes: tuple[float, ...]  # (3,) shares of the motion along x, y and z
    moved: float  # rms of the landmarks at one standard deviation, in fractions of the image


@dataclass(frozen=True)
class Gallery:
    """The mean face and its modes, all on one scale."""

    width: float  # of one figure of three views
    height: float
    lines: bool  # landmarks are joined; else each is a dot
    mean: tuple[View, ...]
    rigid: tuple[tuple[float, float], ...]  # dots on the mean face, in all views
    modes: tuple[Mode, ...]


@dataclass(frozen=True)
class _Frame:
    """How a shape in 3-D becomes the drawing: every view of the mean face fills its own cell."""

    solid: Array  # (3, L) the mean face
    joined: bool

    @property
    def extent(self) -> float:
        """The mean face's largest width or height in any view, in its own unit."""
        spans = [np.ptp(_seen(self.solid, yaw), axis=1).max() for _, yaw in VIEWS]
        return float(max(spans)) or 1.0

    def places(self, solid: Array, view: int) -> list[tuple[float, float]]:
        """(3, P) points in the drawing's units, in the cell of their view."""
        yaw = VIEWS[view][1]
        face = _seen(self.solid, yaw)
        middle = (face.max(axis=1) + face.min(axis=1))[:, None] / 2
        cell = np.array([[CELL * (view + 0.5)], [CELL / 2]])
        flat = FILL * CELL / self.extent * (_seen(solid, yaw) - middle) + cell
        return [(float(x), float(y)) for x, y in flat.T]

    def views(self, step: Array | None = None) -> tuple[View, ...]:
        """The mean face; with a step (3, L), also where it leads to either side."""
        made = []
        for view in range(len(VIEWS)):
            base = self.places(self.solid, view)
            mean = outline(base) if self.joined else dots(base)
            if step is None:
                made.append(View(mean))
                continue
            ends = [self.places(self.solid + sign * step, view) for sign in (-1, 1)]
            low, high = (outline(end) if self.joined else strokes(base, end) for end in ends)
            made.append(View(mean, low, high))
        return tuple(made)


def gallery(shape: ShapeFacts) -> Gallery:
    """The mean face and every mode at -2s, 0 and +2s of its amplitude, from three sides.

    A mode along the line of sight has amplitudes without bound, so the reach is shortened where a
    landmark would move by more than FARTHEST of the face; with FILL, all stays inside its cell.
    """
    solid = np.asarray(shape.mean_shape, np.float64)
    frame = _Frame(solid, shape.landmarks == 68)
    modes = tuple(_mode(frame, shape, k) for k in range(shape.components))
    rigid = [
        p for view in range(len(VIEWS)) for p in frame.places(solid[:, list(shape.rigid)], view)
    ]
    return Gallery(CELL * len(VIEWS), CELL, frame.joined, frame.views(), tuple(rigid), modes)


def _mode(frame: _Frame, shape: ShapeFacts, number: int) -> Mode:
    row = np.asarray(shape.basis[number], np.float64)
    way, spread = np.asarray(shape.modes[number], np.float64), shape.spreads[number]
    farthest = spread * float(np.abs(row).max() * np.linalg.norm(way))
    reach = min(REACH, FARTHEST * frame.extent / farthest) if farthest > 0 else REACH
    views = frame.views(reach * spread * np.outer(way, row))
    shares = way**2 / max(float(way @ way), 1e-12)
    moved = spread * float(np.sqrt((row**2).mean()))
    return Mode(number, views, reach, tuple(float(share) for share in shares), moved)


def _seen(solid: Array, yaw: float) -> Array:
    """(2, P) points turned by `yaw` degrees to the image's right, without their depth."""
    rows = rotation(np.radians([[0.0, yaw, 0.0]]))
    return np.array([[float(entry[0]) for entry in row] for row in rows[:2]]) @ solid


def outline(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path along the face's lines, for 68 landmarks."""
    parts = []
    for first, last, closed in LINES_68:
        places = " ".join(f"{x:.1f} {y:.1f}" for x, y in points[first : last + 1])
        parts.append(f"M{places}{'z' if closed else ''}")
    return "".join(parts)


def dots(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path of one dot a landmark, as wide as the line that draws it."""
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)


def strokes(starts: Sequence[tuple[float, float]], ends: Sequence[tuple[float, float]]) -> str:
    """An SVG path of one straight line a landmark."""
    both = zip(starts, ends, strict=True)
    return "".join(f"M{a:.1f} {b:.1f}L{x:.1f} {y:.1f}" for (a, b), (x, y) in both)


def sample_paths(sample: ShapeSample) -> tuple[str, str]:
    """Measured and predicted landmarks over an image that is 100 wide and 100 high."""
    made = []
    for part in (sample.measured, sample.predicted):
        points = [(100 * x, 100 * y) for x, y in part]
        made.append(outline(points) if len(points) == 68 else dots(points))
    return made[0], made[1]

"""The joint refinement of a shape model over parts of the rows: what may move, and the sweeps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods import row_parts
from mining.methods.camera import orthonormal
from mining.methods.nrsfm import NrsfmConfig
from mining.methods.parts import Parts, total
from mining.methods.refine import Factors, fit_shared, refine
from mining.methods.rigid import RigidShape, refit_shape
from mining.methods.row_parts import Rows

Array = NDArray[np.float64]

OWN = 20  # sweeps of a row's own for the sample's shared parts: all rows alike, so that none
# hangs on a threshold
TURNS = 0.2  # of the residual, that cameras which turn as the rigid landmarks say may cost
LOSS = 0.05  # of the residual, that a B_0 which explains most by itself may cost
PROBE = 40  # sweeps that tell whether it costs more


@dataclass(frozen=True)
class Task:
    """What does not change during a fit."""

    config: NrsfmConfig
    space: Array  # (R, L)
    sample: Rows
    count: int  # of all rows
    rest: float  # sum of squares outside the row space


def refined(
    parts: Parts, task: Task, start: Factors, rigid: RigidShape | None, closed: float
) -> tuple[Parts, Factors, float, int, RigidShape | None]:
    """The joint refinement: of the sample, then of all rows.

    Args:
        start: of the sample.
        rigid: the landmarks that the start's rotations come from; None where there are none.
        closed: objective of the closed form.

    Returns:
        Also the objective, the number of sweeps, and `rigid` where the rotations stayed its own.
    """
    shared, count, held, rigid = _of_sample(
        task, start, rigid, closed * len(task.sample.points) / task.count
    )
    config = task.config
    parts, sums = parts.each(row_parts.own_start, shared, OWN, rigid, task.space)
    now = total(sums)
    value = now.objective(shared) + task.rest
    # doubtful rows are among all rows, so with `robust` the sample has the last word
    for _ in range(0 if config.robust else config.passes):
        shared, lengths = fit_shared(now, shared, held)
        parts, sums = parts.each(row_parts.sweep, shared, lengths, rigid is not None)
        now = total(sums)
        before, value, count = value, now.objective(shared) + task.rest, count + 1
        if np.sqrt(before) - np.sqrt(value) <= config.tolerance * np.sqrt(value):
            break
    return parts, shared, value, count, rigid


def _of_sample(
    task: Task, start: Factors, rigid: RigidShape | None, closed: float
) -> tuple[Factors, int, bool, RigidShape | None]:
    """The shared parts for the sample, the sweeps, whether B_0 is held, and `rigid` if it is used.

    What explains most by itself is held while the others follow, unless letting it go lowers the
    residual by much, which says that it is wrong:

    - The rotations, those of the rigid landmarks. A free camera turns for what bending leaves
      over: on dlib's landmarks of 1,484 heads and K = 16 the slope of pitch fell from .90 to .87,
      its correlation from .90 to .88, for 8 % less residual. It costs at most TURNS, and the
      residual is never above the closed form's.
    - B_0, the least-squares shape for the first cameras. With B_0 free a mode whose amplitude
      follows the pose looks like depth, and the two drift (on 750 true heads and K = 16 the error
      of the shape grew from 2.7 % to 11.8 %, for 2 % less residual). It costs at most LOSS.
    """
    config, points = task.config, task.sample.points
    bounds = (config.sweeps, config.tolerance, task.rest * len(points) / task.count)
    probe = (min(PROBE, config.sweeps), *bounds[1:])
    first = replace(start, shape=refit_shape(start.cameras, points))
    free = refine(points, start, *probe)
    count, best = len(free.objectives), free.objectives[-1]
    if rigid is not None:
        rotations = orthonormal(start.cameras)
        turned = refine(points, first, *probe, rotations, hold_shape=True)
        count += len(turned.objectives)
        if turned.objectives[-1] <= min((1 + TURNS) ** 2 * best, closed):
            done = refine(points, turned.factors, *bounds, rotations, hold_shape=True)
            return _shared(done.factors), count + len(done.objectives), True, rigid
    held = refine(points, first, *bounds, hold_shape=True)
    count += len(held.objectives)
    if held.objectives[-1] <= (1 + LOSS) ** 2 * best:
        return _shared(held.factors), count, True, None
    free = refine(points, free.factors, *bounds)
    return _shared(free.factors), count + len(free.objectives), False, None


def _shared(factors: Factors) -> Factors:
    """What all rows share."""
    return replace(factors, cameras=np.empty(0), alpha=np.empty(0))

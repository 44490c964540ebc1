"""Gauss-Newton over pose, scale and coefficients of a linear shape, many images at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.shape3d.model import IBUG

Array = NDArray[Any]
CHUNK = 32  # images whose normal equations are formed together: what fits a core's cache
POSE = 6  # unknowns of a pose: three turns, the logarithm of the scale, two shifts
NEAREST = 0.1  # least depth of a landmark, in distances of the model's origin
LEAST_DAMPING = 0.01


@dataclass(frozen=True)
class Problem:
    """What does not depend on the image."""

    mean: Array  # (3, 68) millimetres
    basis: Array  # (K, 3, 68) millimetres per standard deviation
    by_axis: Array  # (3, K * 68) the same, coordinates first
    lens: float  # one over the focal length in image widths; 0 is weak perspective
    regularisation: float


@dataclass
class State:
    """The unknowns of n images, seen by cameras that look at the faces."""

    rotation: Array  # (n, 3, 3)
    scale: Array  # (n,) image widths per millimetre
    shift: Array  # (n, 2) image widths, y up
    coefficients: Array  # (n, K)

    def take(self, rows: Array) -> State:
        return State(*(array[rows] for array in vars(self).values()))

    def put(self, rows: Array, other: State) -> None:
        for mine, others in zip(vars(self).values(), vars(other).values(), strict=True):
            mine[rows] = others


@dataclass(frozen=True)
class Seen:
    """What is known of n images."""

    points: Array  # (n, 2, 68) image widths from the middle of the face, y up
    weights: Array  # (n, 1, 68) one over a landmark's standard deviation in image widths
    unit: Array  # (n,) image widths per millimetre, the scale of the start

    def take(self, rows: Array) -> Seen:
        return Seen(self.points[rows], self.weights[rows], self.unit[rows])


@dataclass(frozen=True)
class View:
    """Where n states put the landmarks."""

    turned: Array  # (n, 3, 68) millimetres, from the model's origin
    depth: Array  # (n, 68) distance from the camera over that of the model's origin
    image: Array  # (n, 2, 68) image widths
    error: Array  # (n, 2, 68) of the landmarks, in their standard deviations


def minimise(
    problem: Problem, state: State, seen: Seen, iterations: int, tolerance: float
) -> tuple[Array, Array, Array]:
    """Moves the states to where their costs are least, each on its own.

    A step that raises the cost is not taken; the next one of that image is damped.

    Returns:
        (n,) costs, (n,) steps tried, (n,) whether the last one changed the cost by less than
        `tolerance`, relative to it.
    """
    count = len(seen.unit)
    cost, steps, done = np.zeros(count), np.zeros(count, np.int64), np.zeros(count, bool)
    for first in range(0, count, CHUNK):
        rows = np.arange(first, min(first + CHUNK, count))
        part = state.take(rows)
        found = _minimise(problem, part, seen.take(rows), iterations, tolerance)
        cost[rows], steps[rows], done[rows] = found
        state.put(rows, part)
    return cost, steps, done


def _minimise(
    problem: Problem, state: State, seen: Seen, iterations: int, tolerance: float
) -> tuple[Array, Array, Array]:
    """`minimise` for images whose equations fit the cache."""
    count = len(seen.unit)
    cost = costs(problem, look(problem, state, seen), state)
    damping = np.zeros_like(seen.unit)
    steps, done = np.zeros(count, np.int64), np.zeros(count, bool)
    active = np.arange(count)
    for _ in range(iterations):
        some, known = state.take(active), seen.take(active)
        step = gauss_newton_step(problem, some, known, damping[active])
        trial = moved(some, step, known.unit)
        after = costs(problem, look(problem, trial, known), trial)
        before = cost[active]
        better = after < before  # never true of NaN
        state.put(active[better], trial.take(better))
        cost[active] = np.where(better, after, before)
        damping[active] = np.where(better, 0, np.maximum(10 * damping[active], LEAST_DAMPING))
        steps[active] += 1
        done[active] = np.abs(before - after) <= tolerance * before
        active = active[~done[active]]
        if not len(active):
            break
    return cost, steps, done


def look(problem: Problem, state: State, seen: Seen) -> View:
    """Where n states put the landmarks, and how far that is from what is seen."""
    count = len(seen.unit)
    # one product per image, not one for all: its result must not depend on how many there are
    shape = state.coefficients[:, None] @ problem.basis.reshape(-1, 3 * IBUG)
    turned = state.rotation @ (problem.mean + shape.reshape(count, 3, IBUG))
    scale = state.scale[:, None]
    depth = np.maximum(1 - problem.lens * scale * turned[:, 2], NEAREST)
    flat = scale[..., None] * turned[:, :2] + state.shift[..., None]
    image = flat / depth[:, None]
    return View(turned, depth, image, (seen.points - image) * seen.weights)


def costs(problem: Problem, view: View, state: State) -> Array:
    """(n,) sum of squared errors, in standard deviations, plus the prior's."""
    error = view.error.reshape(len(view.error), -1)
    prior = np.einsum("nk,nk->n", state.coefficients, state.coefficients)
    return np.einsum("nm,nm->n", error, error) + problem.regularisation * prior


def gauss_newton_step(problem: Problem, state: State, seen: Seen, damping: Array) -> Array:
    """(n, 6 + K): (J J' + prior) step = J error - prior p; the diagonal times 1 + damping."""
    view = look(problem, state, seen)
    jacobian = slopes(problem, state, seen, view)
    matrix = jacobian @ jacobian.transpose(0, 2, 1)
    wanted = (jacobian @ view.error.reshape(len(jacobian), -1, 1))[..., 0]
    wanted[:, POSE:] -= problem.regularisation * state.coefficients
    diagonal = np.einsum("nkk->nk", matrix)  # a view
    diagonal[:, POSE:] += problem.regularisation
    diagonal *= 1 + damping[:, None]
    return np.linalg.solve(matrix, wanted[..., None])[..., 0]


def slopes(problem: Problem, state: State, seen: Seen, view: View) -> Array:
    """(n, 6 + K, 136) how the weighted image moves with each unknown.

    Where the turned landmark moves by d, its image u moves by s q (d_xy + u d_z / f).
    """
    count, unknowns = len(seen.unit), len(problem.basis)
    x, y, z = (view.turned[:, axis] for axis in range(3))
    lean = problem.lens * view.image  # (n, 2, 68)
    gain = seen.weights / view.depth[:, None]  # (n, 1, 68)
    strong = gain * state.scale[:, None, None]
    found = np.empty((count, POSE + unknowns, 2, IBUG), view.turned.dtype)
    none = np.zeros_like(x)
    for k, (dx, dy, dz) in enumerate(((none, -z, y), (z, none, -x), (-y, x, none), (x, y, z))):
        found[:, k, 0] = (dx + lean[:, 0] * dz) * strong[:, 0]
        found[:, k, 1] = (dy + lean[:, 1] * dz) * strong[:, 0]
    found[:, 4:POSE] = 0
    found[:, 4, 0] = found[:, 5, 1] = gain[:, 0] * seen.unit[:, None]
    turned = state.rotation @ problem.by_axis  # as in `look`, one product per image
    turned = turned.reshape(count, 3, unknowns, IBUG)
    for axis in range(2):
        out = found[:, POSE:, axis]
        np.multiply(turned[:, 2], lean[:, None, axis], out=out)
        out += turned[:, axis]
        out *= strong
    return found.reshape(count, POSE + unknowns, 2 * IBUG)


def moved(state: State, step: Array, unit: Array) -> State:
    """The states a step further; turns compose from the left."""
    return State(
        rotation_of(step[:, :3]) @ state.rotation,
        state.scale * np.exp(np.clip(step[:, 3], -1, 1)),
        state.shift + step[:, 4:POSE] * unit[:, None],
        state.coefficients + step[:, POSE:],
    )


def rotation_of(vector: Array) -> Array:
    """(n, 3) turns in radians -> (n, 3, 3), by the unit quaternion (1, vector / 2).

    Cayley's map: tan(angle / 2) = |vector| / 2, so a huge step turns by less than half a circle.
    """
    x, y, z = (vector / 2).T
    rows = [
        1 + x * x - y * y - z * z,
        2 * (x * y - z),
        2 * (x * z + y),
        2 * (x * y + z),
        1 - x * x + y * y - z * z,
        2 * (y * z - x),
        2 * (x * z - y),
        2 * (y * z + x),
        1 - x * x - y * y + z * z,
    ]
    return (np.stack(rows) / (1 + x * x + y * y + z * z)).T.reshape(-1, 3, 3)

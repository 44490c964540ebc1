"""The shape model's fit over parts of the rows: what `fit_nrsfm` does, wherever the parts lie."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods import row_parts
from mining.methods.als import als
from mining.methods.camera import nearest_rotation, orthonormal, upgrade_from
from mining.methods.closed_form import candidates, climb, residual_rows, singular_rows
from mining.methods.joint_parts import Task, refined
from mining.methods.nrsfm import NrsfmConfig, check_sample, check_size
from mining.methods.parts import Parts, total
from mining.methods.polish import polish
from mining.methods.refine import Factors, refine
from mining.methods.rigid import RigidShape, refit_shape, rigid_shape
from mining.methods.robust_landmarks import robust_space
from mining.methods.row_parts import Moments, Rows
from mining.methods.shape_model import ShapeModel, amplitudes

Array = NDArray[np.float64]

RIGID_ROWS = 3000  # of the sample, that the rigid landmarks are looked for in
HELD, HELD_TOLERANCE = 20, 1e-4  # sweeps with the metric rotations held, before all is free
CLOSE = 0.02  # of f, by which a maximum of the sample may be lower and yet climb over all rows
STEPS = 12  # that they take at most
CLIMBERS = 3  # maxima of the sample that climb on over all rows


@dataclass(frozen=True)
class PartsFit:
    """A shape model, and the codes of the rows that it was fitted to, part by part."""

    model: ShapeModel  # its own codes are empty, (0, 8 + K)
    codes: Parts  # of (n, 8 + K) arrays: the rows of a part that could be used, in order; NaN
    # where what is right of a row's landmarks fixes no camera
    rows: int  # that were used
    missing: int  # skipped: a landmark is not finite
    flat: int  # skipped: the landmarks lie on one line


def measured(parts: Parts, config: NrsfmConfig) -> Moments:
    """The sums that a fit starts from, and how many rows it is going to skip."""
    return parts.sum(row_parts.measure, config.sample)


def fit_parts(parts: Parts, config: NrsfmConfig, moments: Moments | None = None) -> PartsFit:
    """Fit a shape model to landmarks in parts; see `fit_nrsfm`.

    A part is an array (n, L, 2), or a function that reads one and is called twice. Sums over the
    rows and a sample that hangs on the rows' values alone are all that is ever held together, so
    the result does not depend on how rows are sharded, but for the last digits of the sums.

    Args:
        moments: from `measured`, where that was done before.

    Raises:
        InputError: the shapes are wrong or differ, or there are too few rows or landmarks.
    """
    moments = moments or measured(parts, config)
    check_size(moments.rows, moments.gram.shape[0], config.components)
    robust = robust_space(moments.sample, config.components) if config.robust else None
    if robust is None:
        space, share = singular_rows(moments.gram, config.components)
    else:
        space, share = robust.rows, robust.share
    parts, rests = parts.each(row_parts.coordinates, space, robust)
    kept = moments.sample if robust is None else moments.sample[robust.trusted(moments.sample)]
    check_sample(len(kept), len(moments.sample), config)
    sample, _ = row_parts.coordinates(kept, space, robust)
    task = Task(config, space, sample, moments.rows, sum(rests))
    squares = parts.sum(_squares) + task.rest
    parts, closed, value = _closed(parts, task)
    shared, metric, sweeps, first = closed, False, 0, value
    rigid = None
    if config.sweeps:
        start, metric, rigid = _sample_start(task)
        parts, shared, value, sweeps, rigid = refined(parts, task, start, rigid, value)
    else:
        parts, shared, value, metric = _calibrated(parts, task, closed, value)
    parts, shared, change = _posed(parts, shared, task)
    model = ShapeModel(
        mean_shape=shared.shape @ space,
        basis=shared.basis @ space,
        modes=shared.modes,
        codes=np.empty((0, 8 + config.components)),
        objective=value,
        relative_residual=float(np.sqrt(value / squares)),
        rms=float(np.sqrt(value / (moments.rows * space.shape[1]))),
        rank_share=share,
        metric=metric,
        closed_residual=float(np.sqrt(first / squares)),
        sweeps=sweeps,
        rigid=None if rigid is None else rigid.turned(change),
    )
    return PartsFit(model, parts, moments.rows, moments.missing, moments.flat)


def _closed(parts: Parts, task: Task) -> tuple[Parts, Factors, float]:
    """The closed form in the singular vectors' own axes, and its objective."""
    axes = np.eye(task.sample.points.shape[2])
    return _with_modes(parts, task, task.sample.cameras, axes[:3], axes[3:])


def _with_modes(
    parts: Parts, task: Task, cameras: Array, shape: Array, basis: Array
) -> tuple[Parts, Factors, float]:
    """The best d_k for the cameras that the parts have, the rows' amplitudes, the objective.

    Args:
        cameras: the sample's.
    """
    starts = _sample_modes(task, cameras, shape, basis)
    config = task.config
    local = config.search == "als" or config.polish > 0  # the sample's answer is the answer
    if local or task.count == len(task.sample.points):
        modes = starts[:, 0]
    else:
        ways, values = climb(
            lambda ways: parts.sum(row_parts.mode_terms, shape, basis, ways), starts, STEPS
        )
        modes = ways[np.arange(len(ways)), values.argmax(axis=1)]
    parts, sums = parts.each(row_parts.given_amplitudes, shape, basis, modes)
    shared = Factors(np.empty(0), shape, basis, modes, np.empty(0))
    return parts, shared, total(sums).objective(shared) + task.rest


def _sample_modes(task: Task, cameras: Array, shape: Array, basis: Array) -> Array:
    """(K, P, 3) directions d_k found on the sample, the best first; P is 1 but for the search."""
    config, points = task.config, task.sample.points
    bent = (points - cameras @ shape) @ basis.T
    if config.search == "als" or config.polish:
        shared = Factors(cameras, shape, basis, np.empty(0), np.empty(0))
        if config.search == "als":
            found = als(points, shared, config.iterations, config.seed).factors
        else:
            tops = [
                candidates(cameras, bent[:, :, k], config.grid, config.starts)[0]
                for k in range(len(basis))
            ]
            modes = np.stack(tops)
            found = replace(shared, modes=modes, alpha=amplitudes(cameras, modes, bent))
        if config.polish:
            found = polish(points, found, config.penalty, config.polish).factors
        return found.modes[:, None]
    tops = [
        candidates(cameras, bent[:, :, k], config.grid, config.starts, CLOSE)[:CLIMBERS]
        for k in range(len(basis))
    ]
    most = max(map(len, tops))
    return np.stack([np.concatenate([x, np.repeat(x[:1], most - len(x), axis=0)]) for x in tops])


def _calibrated(
    parts: Parts, task: Task, closed: Factors, value: float
) -> tuple[Parts, Factors, float, bool]:
    """The closed form with metric cameras, where they are asked for, and its objective then."""
    calibration = task.config.calibration
    if calibration in ("none", "mean"):
        return parts, closed, value, False
    change, metric = upgrade_from(*parts.sum(row_parts.upgrade))
    parts, _ = parts.each(row_parts.turned_cameras, change)
    shared, lengths = turned(closed, change)
    if calibration == "upgrade":
        parts, _ = parts.each(row_parts.grown, lengths)
        return parts, shared, value, metric
    rigid = _rigid(task, shared.shape)
    parts, sums = parts.each(row_parts.rigid_cameras, rigid, task.space)
    gram, pull = total(sums)
    shape = np.linalg.solve(gram, pull)
    basis = residual_rows(parts.sum(row_parts.left_over, shape), task.config.components)
    cameras = rigid.cameras(task.sample.points @ task.space)
    parts, shared, value = _with_modes(parts, task, cameras, shape, basis)
    return parts, shared, value, rigid.converged


def _sample_start(task: Task) -> tuple[Factors, bool, RigidShape | None]:
    """Where the joint refinement of the sample starts, whether its cameras are metric, and the
    rigid landmarks that they come from."""
    points, calibration = task.sample.points, task.config.calibration
    axes = np.eye(points.shape[2])
    cameras, shape, basis, metric = task.sample.cameras, axes[:3], axes[3:], False
    rigid = None
    if calibration in ("upgrade", "metric"):
        change, metric = upgrade_from(*row_parts.upgrade(task.sample))
        cameras, shape = cameras @ change, np.linalg.inv(change) @ shape
    if calibration == "metric":
        rigid = _rigid(task, shape)
        cameras, metric = rigid.cameras(points @ task.space), rigid.converged
        shape = refit_shape(cameras, points)
        rows = replace(task.sample, cameras=cameras)
        basis = residual_rows(row_parts.left_over(rows, shape), task.config.components)
    modes = _sample_modes(task, cameras, shape, basis)[:, 0]
    alpha = amplitudes(cameras, modes, (points - cameras @ shape) @ basis.T)
    start = Factors(cameras, shape, basis, modes, alpha)
    if calibration != "metric":
        return start, metric, None
    held = refine(points, start, HELD, HELD_TOLERANCE, 0.0, orthonormal(cameras)).factors
    return held, metric, rigid if metric else None


def _rigid(task: Task, shape: Array) -> RigidShape:
    """The rigid landmarks of the sample, from a first metric shape in the row space."""
    some = task.sample.points[:RIGID_ROWS]
    return rigid_shape(some @ task.space, shape @ task.space, task.config.rigid)


def turned(shared: Factors, change: Array) -> tuple[Factors, Array]:
    """B_0 and the d_k for cameras M_n A, and by what the amplitudes grow as the d_k stay unit."""
    back = np.linalg.inv(change)
    modes = shared.modes @ back.T
    lengths = np.linalg.norm(modes, axis=1)
    return replace(shared, shape=back @ shared.shape, modes=modes / lengths[:, None]), lengths


def _posed(parts: Parts, shared: Factors, task: Task) -> tuple[Parts, Factors, Array]:
    """Codes of the model that faces the camera, bulges to the viewer, at unit scale, with signs;
    and the A of its cameras M_n A."""
    change = np.eye(3)
    if task.config.calibration != "none":
        change = nearest_rotation(parts.sum(row_parts.poses, change)[0]).T
        mirror = np.diag([1.0, 1.0, _bulge(np.linalg.inv(change) @ shared.shape @ task.space)])
        change = change @ mirror
        change = change @ nearest_rotation(parts.sum(row_parts.poses, change)[0]).T
    _, size, count = parts.sum(row_parts.poses, change)
    change = change / (size / max(count, 1))
    shared, lengths = turned(shared, change)
    signs = np.sign(shared.modes @ [1.0, np.e, np.pi])  # no mode is orthogonal to it but by chance
    signs = np.where(signs == 0, 1.0, signs)
    parts, _ = parts.each(row_parts.codes, change, lengths * signs)
    return parts, replace(shared, modes=shared.modes * signs[:, None]), change


def _bulge(shape: Array) -> float:
    """+1 where depth grows with the distance from the centre in the image plane, else -1."""
    radius = (shape[:2] ** 2).sum(axis=0)
    return 1.0 if (radius - radius.mean()) @ shape[2] >= 0 else -1.0


def _squares(rows: Rows) -> float:
    return float((rows.points**2).sum())

"""Non-rigid structure from motion with rank-one basis shapes: a closed form, then all jointly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_whole
from mining.methods.camera import mean_rotation, metric_upgrade, split_cameras
from mining.methods.closed_form import factors_for, residual_rows, singular_rows
from mining.methods.refine import Factors, refine
from mining.methods.rigid import refit_shape, rigid_shape
from mining.methods.shape_model import ShapeModel, check_landmarks, codes_from, refuse_flat
from schemas.errors import InputError

Array = NDArray[np.float64]
Calibration = Literal["none", "mean", "upgrade", "metric"]

SAMPLE = 3000  # rows that the rigid landmarks are looked for in
HELD, HELD_TOLERANCE = 20, 1e-4  # sweeps with the metric rotations held, before all is free


@dataclass(frozen=True)
class NrsfmConfig:
    """Settings of `fit_nrsfm`."""

    components: int = 12  # K, the number of non-rigid modes; the paper's 12
    calibration: Calibration = "upgrade"
    # none: the factorisation's own axes; mean: those, turned so that the mean rotation is 1;
    # upgrade: cameras made metric on all landmarks; metric: on those that move with the skull
    sweeps: int = 0  # of the joint refinement, such as 60; 0 leaves the closed form as it is
    tolerance: float = 1e-6  # relative change of the residual at which the refinement ends
    rigid: float = 0.6  # share of the landmarks that count as rigid
    grid: int = 1000  # points on the half sphere where the search for d_k starts, at least
    starts: int = 6  # best grid points, apart from each other, that are refined, at least

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("components", "grid", "starts")}
        check_whole("nrsfm", 1, **sizes)
        check_whole("nrsfm", 0, sweeps=self.sweeps)
        if self.calibration not in get_args(Calibration):
            raise InputError(
                f"nrsfm: calibration is {self.calibration!r}, expected one of "
                f"{', '.join(get_args(Calibration))}."
            )
        if not 0 < self.rigid <= 1:
            raise InputError(f"nrsfm: rigid is {self.rigid}, expected a share in (0, 1].")
        if not self.tolerance >= 0:
            raise InputError(f"nrsfm: tolerance is {self.tolerance}, expected 0 or more.")


def fit_nrsfm(landmarks: Array, config: NrsfmConfig = NrsfmConfig()) -> ShapeModel:
    """Recover a 3-D shape model from 2-D landmarks alone.

    With the centred measurements X (2N, L) = U S V', only their coordinates in the first 3 + K
    rows of V are read from then on; the rows come from the Gram matrix X'X in float64.
    The closed form: the top three rows give cameras M_n and B_0, the next K the rows b_k,
    equations (3) to (6). As b_k is orthogonal to B_0 and to the other rows, equation (10) splits
    into K problems in three unknowns: with y_nk = X_n b_k,
    d_k = argmax over the unit sphere of sum_n (y_nk'M_n d)^2 / |M_n d|^2, found by a grid and
    Newton's method, and alpha_nk = (M_n d_k)'y_nk / |M_n d_k|^2.
    The affine freedom is spent on metric cameras: by `metric_upgrade`, or, with `metric`, they are
    fitted to the most rigid landmarks (`rigid_shape`), from which B_0 and the rows of X - M B_0
    follow. With `sweeps` all parts are refined together on the full objective (`refine`), after
    `metric` first with the rotations held. At last the mean rotation is made the identity, so
    theta = 0 faces the camera.
    Scale: the mean of sqrt(k11 k22) is 1. Mirror: the shape bulges towards the viewer (its
    depth grows with the distance from its centre), as a face does.
    alpha_nk is a least-squares solution, so it grows without bound where camera n looks along d_k
    and hardly sees it; `train_regressor` bounds it.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, section 3.1; the split by k follows
    from the orthonormal rows used by Brandt & Ackermann (2019), arXiv:1904.13271.

    Args:
        landmarks: (N, L, 2) in [0, 1], y down, 2N >= L >= 3 + K + 1.

    Raises:
        InputError: the shape is wrong, there are too few rows or landmarks, a value is NaN, or the
            landmarks of a row lie on one line.
    """
    landmarks = check_landmarks(landmarks)
    _check_size(landmarks, config.components)
    shift = landmarks.mean(axis=1)
    centred = (landmarks - shift[:, None]).transpose(0, 2, 1)
    flat = centred.reshape(-1, centred.shape[2])
    space, share = singular_rows(flat.T @ flat, config.components)
    points = centred @ space.T
    refuse_flat(points[:, :, :3], "collinear as the shape model sees them")
    rest = max(float((centred**2).sum() - (points**2).sum()), 0.0)
    factors, closed, sweeps, metric = _fitted(points, space, rest, config)
    factors = _posed(factors, space, config.calibration)
    codes = codes_from(factors.cameras, factors.alpha, shift)
    model = ShapeModel(
        mean_shape=factors.shape @ space,
        basis=factors.basis @ space,
        modes=factors.modes,
        codes=codes,
        objective=0.0,
        relative_residual=0.0,
        rms=0.0,
        rank_share=share,
        metric=metric,
        closed_residual=float(np.sqrt(closed / (centred**2).sum())),
        sweeps=sweeps,
    )
    return _measured(model, landmarks, centred)


def _fitted(
    points: Array, space: Array, rest: float, config: NrsfmConfig
) -> tuple[Factors, float, int, bool]:
    """Factors in the row space, the closed form's objective, sweeps, and whether they are metric.

    Args:
        points: (N, 2, 3 + K) coordinates in `space`, (3 + K, L).
    """
    axes = np.eye(points.shape[2])
    search = (config.grid, config.starts)
    closed = factors_for(points[:, :, :3], points, axes[:3], axes[3:], *search)
    objective = float(((points - closed.points()) ** 2).sum()) + rest
    start, rotations, metric = closed, None, False
    if config.calibration in ("upgrade", "metric"):
        upgrade, metric = metric_upgrade(closed.cameras)
        start = turned(closed, upgrade)
    if config.calibration == "metric":
        start, metric = _rigid_start(points, space, start, config)
        rotations = start.cameras / np.linalg.norm(start.cameras[:, :1], axis=2, keepdims=True)
    if not config.sweeps:
        return start, objective, 0, metric
    count = 0
    if rotations is not None:
        held = refine(points, start, HELD, HELD_TOLERANCE, rest, rotations)
        start, count = held.factors, len(held.objectives)
    free = refine(points, start, config.sweeps, config.tolerance, rest)
    return free.factors, objective, count + len(free.objectives), metric


def _rigid_start(
    points: Array, space: Array, start: Factors, config: NrsfmConfig
) -> tuple[Factors, bool]:
    """Factors for the metric cameras of the rigid landmarks; whether these were found."""
    order = np.argsort(points[:, 0, 0], kind="stable")  # the same rows in whatever order they came
    some = order[:: max(1, len(order) // SAMPLE)]
    found = rigid_shape(points[some] @ space, start.shape @ space, config.rigid)
    cameras = found.cameras(points @ space)
    refuse_flat(cameras, "collinear as the rigid landmarks see them")
    shape = refit_shape(cameras, points)
    basis = residual_rows(points, cameras, shape, config.components)
    made = factors_for(cameras, points, shape, basis, config.grid, config.starts)
    return made, found.converged


def turned(factors: Factors, change: Array) -> Factors:
    """The same model with cameras M_n A: B_0 and the d_k are seen through the inverse of A."""
    back = np.linalg.inv(change)
    modes = factors.modes @ back.T
    length = np.linalg.norm(modes, axis=1)
    return replace(
        factors,
        cameras=factors.cameras @ change,
        shape=back @ factors.shape,
        modes=modes / length[:, None],
        alpha=factors.alpha * length,
    )


def _posed(factors: Factors, space: Array, calibration: Calibration) -> Factors:
    """The same model facing the camera, bulging to the viewer, at unit scale, signs fixed."""
    if calibration != "none":
        factors = _frontal(factors)
        mirror = np.diag([1.0, 1.0, _bulge(factors.shape @ space)])
        factors = _frontal(turned(factors, mirror))
    k, _ = split_cameras(factors.cameras)
    scale = float(np.sqrt(k[:, 0] * k[:, 2]).mean())
    factors = turned(factors, np.eye(3) / scale)
    signs = np.sign(factors.modes @ [1.0, np.e, np.pi])  # no mode is orthogonal to it but by chance
    signs = np.where(signs == 0, 1.0, signs)
    return replace(factors, modes=factors.modes * signs[:, None], alpha=factors.alpha * signs)


def _frontal(factors: Factors) -> Factors:
    """Turned so that the mean rotation of the cameras is the identity."""
    turn = mean_rotation(split_cameras(factors.cameras)[1])
    return turned(factors, turn.T)


def _bulge(shape: Array) -> float:
    """+1 where depth grows with the distance from the centre in the image plane, else -1."""
    radius = (shape[:2] ** 2).sum(axis=0)
    return 1.0 if (radius - radius.mean()) @ shape[2] >= 0 else -1.0


def _check_size(landmarks: Array, components: int) -> None:
    """InputError unless 3 + K singular vectors can exist."""
    rows, points = len(landmarks), landmarks.shape[1]
    if min(2 * rows, points - 1) < 3 + components:
        raise InputError(
            f"nrsfm: {rows} rows of {points} landmarks cannot carry {components} modes; "
            f"expected 2N and L - 1 of at least {3 + components}. Lower `components`."
        )


def _measured(model: ShapeModel, landmarks: Array, centred: Array) -> ShapeModel:
    """The model with its residuals over the rows it was fitted to."""
    squares = (model.project(model.codes) - landmarks) ** 2
    objective = float(squares.sum())
    return replace(
        model,
        objective=objective,
        relative_residual=float(np.sqrt(objective / (centred**2).sum())),
        rms=float(np.sqrt(squares.sum(axis=2).mean())),
    )

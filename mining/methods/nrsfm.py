"""Non-rigid structure from motion with rank-one basis shapes, in closed form."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_whole
from mining.methods.camera import mean_rotation, metric_upgrade, split_cameras
from mining.methods.shape_model import (
    ShapeModel,
    amplitudes,
    check_landmarks,
    codes_from,
    refuse_flat,
)
from schemas.errors import InputError

Array = NDArray[np.float64]

GRID_MOST, GRID_WORK = 20_000, 2_000_000  # grid points, and grid points times rows
STARTS_MOST, STARTS_WORK = 40, 2_400  # refined starts, and starts times rows


@dataclass(frozen=True)
class NrsfmConfig:
    """Settings of `fit_nrsfm`."""

    components: int = 12  # K, the number of non-rigid modes; the paper's 12
    grid: int = 1000  # points on the half sphere where the search for d_k starts, at least
    starts: int = 6  # best grid points, apart from each other, that are refined, at least
    metric: bool = True  # upgrade cameras to scaled orthonormal rows before reading angles

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("components", "grid", "starts")}
        check_whole("nrsfm", 1, **sizes)


def fit_nrsfm(landmarks: Array, config: NrsfmConfig = NrsfmConfig()) -> ShapeModel:
    """Recover a 3-D shape model from 2-D landmarks alone.

    With the centred measurements X (2N, L) = U S V': the top three right singular vectors give
    the cameras and B_0, the next K give the rows b_k, equations (3) to (6). All come from the
    Gram matrix X'X in float64. As b_k is orthogonal to B_0 and to the other rows, equation (10)
    splits into K problems in three unknowns: with y_nk = X_n b_k,
    d_k = argmax over the unit sphere of sum_n (y_nk'M_n d)^2 / |M_n d|^2, found by a grid and
    Newton's method, and alpha_nk = (M_n d_k)'y_nk / |M_n d_k|^2. The affine freedom is spent on
    metric cameras, then the mean rotation is made the identity, so theta = 0 faces the camera.
    Scale: the mean of sqrt(k11 k22) is 1. Mirror: the shape bulges towards the viewer (its
    depth grows with the distance from its centre), as a face does.
    alpha_nk is the exact minimiser, so it grows without bound where camera n looks along d_k and
    hardly sees it; `train_regressor` bounds it.
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
    frame, basis, share = _singular_rows(centred, config.components)
    refuse_flat(centred @ frame.T, "collinear as the shape model sees them")
    cameras, shape, metric = _calibrate(centred @ frame.T, frame, config.metric)
    bent = centred @ basis.T
    modes = np.stack([best_mode(cameras, bent[:, :, k], config) for k in range(len(basis))])
    codes = codes_from(cameras, amplitudes(cameras, modes, bent), shift)
    model = ShapeModel(shape, basis, modes, codes, 0.0, 0.0, 0.0, share, metric)
    return _measured(model, landmarks, centred)


def best_mode(cameras: Array, bent: Array, config: NrsfmConfig = NrsfmConfig()) -> Array:
    """argmax over unit d of f(d) = sum_n (y_n'M_n d)^2 / |M_n d|^2.

    Newton's method from the best points of a grid. Few rows make f rough, each with a sharp ridge
    of its own, so that grid and starts grow as rows get fewer: among 200 random problems of 6 to
    100 rows no search among 200,000 directions found a higher value.

    Args:
        cameras: (N, 2, 3). bent: (N, 2), y_n.

    Returns:
        (3,) unit vector, its sign fixed.
    """
    pull = np.einsum("nci,nc->ni", cameras, bent)
    gram = np.einsum("nci,ncj->nij", cameras, cameras)
    points = half_sphere(max(config.grid, min(GRID_MOST, GRID_WORK // len(bent))))
    values = _explained(pull, gram, points)
    starts = max(config.starts, min(STARTS_MOST, STARTS_WORK // len(bent)))
    found = [_climb(pull, gram, points[i]) for i in _peaks(points, values, starts)]
    best = max(found, key=lambda d: float(_explained(pull, gram, d[None])[0]))
    return best * _sign(best)


def half_sphere(count: int) -> Array:
    """(count, 3) unit vectors with z > 0, evenly spread: a Fibonacci lattice.

    Source: Gonzalez (2010), doi:10.1007/s11004-009-9257-x.
    """
    steps = np.arange(count) + 0.5
    z = 1 - steps / count
    angle = np.pi * (1 + np.sqrt(5)) * steps
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def _check_size(landmarks: Array, components: int) -> None:
    """InputError unless 3 + K singular vectors can exist."""
    rows, points = len(landmarks), landmarks.shape[1]
    if min(2 * rows, points - 1) < 3 + components:
        raise InputError(
            f"nrsfm: {rows} rows of {points} landmarks cannot carry {components} modes; "
            f"expected 2N and L - 1 of at least {3 + components}. Lower `components`."
        )


def _singular_rows(centred: Array, components: int) -> tuple[Array, Array, float]:
    """V's first three rows, the next K, and the share of the energy that they hold.

    The constant vector, to which X is orthogonal, is set last: landmarks of lower rank than 3 + K
    would else let it, or a mixture with it, be taken for a mode.
    """
    rows = centred.reshape(-1, centred.shape[2])
    gram = rows.T @ rows
    energy, vectors = np.linalg.eigh(gram - np.trace(gram) / len(gram))
    energy, vectors = np.maximum(energy[::-1], 0), vectors.T[::-1]
    kept = 3 + components
    if energy[2] <= 1e-12 * energy[0]:
        raise InputError("nrsfm: the landmarks span less than three dimensions; no depth to find.")
    vectors = vectors[:kept] * np.array([[_sign(row)] for row in vectors[:kept]])
    return vectors[:3], vectors[3:], float(energy[:kept].sum() / energy.sum())


def _sign(vector: Array) -> float:
    """+1 or -1, so that sign * vector is the same for vector and -vector.

    The weights have no symmetry, so that a mode that moves both halves of a face in opposite
    ways does not hang on a tie.
    """
    return 1.0 if vector @ np.cos(np.arange(len(vector)) + 0.5) >= 0 else -1.0


def _calibrate(cameras: Array, frame: Array, metric: bool) -> tuple[Array, Array, bool]:
    """Cameras (N, 2, 3) and shape (3, L) with metric axes, mean rotation 1, and unit scale."""
    upgrade, definite = metric_upgrade(cameras) if metric else (np.eye(3), False)
    cameras, shape = _frontal(cameras @ upgrade, np.linalg.inv(upgrade) @ frame)
    mirror = np.array([1.0, 1.0, _bulge(shape)])
    cameras, shape = _frontal(cameras * mirror, mirror[:, None] * shape)
    k, _ = split_cameras(cameras)
    scale = float(np.sqrt(k[:, 0] * k[:, 2]).mean())
    return cameras / scale, shape * scale, definite


def _frontal(cameras: Array, shape: Array) -> tuple[Array, Array]:
    """Turn shape and cameras so that the mean rotation of the cameras is the identity."""
    turn = mean_rotation(split_cameras(cameras)[1])
    return cameras @ turn.T, turn @ shape


def _bulge(shape: Array) -> float:
    """+1 where depth grows with the distance from the centre in the image plane, else -1."""
    radius = (shape[:2] ** 2).sum(axis=0)
    return 1.0 if (radius - radius.mean()) @ shape[2] >= 0 else -1.0


def _explained(pull: Array, gram: Array, points: Array) -> Array:
    """f(d) for (P, 3) directions; pull (N, 3) holds M_n'y_n, gram (N, 3, 3) holds M_n'M_n."""
    squares = np.einsum("pi,pj->ijp", points, points).reshape(9, -1)
    floor = 1e-12 * np.trace(gram, axis1=1, axis2=2)[:, None]
    total = np.zeros(len(points))
    for start in range(0, len(pull), 2048):  # bounds memory: 2048 x P numbers at a time
        part = slice(start, start + 2048)
        size = gram[part].reshape(-1, 9) @ squares
        size[size <= floor[part]] = np.inf
        total += ((pull[part] @ points.T) ** 2 / size).sum(axis=0)
    return total


def _peaks(points: Array, values: Array, count: int) -> list[int]:
    """Indices of the best grid points that lie at least ten degrees apart, as axes."""
    chosen: list[int] = []
    for i in np.argsort(-values, kind="stable"):
        if all(abs(points[i] @ points[j]) < np.cos(np.radians(10)) for j in chosen):
            chosen.append(int(i))
        if len(chosen) == count:
            break
    return chosen


def _climb(pull: Array, gram: Array, d: Array, steps: int = 60) -> Array:
    """Newton's method for f on the unit sphere, with steps that never lower f."""
    value = float(_explained(pull, gram, d[None])[0])
    for _ in range(steps):
        tangent = np.linalg.svd(d[None])[2][1:].T
        slope, curve = _derivatives(pull, gram, d)
        bends, axes = np.linalg.eigh(tangent.T @ curve @ tangent)
        bends = np.maximum(abs(bends), 1e-9 * max(value, 1e-300))
        step = tangent @ axes @ ((axes.T @ tangent.T @ slope) / bends)
        step *= min(1.0, 0.2 / max(float(np.linalg.norm(step)), 1e-300))
        for _ in range(30):
            trial = (d + step) / np.linalg.norm(d + step)
            reached = float(_explained(pull, gram, trial[None])[0])
            if reached > value:
                break
            step /= 4
        else:
            return d
        gain, d, value = reached - value, trial, reached
        if gain <= 1e-14 * value:
            return d
    return d


def _derivatives(pull: Array, gram: Array, d: Array) -> tuple[Array, Array]:
    """Gradient (3,) and Hessian (3, 3) of f at d, in R^3; f does not change with |d|."""
    bent = gram @ d
    size = bent @ d
    keep = size > 1e-12 * np.trace(gram, axis1=1, axis2=2)
    pull, gram, bent, size = pull[keep], gram[keep], bent[keep], size[keep]
    ratio = (pull @ d) / size
    slope = 2 * (ratio @ pull - ratio**2 @ bent)
    mixed = (pull * (ratio / size)[:, None]).T @ bent
    curve = 2 * (pull / size[:, None]).T @ pull - 4 * (mixed + mixed.T)
    curve += 8 * (bent * (ratio**2 / size)[:, None]).T @ bent
    return slope, curve - 2 * np.einsum("n,nij->ij", ratio**2, gram)


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

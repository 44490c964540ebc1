"""Fits a linear 3D shape model, its pose and its scale to 68 landmarks, many images at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mining.shape3d.camera import Pose, check_focal, euler_angles, look_at, look_back
from mining.shape3d.model import IBUG, Sparse
from mining.shape3d.newton import Problem, Seen, State, look, minimise
from schemas.errors import InputError

Array = NDArray[Any]
OUTLINE, INNER = slice(0, 17), slice(17, IBUG)
OUTLINE_LEFT, OUTLINE_RIGHT = slice(0, 8), slice(9, 17)  # the chin, 8, lies in neither
FARTHEST = 10.0  # image widths from the middle; landmarks beyond are of no face
LEAST_SPREAD = 1e-6  # image widths; a face is larger
AWAY = -0.2  # cosine of the angle to the viewer, beyond which no landmark of a face is seen


@dataclass(frozen=True)
class FitConfig:
    """How landmarks are believed, and when a fit is done."""

    focal: float | None = 4.26  # image widths; None is weak perspective
    noise: float = 3.0  # mm on the head, standard deviation of a landmark along each axis
    outline: float = 4.0  # the same of the face's outline, in noises of the other landmarks
    hidden: float = 10.0  # added to it, times the sine of the yaw, on the side that turns away
    regularisation: float = 1.0  # of the prior: 1 where coefficients are standard normal
    iterations: int = 6  # at most
    tolerance: float = 1e-4  # relative change of the cost at which a fit is done
    worst: float = 0.1  # the largest residual of a face, in distances of its eye corners
    precision: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        check_focal("shape3d", self.focal)
        for name, low, high in (
            ("noise", 1e-3, 100.0),
            ("outline", 0.1, 100.0),
            ("hidden", 0.0, 100.0),
            ("regularisation", 1e-6, 1e6),
            ("iterations", 0, 1000),
            ("tolerance", 0.0, 1.0),
            ("worst", 0.0, 100.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"shape3d: {name} {value!r} came; expected {low:g} to {high:g}.")
        if self.precision not in ("float32", "float64"):
            raise InputError(
                f"shape3d: precision {self.precision!r} came; expected float32, float64."
            )


@dataclass(frozen=True)
class Fit:
    """N fits; rows that are not `good` hold NaN."""

    good: NDArray[np.bool_]  # (N,) a face that looks at the camera explains the landmarks
    angles: NDArray[np.float64]  # (N, 3) yaw, pitch, roll in degrees, signs as geometry.POSE
    pose: Pose
    identity: NDArray[np.float64]  # (N, I) p_i, standard deviations
    expression: NDArray[np.float64]  # (N, E) p_e, standard deviations
    residual: NDArray[np.float64]  # (N,) see `Fitter.fit`
    cost: NDArray[np.float64]  # (N,) what was minimised
    iterations: NDArray[np.int64]  # (N,)
    converged: NDArray[np.bool_]  # (N,) the last step changed the cost by less than the tolerance


class Fitter:
    """One shape model at its landmarks, prepared for fits.

    Minimises, over the rotation R, scale s, shift t and coefficients p,

        sum_l |u_l - camera(R (mean_l + B_l p), s, t)|^2 / sigma_l^2 + regularisation |p|^2

    by Gauss-Newton, each image on its own: the maximum a posteriori for landmarks with normal
    errors and a model whose coefficients are standard normal (Blanz & Vetter (1999),
    doi:10.1145/311535.311556, section 4, for landmarks alone). A step that raises the cost is
    taken back and tried again shorter (Marquardt (1963), doi:10.1137/0111030). Landmarks of the
    face's outline lie where the outline is seen, which is not where the model's are once the head
    turns: their sigma grows on the side that turns away.

    Args:
        model: mean and components at the 68 landmarks.
    """

    def __init__(self, model: Sparse, config: FitConfig | None = None):
        self.config = config or FitConfig()
        dtype = np.dtype(self.config.precision)
        basis = np.concatenate([model.identity, model.expression])
        axes_first = basis.transpose(0, 2, 1)  # (K, 3, 68)
        self._problem = Problem(
            np.ascontiguousarray(model.mean.T, dtype),
            np.ascontiguousarray(axes_first, dtype),
            np.ascontiguousarray(
                axes_first.transpose(1, 0, 2).reshape(3, len(basis) * IBUG), dtype
            ),
            0.0 if self.config.focal is None else 1 / self.config.focal,
            self.config.regularisation,
        )
        self._identities = len(model.identity)
        self._start = start_matrix(model.mean, basis, self.config)

    def fit(self, points: Array, aspect: float = 1.0) -> Fit:
        """Fit N faces.

        The residual is the root mean square distance between the landmarks, the outline left
        out, and the model, as a fraction of the distance between the outer eye corners of the
        fitted shape. An image's fit is its own, to the last bit: it does not depend on the others.

        Args:
            points: (N, 68, 2) fractions of the image, y down. Rows with NaN get no fit.
            aspect: height over width of the images.

        Raises:
            InputError: the points have another shape.
        """
        points = np.asarray(points, np.float64)
        if points.ndim != 3 or points.shape[1:] != (IBUG, 2):
            raise InputError(f"fit: points {points.shape} came; expected (N, 68, 2).")
        good = spread_out(points)
        image, turns, middle = look_at(points[good], self.config.focal, aspect)
        affine = image.transpose(0, 2, 1) @ self._start
        rotation, scale, fine = scaled_rotation(affine[..., :3])
        good[good] = fine
        image, turns, middle, rotation, scale, affine = (
            array[fine] for array in (image, turns, middle, rotation, scale, affine)
        )
        state, seen = self._begin(image, rotation, scale, affine[..., 3])
        with np.errstate(over="ignore", invalid="ignore"):  # points of no face: a row without a fit
            found = minimise(
                self._problem, state, seen, self.config.iterations, self.config.tolerance
            )
            residual = self._residual(state, seen)
        residual[state.rotation[:, 2, 2] < AWAY] = np.inf  # mirrored: as if seen from behind
        posed = Pose(state.rotation, state.scale, state.shift)
        posed = look_back(posed, turns, middle, self.config.focal, aspect)
        return self._result(good, posed, state.coefficients, residual, *found)

    def _begin(
        self, image: Array, rotation: Array, scale: Array, shift: Array
    ) -> tuple[State, Seen]:
        """The start of n faces at the mean shape, and what is seen of them."""
        dtype, config = self._problem.mean.dtype, self.config
        sine = -rotation[:, 2, 0]  # of the yaw where there is no pitch; > 0: to the image's right
        sigma = np.ones((len(image), 1, IBUG))
        sigma[..., OUTLINE] = config.outline
        sigma[..., OUTLINE_LEFT] += config.hidden * np.maximum(-sine, 0)[:, None, None]
        sigma[..., OUTLINE_RIGHT] += config.hidden * np.maximum(sine, 0)[:, None, None]
        sigma *= (config.noise * scale)[:, None, None]
        flat = np.zeros((len(image), len(self._problem.basis)), dtype)
        state = State(rotation.astype(dtype), scale.astype(dtype), shift.astype(dtype), flat)
        points = np.ascontiguousarray(image.transpose(0, 2, 1), dtype)
        return state, Seen(points, (1 / sigma).astype(dtype), scale.astype(dtype))

    def _residual(self, state: State, seen: Seen) -> Array:
        """(n,) as `fit` says."""
        view = look(self._problem, state, seen)
        square = np.square(seen.points - view.image)[..., INNER].sum(axis=1).mean(axis=1)
        eyes = np.linalg.norm(view.turned[..., 36] - view.turned[..., 45], axis=1)
        return np.sqrt(square) / np.maximum(state.scale * eyes, 1e-12)

    def _result(
        self,
        good: NDArray[np.bool_],
        pose: Pose,
        coefficients: Array,
        residual: Array,
        cost: Array,
        steps: Array,
        done: Array,
    ) -> Fit:
        """What came of the rows that are good, as rows of the whole batch."""
        kept = (residual <= self.config.worst) & np.isfinite(coefficients).all(axis=1)
        kept &= (pose.scale > 0) & np.isfinite(pose.position).all(axis=1)
        good[good] = kept

        def whole(array: Array, empty: Any = np.nan) -> Array:
            result = np.full((len(good), *array.shape[1:]), empty)
            result[good] = array[kept]
            return result

        return Fit(
            good=good,
            angles=whole(euler_angles(pose.rotation)),
            pose=Pose(whole(pose.rotation), whole(pose.scale), whole(pose.position)),
            identity=whole(coefficients[:, : self._identities]),
            expression=whole(coefficients[:, self._identities :]),
            residual=whole(residual),
            cost=whole(cost),
            iterations=whole(steps, 0),
            converged=whole(done, False),
        )


def start_matrix(mean: Array, basis: Array, config: FitConfig) -> NDArray[np.float64]:
    """(68, 4) M: image (2, 68) @ M is the affine camera (2, 4) that explains the image best.

    Generalised least squares at the mean shape, whose landmarks are off by what identities and
    expressions move them and by their noise (Aitken (1935), doi:10.1017/S0370164600014346).
    """
    moved = np.einsum("klx,kmx->lm", basis[..., :2], basis[..., :2]) / 2
    sigma = np.full(IBUG, config.noise)
    sigma[OUTLINE] *= config.outline
    believed = np.linalg.inv(moved + np.diag(sigma**2))
    head = np.column_stack([mean, np.ones(IBUG)])
    return believed @ head @ np.linalg.inv(head.T @ believed @ head)


def scaled_rotation(
    affine: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """The scales and rotations whose first two rows are nearest to affine cameras A.

    With A A' = P P, P symmetric: the rows are P^-1 A, the scale is half the trace of P.

    Args:
        affine: (N, 2, 3).

    Returns:
        (N, 3, 3), (N,), and (N,) false where A has no rank of two.
    """
    square = affine @ affine.transpose(0, 2, 1)
    trace = square[:, 0, 0] + square[:, 1, 1]
    root = np.sqrt(np.maximum(np.linalg.det(square), 0))
    fine = root > 1e-4 * trace
    trace, root = np.where(fine, trace, 2.0), np.where(fine, root, 1.0)
    width = np.sqrt(trace + 2 * root)  # the trace of P
    power = (square + root[:, None, None] * np.eye(2)) / width[:, None, None]  # P
    power[~fine] = np.eye(2)
    rows = np.linalg.inv(power) @ affine
    return np.concatenate([rows, np.cross(rows[:, :1], rows[:, 1:])], axis=1), width / 2, fine


def spread_out(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) true where the points are finite, somewhere near the image, and not all in one place."""
    near = np.all(np.abs(points - 0.5) < FARTHEST, axis=(1, 2))  # false for NaN
    spread = np.where(near[:, None, None], points, 0).std(axis=1).max(axis=1)
    return np.asarray(near & (spread > LEAST_SPREAD))

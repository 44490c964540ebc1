"""The sparse 3-D shape model that NRSfM recovers: q -> landmarks, and landmarks -> q."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods.camera import (
    component_names,
    euler_angles,
    image_points,
    orthonormal,
    split_cameras,
)
from mining.methods.refine import Factors, fit_rows
from mining.methods.rigid import RigidShape
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ShapeModel:
    """Rank-one shape model: R(q) = K [I|0] R(theta) (B_0 + sum_k alpha_k d_k b_k') + t 1'.

    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, equations (2), (9) and (11).
    The rows of B_0 and the b_k are orthogonal to 1, so t is the centroid. In the closed form the
    b_k are orthonormal and orthogonal to B_0 besides; the joint refinement gives that up.
    Angles follow the geometry extractor: yaw > 0 to the image's right, pitch > 0 up, roll > 0
    clockwise, in radians (see `camera`).
    """

    mean_shape: Array  # (3, L) B_0 in fractions of the image: x right, y down, z away
    basis: Array  # (K, L) unit rows b_k
    modes: Array  # (K, 3) unit vectors d_k
    codes: Array  # (N, 8 + K) q of the rows it was fitted to
    objective: float  # equation (10) without its penalty, which is 0: the d_k are unit vectors
    relative_residual: float  # |X - R(q)|_F / |X - t|_F over the rows it was fitted to
    rms: float  # root mean square of |x - R(q)| per landmark, in fractions of the image
    rank_share: float  # share of |X - t|_F^2 inside the 3 + K kept singular vectors
    metric: bool  # metric cameras were found, so that angles are angles
    closed_residual: float = float("nan")  # relative_residual of the closed form alone
    sweeps: int = 0  # of the joint refinement
    rigid: RigidShape | None = None  # the landmarks that say how the head is turned; None: all

    @property
    def components(self) -> int:
        """K, the number of non-rigid modes."""
        return len(self.basis)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of q's numbers: k11, k12, k22, pitch, yaw, roll, alpha_0, ..., t_x, t_y."""
        return component_names(self.components)

    def project(self, q: Array) -> Array:
        """Equation (2): (N, 8 + K) -> (N, L, 2) landmarks as fractions of the image."""
        q = np.asarray(q, np.float64)
        if q.ndim != 2 or q.shape[1] != 8 + self.components:
            raise InputError(f"nrsfm: q is {q.shape}, expected (N, {8 + self.components}).")
        return np.stack(image_points(q, self.mean_shape, self.basis, self.modes), axis=2)

    def fit(self, landmarks: Array, sweeps: int = 300, tolerance: float = 1e-9) -> Array:
        """Equation (11): the q that brings R(q) nearest to each new set of landmarks.

        t is the centroid. The cameras M and alpha see the landmarks only through their coordinates
        in the span of B_0 and the b_k, and are solved for in turn, each in closed form, from the
        rigid fit on, so the residual never grows (with `rigid`, M_n turns as these landmarks say,
        as it did for the rows of the fit, and K_n alone is solved for); a sweep that lowers a row's
        sum of squares by less than `tolerance` of itself is that row's last, so that a row's codes
        do not depend on the rows beside it.

        Args:
            landmarks: (N, L, 2) in [0, 1].

        Returns:
            (N, 8 + K) codes.

        Raises:
            InputError: the shape is wrong, a value is not finite, or a row's landmarks lie on one
                line.
        """
        landmarks = check_landmarks(landmarks, self.mean_shape.shape[1])
        shift = landmarks.mean(axis=1)
        frame, upper = np.linalg.qr(np.concatenate([self.mean_shape, self.basis]).T)
        points = (landmarks - shift[:, None]).transpose(0, 2, 1) @ frame
        shared = Factors(np.empty(0), upper.T[:3], upper.T[3:], self.modes, np.empty(0))
        turns = None
        if self.rigid is not None:
            turns = orthonormal(self.rigid.cameras(points @ frame.T))
        cameras, alpha = rows_of_new(points, shared, sweeps, tolerance, turns)
        return codes_from(cameras, alpha, shift)

    def residuals(self, landmarks: Array, q: Array) -> Array:
        """(N,) root mean square distance of the landmarks from R(q), in fractions of the image."""
        gaps = self.project(q) - landmarks
        return np.sqrt((gaps**2).sum(axis=2).mean(axis=1))


def check_landmarks(landmarks: Array, count: int | None = None) -> Array:
    """Landmarks (N, L, 2) as finite float64; `count` is the expected L where it is known.

    Raises:
        InputError: the shape is wrong, a value is not finite, or a row's landmarks lie on one line.
    """
    landmarks = np.asarray(landmarks, np.float64)
    wanted = f"(N, {count or 'L'}, 2)"
    if landmarks.ndim != 3 or landmarks.shape[2] != 2:
        raise InputError(f"nrsfm: landmarks are {landmarks.shape}, expected {wanted}.")
    if count is not None and landmarks.shape[1] != count:
        raise InputError(f"nrsfm: landmarks are {landmarks.shape}, expected {wanted}.")
    if not np.isfinite(landmarks).all():
        rows = int((~np.isfinite(landmarks).all(axis=(1, 2))).sum())
        raise InputError(f"nrsfm: {rows} of {len(landmarks)} rows hold NaN; drop them first.")
    refuse_flat((landmarks - landmarks.mean(axis=1, keepdims=True)).transpose(0, 2, 1))
    return landmarks


def is_flat(pairs: Array) -> NDArray[np.bool_]:
    """(N,) whether the two rows of a pair (N, 2, C) are parallel: they fix no camera.

    Parallel: the smaller singular value is under 1e-5 of the larger, far from any face.
    """
    a, b = pairs[:, 0], pairs[:, 1]
    aa, bb, ab = ((x * y).sum(axis=1) for x, y in ((a, a), (b, b), (a, b)))
    return aa * bb - ab**2 <= 1e-10 * (aa + bb) ** 2


def refuse_flat(pairs: Array, what: str = "collinear") -> None:
    """InputError where pairs are flat, as `is_flat` says."""
    refuse_rows(is_flat(pairs), what)


def refuse_rows(wrong: NDArray[np.bool_], what: str) -> None:
    """InputError where any of (N,) rows is wrong, with how many and the first of them."""
    rows = np.flatnonzero(wrong)
    if len(rows):
        raise InputError(
            f"nrsfm: {len(rows)} of {len(wrong)} rows are {what}, first "
            f"{', '.join(map(str, rows[:5]))}; drop them."
        )


def rows_of_new(
    points: Array,
    shared: Factors,
    sweeps: int = 300,
    tolerance: float = 1e-9,
    rotations: Array | None = None,
) -> tuple[Array, Array]:
    """Cameras (N, 2, 3) and amplitudes (N, K) of rows (N, 2, R) for given shared parts.

    From the rigid fit on, in turn; a row whose sum of squares falls by less than `tolerance` of
    itself is done, so that it does not depend on the rows beside it.

    Args:
        rotations: (N, 2, 3) orthonormal rows that the cameras keep; None: cameras are free.
    """
    whole = replace(shared, alpha=np.zeros((len(points), len(shared.modes))))
    whole = fit_rows(points, whole, rotations)
    cameras, alpha = whole.cameras, whole.alpha
    last = np.full(len(points), np.inf)
    active = np.arange(len(points))
    for _ in range(sweeps):
        turns = None if rotations is None else rotations[active]
        part = fit_rows(points[active], replace(whole, alpha=alpha[active]), turns)
        cameras[active], alpha[active] = part.cameras, part.alpha
        loss = ((points[active] - part.points()) ** 2).sum(axis=(1, 2))
        going = last[active] - loss > tolerance * loss
        last[active] = loss
        active = active[going]
        if not len(active):
            break
    return cameras, alpha


def amplitudes(cameras: Array, modes: Array, bent: Array) -> Array:
    """alpha_nk = (M_n d_k)'y_nk / |M_n d_k|^2, and 0 where the camera looks along d_k.

    Args:
        cameras: (N, 2, 3). modes: (K, 3). bent: (N, 2, K), y_nk = X_n b_k.
    """
    seen = cameras @ modes.T
    size = (seen**2).sum(axis=1)
    floor = 1e-12 * (cameras**2).sum(axis=(1, 2))[:, None]
    return (seen * bent).sum(axis=1) / np.where(size > floor, size, np.inf)


def codes_from(cameras: Array, alpha: Array, shift: Array) -> Array:
    """(N, 2, 3), (N, K), (N, 2) -> q (N, 8 + K); InputError where a camera has rank below 2."""
    refuse_flat(cameras, "collinear as the shape model sees them")
    k, rotations = split_cameras(cameras)
    return np.concatenate([k, euler_angles(rotations), alpha, shift], axis=1)

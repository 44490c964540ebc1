"""Do two halves of a dataset tell of the same shapes? Principal angles between what they span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import subspace_angles

from mining.methods.base import check_whole, own_order
from mining.methods.nrsfm import NrsfmConfig, fit_nrsfm
from mining.methods.shape_model import ShapeModel, check_landmarks
from schemas.errors import InputError

Array = NDArray[np.float64]
DEFAULT_NRSFM = NrsfmConfig()


@dataclass(frozen=True)
class HalfAgreement:
    """How near the shape models of two halves come to each other. Angles in degrees, ascending."""

    rows: tuple[int, int]  # of each half
    basis: Array  # (K,) principal angles between the spans of the b_k
    plane: Array  # (3 + K,) between the spans of the rows of B_0 and the b_k
    shapes: Array  # (1 + K,) between the spans of B_0 and the d_k b_k', in 3 L dimensions
    mean_shape: float  # distance of the two B_0 over their size, after the best similarity

    @property
    def middle(self) -> tuple[float, float, float]:
        """The medians of `basis`, `plane` and `shapes`."""
        basis, plane, shapes = (float(np.median(x)) for x in (self.basis, self.plane, self.shapes))
        return basis, plane, shapes


def half_agreement(
    landmarks: Array, config: NrsfmConfig = DEFAULT_NRSFM, seed: int = 0
) -> HalfAgreement:
    """Fit the shape model to each half of the rows, and compare the two.

    The split is seeded and a function of the rows alone. Single modes b_k have no order that two
    halves share where singular values nearly coincide, so spans are compared: `plane` is what the
    factorisation explains at all, `basis` and `shapes` how it is parted into rigid and non-rigid.
    The last angles are those of the modes that have least to explain.

    Args:
        landmarks: (N, L, 2) in [0, 1]; each half must carry `config.components` modes.

    Raises:
        InputError: as for `fit_nrsfm`, of a half.
    """
    check_whole("halves", 0, seed=seed)
    landmarks = check_landmarks(landmarks)
    if len(landmarks) < 2:
        raise InputError(f"halves: {len(landmarks)} rows came, expected at least 2.")
    order = own_order(landmarks.reshape(len(landmarks), -1))
    mixed = order[np.random.default_rng(seed).permutation(len(order))]
    first, second = np.sort(mixed[: len(mixed) // 2]), np.sort(mixed[len(mixed) // 2 :])
    one, other = (fit_nrsfm(landmarks[half], config) for half in (first, second))
    return compare_models(one, other, (len(first), len(second)))


def compare_models(one: ShapeModel, other: ShapeModel, rows: tuple[int, int]) -> HalfAgreement:
    """The agreement of two models of the same L landmarks, in one gauge.

    What the cameras leave open is taken out first: a rotation, a mirror and a scale, chosen by the
    mean shapes (least squares); where a model is not metric, any affine map.
    """
    turn, scale = _gauge(other, one)
    mean, modes = scale * turn @ other.mean_shape, other.modes @ turn.T
    gap = np.linalg.norm(mean - one.mean_shape) / np.linalg.norm(one.mean_shape)
    return HalfAgreement(
        rows,
        basis=principal_angles(one.basis, other.basis),
        plane=principal_angles(
            np.concatenate([one.mean_shape, one.basis]),
            np.concatenate([other.mean_shape, other.basis]),
        ),
        shapes=principal_angles(
            _shapes(one.mean_shape, one.modes, one.basis), _shapes(mean, modes, other.basis)
        ),
        mean_shape=float(gap),
    )


def principal_angles(one: Array, other: Array) -> Array:
    """The principal angles between the row spaces of (P, D) and (R, D), in degrees, ascending.

    Source: Knyazev & Argentati (2002), doi:10.1137/S1064827500377332, as scipy has it.

    Returns:
        (min(P, R),) in [0, 90].

    Raises:
        InputError: the rows are not of one length, or hold what is not finite.
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise InputError(
            f"principal angles: {one.shape} and {other.shape} came; expected (P, D) and (R, D)."
        )
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise InputError("principal angles: the rows hold NaN or infinity.")
    return np.sort(np.degrees(subspace_angles(one.T, other.T)))


def _gauge(model: ShapeModel, target: ShapeModel) -> tuple[Array, float]:
    """The map of 3-D points, and a scale, that bring one mean shape nearest to the other's."""
    pull = target.mean_shape @ model.mean_shape.T
    if not (model.metric and target.metric):
        return pull @ np.linalg.inv(model.mean_shape @ model.mean_shape.T), 1.0
    left, sizes, right = np.linalg.svd(pull)
    return left @ right, float(sizes.sum() / (model.mean_shape**2).sum())


def _shapes(mean: Array, modes: Array, basis: Array) -> Array:
    """(1 + K, 3 L): B_0 and the d_k b_k', laid flat."""
    bent = (modes[:, :, None] * basis[:, None]).reshape(len(basis), -1)
    return np.concatenate([mean.reshape(1, -1), bent])

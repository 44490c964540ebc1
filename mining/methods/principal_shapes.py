"""The non-rigid modes, turned to the axes along which the dataset's faces really bend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import signed
from mining.methods.camera import cameras_of
from mining.methods.regressor import clip_codes
from mining.methods.shape_model import ShapeModel
from schemas.errors import InputError
from schemas.registry import unknown

Array = NDArray[np.float64]
Metric = Literal["space", "image"]


@dataclass(frozen=True)
class PrincipalShapes:
    """Uncorrelated 3-D shapes, and the maps between their coordinates and the amplitudes alpha.

    sum_k alpha_k d_k b_k' = sum_k mean_k d_k b_k' + sum_j c_j S_j. Where two modes are the same,
    there are fewer shapes than modes.
    """

    mean: Array  # (K,) the mean amplitudes; their face is B_0 + sum_k mean_k d_k b_k'
    axes: Array  # (K, J) amplitudes of each shape
    forms: Array  # (J, K) the coordinates of an amplitude: c = forms (alpha - mean)
    shapes: Array  # (J, 3, L) S_j in fractions of the image, orthonormal in the metric
    spreads: Array  # (J,) standard deviation of c_j over the dataset, the largest first

    @property
    def explained(self) -> Array:
        """(J,) the share of the landmarks' non-rigid variance along each shape, in the metric."""
        total = float((self.spreads**2).sum())
        return self.spreads**2 / (total or 1.0)

    def to_principal(self, alpha: Array) -> Array:
        """(N, K) amplitudes -> (N, J) coordinates."""
        return (_wide("alpha", alpha, self.axes.shape[0]) - self.mean) @ self.forms.T

    def from_principal(self, coordinates: Array) -> Array:
        """(N, J) coordinates -> (N, K) amplitudes, the shortest that make the same face."""
        return self.mean + _wide("coordinates", coordinates, self.axes.shape[1]) @ self.axes.T


def principal_shapes(
    model: ShapeModel, codes: Array | None = None, metric: Metric = "space"
) -> PrincipalShapes:
    """Rotate the modes so that they come in the order of how much they move the landmarks.

    A face's bending is T alpha, the columns of T (3L, K) being the d_k b_k' laid flat, with the
    Gram matrix G = T'T = (D D') * (B B'). The principal components of the 3-D landmarks are
    T G^(-1/2) u_j for the eigenvectors u_j of G^(1/2) C G^(1/2), C the covariance of alpha; their
    coordinates c = U' G^(1/2) (alpha - mean) are uncorrelated. Principal components of alpha
    itself would depend on how the modes overlap. Each shape's largest entry is positive.
    Depth counts as much as width there, though cameras hardly see it: what moves to and fro is
    known least, varies most, and comes first. In the metric `image` a shape is as large as the
    cameras see it on average, G = (D W D') * (B B') with W the mean of M_n'M_n.
    Amplitudes are clipped as for the regressor: one camera that looks along d_k would rule all.
    Source: Haas, Grasshof & Brandt (2022), arXiv:2211.07195, equation (9), for the modes, which
    the authors' program can rotate; Jolliffe (2002), doi:10.1007/b98835, section 14.2, for
    components in a metric.

    Args:
        codes: (N, 8 + K), N >= 2; those that the model was fitted to where none are given.
        metric: "space" for the 3-D landmarks, "image" for what is seen of them.

    Raises:
        InputError: the shape is wrong, a value is not finite, there are fewer than two rows, or
            the metric is unknown.
    """
    if metric not in get_args(Metric):
        raise unknown("metric of principal shapes", metric, get_args(Metric))
    codes = _clipped(model, model.codes if codes is None else codes)
    alpha, sight = codes[:, 6:-2], np.eye(3)
    if metric == "image":
        rows = cameras_of(codes).reshape(-1, 3)
        sight = rows.T @ rows / len(codes)
    flat = (model.modes[:, :, None] * model.basis[:, None]).reshape(model.components, -1)
    sizes, turn = np.linalg.eigh(
        (model.modes @ sight @ model.modes.T) * (model.basis @ model.basis.T)
    )
    kept = sizes > np.finfo(float).eps * 100 * model.components * sizes[-1]
    root, turn = np.sqrt(sizes[kept]), turn[:, kept]
    mean = alpha.mean(axis=0)
    spread = root[:, None] * turn.T @ np.atleast_2d(np.cov(alpha, rowvar=False)) @ turn * root
    energy, vectors = np.linalg.eigh(spread)
    order = np.argsort(-energy, kind="stable")
    vectors = vectors[:, order]
    shapes = (turn / root @ vectors).T @ flat
    signs = np.sign((signed(shapes.T) * shapes.T).sum(axis=0))
    return PrincipalShapes(
        mean=mean,
        axes=turn / root @ vectors * signs,
        forms=((turn * root) @ vectors * signs).T,
        shapes=(shapes * signs[:, None]).reshape(len(shapes), 3, -1),
        spreads=np.sqrt(np.maximum(energy[order], 0)),
    )


def _clipped(model: ShapeModel, codes: Array) -> Array:
    """Codes (N, 8 + K), clipped as those that a regressor learns."""
    codes = _wide("codes", codes, 8 + model.components)
    if len(codes) < 2:
        raise InputError(
            f"principal shapes: {len(codes)} codes came, expected at least 2. A model that was "
            "loaded carries none: give those of a dataset, from `fit` or the regressor."
        )
    return clip_codes(codes, codes)


def _wide(what: str, rows: Array, width: int) -> Array:
    """Rows (N, width) as finite float64."""
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise InputError(f"principal shapes: {what} are {rows.shape}, expected (N, {width}).")
    if not np.isfinite(rows).all():
        raise InputError(f"principal shapes: {what} hold NaN or infinity; drop those rows first.")
    return rows

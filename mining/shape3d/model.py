"""A linear 3D shape model: mean, identity and expression, and where its landmarks lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]
IBUG = 68
DEVIATIONS = "standard deviations"  # of the shape model's own population
FULL = "full expressions"  # 1 is the whole of a blendshape


@dataclass(frozen=True)
class ShapeModel:
    """s = mean + sum_i p_i identity_i + sum_e p_e expression_e (Bounareli et al., equation 1).

    Millimetres; x to the right of the image, y up, z towards the viewer when the face looks ahead.
    Coefficients are in standard deviations of the model's own population; those of blendshapes
    are not: their 1 is the full expression.
    """

    name: str
    licence: str
    sha256: str  # over the arrays: two files with the same numbers are the same model
    mean: Array  # (V, 3)
    identity: Array  # (I, V, 3)
    expression: Array  # (E, V, 3)
    corners: NDArray[np.int64]  # (68, 3): the vertices between which each iBUG landmark lies
    weights: Array  # (68, 3): barycentric, rows sum to 1
    expression_names: tuple[str, ...] = ()  # E names, or () where the model has none
    expression_unit: str = DEVIATIONS

    def __post_init__(self) -> None:
        count = len(self.mean)
        shapes = (self.mean.shape, self.identity.shape[1:], self.expression.shape[1:])
        if set(shapes) != {(count, 3)} or self.corners.shape != (IBUG, 3):
            raise InputError(
                f"shape model {self.name!r}: mean {self.mean.shape}, identity "
                f"{self.identity.shape}, expression {self.expression.shape} and landmarks "
                f"{self.corners.shape} do not fit together."
            )
        if (
            self.weights.shape != (IBUG, 3)
            or not ((self.corners >= 0) & (self.corners < count)).all()
        ):
            raise InputError(f"shape model {self.name!r}: a landmark lies on no vertex.")
        if self.expression_names and len(self.expression_names) != len(self.expression):
            raise InputError(
                f"shape model {self.name!r}: {len(self.expression_names)} names came for "
                f"{len(self.expression)} expressions."
            )
        for array in (self.mean, self.identity, self.expression, self.weights):
            if not np.isfinite(array).all():
                raise InputError(f"shape model {self.name!r} holds numbers that are not finite.")

    def landmarks(self, identities: int | None = None, expressions: int | None = None) -> Sparse:
        """The model at its 68 landmarks alone, which is all that a fit needs.

        Args:
            identities, expressions: how many of the first components are kept; None keeps all.
        """
        return Sparse(
            self._at(self.mean[None])[0],
            self._at(self.identity[:identities]),
            self._at(self.expression[:expressions]),
        )

    def shape(self, identity: Array, expression: Array) -> Array:
        """(N, <=I), (N, <=E) -> (N, V, 3) in millimetres."""
        i, e = identity.shape[1], expression.shape[1]
        moved = np.tensordot(identity, self.identity[:i], 1)
        return self.mean + moved + np.tensordot(expression, self.expression[:e], 1)

    def _at(self, vertices: Array) -> Array:
        """(K, V, 3) -> (K, 68, 3)."""
        return np.einsum("klcx,lc->klx", vertices[:, self.corners], self.weights)


@dataclass(frozen=True)
class Sparse:
    """A shape model at its landmarks."""

    mean: Array  # (68, 3)
    identity: Array  # (I, 68, 3)
    expression: Array  # (E, 68, 3)

"""The row space of landmarks of which some are grossly wrong, by iteratively re-weighted fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.closed_form import singular_rows

Array = NDArray[np.float64]

CUT = 4.685  # robust spreads beyond which a landmark counts for nothing: Tukey's, 95 % efficient
RIGID_TURNS, TURNS, TOLERANCE = 12, 40, 1e-6  # with three rows, with all; change that ends them
DOUBT = 4.0  # of the noise's variance, beyond which what is left of a row says too little
MEDIAN = 1.1774  # median length of a normal vector in the plane, in spreads of a coordinate
TINY = np.finfo(float).tiny


@dataclass(frozen=True)
class RobustSpace:
    """A row space found without the gross errors, and how far landmarks lie from it."""

    rows: Array  # (R, L) orthonormal, orthogonal to 1
    share: float  # of the cleaned landmarks' energy that they hold
    spread: Array  # (L,) robust spread of a coordinate around the space

    def coordinates(self, landmarks: Array) -> tuple[Array, Array, float]:
        """Where rows lie in the space, gross errors left out.

        Per row X_n = t 1' + C_n V with Tukey's weights, from the fit of least absolute deviations
        on, which needs no start and follows gross errors little.

        Args:
            landmarks: (N, L, 2).

        Returns:
            (N, 2, R) coordinates, (N, 2) centroids of the fitted landmarks, and the weighed sum
            of squares outside the space.
        """
        fitted, coefficients, weights = self._fit(landmarks)
        rest = float((weights * _lengths(landmarks.transpose(0, 2, 1) - fitted) ** 2).sum())
        return coefficients[:, :, 1:], fitted.mean(axis=2), rest

    def _fit(self, landmarks: Array) -> tuple[Array, Array, Array]:
        """Fitted landmarks (N, 2, L), coefficients (N, 2, 1 + R) and weights (N, L)."""
        data = landmarks.transpose(0, 2, 1)
        fitted = _absolute(data, self.rows)
        weights = _tukey(_lengths(data - fitted), self.spread)
        coefficients = np.zeros((len(data), 2, 1 + len(self.rows)))
        active = np.arange(len(data))
        for _ in range(TURNS):  # each row ends by itself, so that it does not hang on the others
            part, before = data[active], weights[active]
            fitted[active], coefficients[active] = _weighed_fit(part, self.rows, before)
            weights[active] = _tukey(_lengths(part - fitted[active]), self.spread)
            active = active[np.abs(weights[active] - before).max(axis=1) > 1e-4]
            if not len(active):
                break
        return fitted, coefficients, weights

    def trusted(self, landmarks: Array) -> NDArray[np.bool_]:
        """(N,) whether enough landmarks are right to say where all the others should be.

        Said where no landmark's fit has more than DOUBT times the variance of one coordinate.
        """
        fitted, _, weights = self._fit(landmarks)
        design = np.concatenate([np.ones((1, len(self.spread))), self.rows])
        inverse = np.linalg.inv(_normal(design, weights))
        variance = np.einsum("pl,npq,ql->nl", design, inverse, design, optimize=True)
        return np.asarray(variance.max(axis=1) <= DOUBT)


def robust_space(landmarks: Array, components: int) -> RobustSpace:
    """Find the first 3 + K singular rows of landmarks without those that are grossly wrong.

    Wrong landmarks are replaced by what the space of the others says of them, in turn with the
    space itself: x <- fit + w (x - fit), w Tukey's weight of the distance in robust spreads of
    that landmark. First the space has three rows, so that no error is taken for bending.
    Source: iteratively re-weighted least squares, Holland & Welsch (1977),
    doi:10.1080/03610927708827533; biweight, Beaton & Tukey (1974),
    doi:10.1080/00401706.1974.10489171.

    Args:
        landmarks: (N, L, 2), at most about a quarter of them wrong.
    """
    data = landmarks.transpose(0, 2, 1)
    shape = np.median(data - np.median(data, axis=2, keepdims=True), axis=0)
    fitted = _absolute(data, shape)
    space, share = shape, 1.0
    for turn in range(RIGID_TURNS + TURNS):
        spread = _spreads(_lengths(data - fitted))
        clean = fitted + _tukey(_lengths(data - fitted), spread)[:, None] * (data - fitted)
        centred = clean - clean.mean(axis=2, keepdims=True)
        flat = centred.reshape(-1, data.shape[2])
        before = space
        space, share = singular_rows(flat.T @ flat, components if turn >= RIGID_TURNS else 0)
        fitted = clean.mean(axis=2, keepdims=True) + (centred @ space.T) @ space
        same = before.shape == space.shape and turn > RIGID_TURNS
        if same and np.linalg.norm(space - (space @ before.T) @ before) < TOLERANCE:
            break
    return RobustSpace(space, share, _spreads(_lengths(data - fitted)))


def _absolute(data: Array, rows: Array, turns: int = 25) -> Array:
    """(N, 2, L) fits by rows (R, L) and a constant, of least absolute deviations."""
    lengths = np.ones((len(data), data.shape[2]))
    fitted = data
    for _ in range(turns):
        floor = 1e-3 * np.median(lengths, axis=1, keepdims=True) + TINY
        fitted, _ = _weighed_fit(data, rows, 1 / np.maximum(lengths, floor))
        lengths = _lengths(data - fitted)
    return fitted


def _weighed_fit(data: Array, rows: Array, weights: Array) -> tuple[Array, Array]:
    """Fits (N, 2, L) by a constant and rows (R, L), and their coefficients (N, 2, 1 + R)."""
    design = np.concatenate([np.ones((1, rows.shape[1])), rows])
    pull = (weights[:, None] * data) @ design.T
    solved = np.linalg.solve(_normal(design, weights), pull.transpose(0, 2, 1))
    found = np.asarray(solved.transpose(0, 2, 1), np.float64)
    return found @ design, found


def _normal(design: Array, weights: Array) -> Array:
    """(N, P, P) weighed sums of the outer products of the design's columns (P, L)."""
    pairs = (design[:, None] * design[None]).reshape(-1, design.shape[1])
    normal = (weights @ pairs.T).reshape(-1, len(design), len(design))
    trace = np.trace(normal, axis1=1, axis2=2)[:, None, None]
    return normal + (1e-10 * trace + TINY) * np.eye(len(design))


def _lengths(gaps: Array) -> Array:
    """(N, 2, L) -> (N, L) distances."""
    return np.sqrt((gaps**2).sum(axis=1))


def _spreads(lengths: Array) -> Array:
    """(L,) robust spread of each landmark's coordinates; none is under a tenth of the median."""
    spread = np.median(lengths, axis=0) / MEDIAN
    return np.maximum(spread, 0.1 * np.median(spread) + TINY)


def _tukey(lengths: Array, spread: Array) -> Array:
    """(N, L) weights in [0, 1]."""
    return np.maximum(1 - (lengths / (CUT * spread)) ** 2, 0) ** 2

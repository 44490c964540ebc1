"""Conditioned directions: change one attribute and hold others, from measured responses alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import unit_vector
from schemas.errors import InputError

Array = NDArray[np.float64]

STRENGTHS = np.geomspace(1e-6, 1e3, 46)  # of the norm's weight, in units of the held responses'


@dataclass(frozen=True)
class Conditioned:
    """One point of the trade-off: a direction, and what it is expected to do per unit step."""

    vector: Array  # (D,) norm 1
    shares: Array  # (K,) of the given directions in it
    effect: float  # of the wanted attribute, in its population spreads
    held: Array  # (H,) of the held attributes, in theirs
    strength: float  # of the norm's weight; small: hold at any price

    @property
    def leak(self) -> float:
        """The root mean square of the held responses over the effect."""
        return float(np.sqrt((self.held**2).mean()) / abs(self.effect)) if self.effect else np.inf


def project_out(vector: Array, others: Array) -> Array:
    """The part of a direction that is orthogonal to others, norm 1.

    n - N'(N N')^+ N n for the rows of N, however many.
    Source: conditional manipulation, Shen et al. (2020), arXiv:2005.09635, equation (4), for any
    number of conditions.

    Args:
        vector: (D,). others: (C, D).

    Raises:
        InputError: the shapes do not fit, or nothing is left of the vector.
    """
    vector, others = np.asarray(vector, np.float64), np.atleast_2d(np.asarray(others, np.float64))
    if vector.ndim != 1 or others.shape[1:] != vector.shape:
        raise InputError(
            f"condition: a direction {vector.shape} and others {others.shape} came; expected (D,) "
            "and (C, D)."
        )
    left = vector - np.linalg.pinv(others) @ (others @ vector)
    if np.linalg.norm(left) <= 1e-9 * np.linalg.norm(vector):
        raise InputError(
            f"condition: the direction lies in the span of the {len(others)} that are to be held; "
            "nothing is left of it. Hold fewer."
        )
    return unit_vector("condition", left)


def trade_off(
    vectors: Array, responses: Array, wanted: int, held: Sequence[int]
) -> list[Conditioned]:
    """Directions from the strongest effect to the least leak, each the best of its kind.

    With v = V'c, effect e'c and held responses L'c, c maximises (e'c)^2 over
    |L'c|^2 / H + s |V'c|^2: a generalised eigenproblem whose left side has rank one, so that
    c = (L L' / H + s V V')^-1 e. A large s asks for effect per unit step alone, a small one for no
    leak. Effects grow and leaks fall monotonically along the curve.
    Source: Rayleigh quotients, Golub & Van Loan (2013), section 8.7.

    Args:
        vectors: (K, D) directions, norm 1: of the wanted attribute, of the held ones, and of any
            others that may help.
        responses: (K, A) change of every attribute, in its population spreads, for a unit step
            along each direction, as re-scoring measures it.
        wanted: number of the attribute to change. held: those to hold, at least one.

    Returns:
        Directions by falling s, so by falling effect.

    Raises:
        InputError: the shapes do not fit, a value is not finite, the wanted one is held, or no
            direction moves it.
    """
    vectors, responses = np.asarray(vectors, np.float64), np.asarray(responses, np.float64)
    _check(vectors, responses, wanted, held)
    effects, leaks = responses[:, wanted], responses[:, list(held)]
    gram = vectors @ vectors.T
    inner = leaks @ leaks.T / leaks.shape[1]
    unit = max(float(np.trace(inner)), np.finfo(float).tiny) / max(float(np.trace(gram)), 1e-300)
    curve = []
    for strength in STRENGTHS[::-1]:
        shares = np.linalg.pinv(inner + strength * unit * gram, hermitian=True) @ effects
        shares = shares / np.linalg.norm(vectors.T @ shares)
        made = vectors.T @ shares
        curve.append(
            Conditioned(made, shares, float(effects @ shares), leaks.T @ shares, float(strength))
        )
    return curve


def choose(curve: Sequence[Conditioned], least_effect: float = 0.7) -> Conditioned:
    """The direction of least leak that keeps a share of the strongest effect.

    Raises:
        InputError: the share lies outside (0, 1].
    """
    if not 0 < least_effect <= 1:
        raise InputError(f"condition: least_effect is {least_effect}, expected in (0, 1].")
    most = max(abs(point.effect) for point in curve)
    kept = [point for point in curve if abs(point.effect) >= least_effect * most]
    return min(kept, key=lambda point: point.leak)


def _check(vectors: Array, responses: Array, wanted: int, held: Sequence[int]) -> None:
    if vectors.ndim != 2 or responses.ndim != 2 or len(vectors) != len(responses):
        raise InputError(
            f"condition: directions {vectors.shape} and responses {responses.shape} do not pair "
            "up; expected (K, D) and (K, A)."
        )
    known = range(responses.shape[1])
    if wanted not in known or not held or any(k not in known for k in held):
        raise InputError(
            f"condition: wanted {wanted} and held {list(held)} came; expected numbers of the "
            f"{len(known)} attributes, at least one of them held."
        )
    if wanted in held:
        raise InputError(f"condition: attribute {wanted} is to be changed and held at once.")
    if not (np.isfinite(vectors).all() and np.isfinite(responses).all()):
        raise InputError(
            "condition: directions or responses hold NaN; leave out what was not measured."
        )
    if not responses[:, wanted].any():
        raise InputError(
            f"condition: no direction moves attribute {wanted}; nothing to start from."
        )

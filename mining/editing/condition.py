"""Conditioned directions: change one attribute and hold others, from measured responses alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import unit_vector
from schemas.errors import InputError

Array = NDArray[np.float64]

ALIKE = 1e-6  # eigenvalue of V V' over the largest below which a combination is no direction
STRENGTHS = np.geomspace(1e-6, 1e3, 46)  # of the norm's weight, in units of the held responses'


@dataclass(frozen=True)
class Conditioned:
    """One point of the trade-off: a direction, and what it is expected to do per unit step."""

    vector: Array  # (D,) norm 1
    shares: Array  # (K,) of the given directions in it
    effect: float  # of the wanted attribute, in its population spreads
    held: Array  # (H,) of the held attributes, in theirs
    strength: float  # of the norm's weight; small: hold at any price
    doubt: float = 0.0  # mean variance of the held responses, from errors of the measurements
    sigma: float = np.nan  # standard deviation of the dataset's latents along it
    cost: float = np.nan  # expected face-descriptor distance after one sigma

    @property
    def leak(self) -> float:
        """The expected root mean square of the held responses over the effect."""
        total = float((self.held**2).mean()) + self.doubt
        return float(np.sqrt(total) / abs(self.effect)) if self.effect else np.inf

    def cost_of(self, change: float) -> float:
        """The descriptor distance to expect where the attribute changes by so many spreads.

        Distances are known after one sigma alone. They grow concavely, on heads about with the
        root of the step: at t sigma at most t times that beyond one, at most root t below it.
        """
        steps = (
            np.inf if not (self.effect and self.sigma) else abs(change / self.effect) / self.sigma
        )
        return float(self.cost * max(steps, np.sqrt(steps)))


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
    vectors: Array,
    responses: Array,
    wanted: int,
    held: Sequence[int],
    metric: Array | None = None,
    doubt: Array | None = None,
) -> list[Conditioned]:
    """Directions from the strongest effect to the least leak, each the best of its kind.

    With v = V'c, effect e'c and held responses L'c, c maximises (e'c)^2 over
    |L'c|^2 / H + s |V'c|^2: a generalised eigenproblem whose left side has rank one, so that
    c = (L L' / H + s V V')^-1 e. A large s asks for effect per unit step alone, a small one for no
    leak. Effects grow and leaks fall monotonically along the curve.
    Where directions are all but dependent, as a combination that was measured itself is of its
    parents, c keeps to what they span: their difference would be a step of no length with the
    effect of two measurements' disagreement.
    Source: Rayleigh quotients, Golub & Van Loan (2013), section 8.7.

    Args:
        vectors: (K, D) directions, norm 1: of the wanted attribute, of the held ones, and of any
            others that may help.
        responses: (K, A) change of every attribute, in its population spreads, for a unit step
            along each direction, as re-scoring measures it.
        wanted: number of the attribute to change. held: those to hold, at least one.
        metric: (K, K) in place of V V' as what an effect is paid in, such as a share of
            `identity_form`; the direction still has norm 1.
        doubt: (K, K) covariance of the directions' responses, mean over the held attributes. A
            combination's c' doubt c is what its leak may be off by; it counts as leak, so that
            nothing is cancelled by what is hardly known.

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
    doubt = np.zeros_like(gram) if doubt is None else np.asarray(doubt, np.float64)
    inner = leaks @ leaks.T / leaks.shape[1] + doubt
    paid = gram if metric is None else np.asarray(metric, np.float64)
    unit = max(float(np.trace(inner)), np.finfo(float).tiny) / max(float(np.trace(paid)), 1e-300)
    span = _span(gram)
    curve = []
    for strength in STRENGTHS[::-1]:
        inside = span.T @ (inner + strength * unit * paid) @ span
        shares = span @ (np.linalg.pinv(inside, hermitian=True) @ (span.T @ effects))
        shares = shares / np.linalg.norm(vectors.T @ shares)
        made = vectors.T @ shares
        curve.append(
            Conditioned(
                made,
                shares,
                float(effects @ shares),
                leaks.T @ shares,
                float(strength),
                max(float(shares @ doubt @ shares), 0.0),
            )
        )
    return curve


def _span(gram: Array) -> Array:
    """(K, R) orthonormal shares whose combinations differ from none, for a (K, K) V V'."""
    sizes, axes = np.linalg.eigh(gram)
    return axes[:, sizes > ALIKE * sizes[-1]]


@dataclass(frozen=True)
class Wishes:
    """What a point of the curve must keep.

    Raises:
        InputError: a number is out of its range.
    """

    least_effect: float = 0.7  # of the strongest effect per unit step, in (0, 1]
    leak: float | None = None  # at most; None: as little as can be
    identity_budget: float | None = None  # descriptor distance at most, for a change of `by`
    by: float = 1.0  # population spreads of the wanted attribute

    def __post_init__(self) -> None:
        if not 0 < self.least_effect <= 1:
            raise InputError(f"condition: least_effect is {self.least_effect}, expected in (0, 1].")
        for name in ("leak", "identity_budget", "by"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InputError(f"condition: {name} is {value}, expected a number above 0.")


def choose(
    curve: Sequence[Conditioned], least_effect: float = 0.7, wishes: Wishes | None = None
) -> Conditioned:
    """The direction of least leak that keeps a share of the strongest effect.

    With a leak that is asked for: the strongest effect that leaks no more. With an identity
    budget: only what is expected to stay within it.

    Args:
        wishes: all that is asked for, in place of `least_effect` alone.

    Raises:
        InputError: a number is out of its range, or no point of the curve does what is asked;
            the message says what would.
    """
    wishes = wishes or Wishes(least_effect)
    most = max(abs(point.effect) for point in curve)
    kept = [point for point in curve if abs(point.effect) >= wishes.least_effect * most]
    if wishes.identity_budget is not None:
        kept = _affordable(kept, wishes.identity_budget, wishes.by)
    if wishes.leak is None:
        return min(kept, key=lambda point: (point.leak, -abs(point.effect)))
    tight = [point for point in kept if point.leak <= wishes.leak]
    if not tight:
        best = min(point.leak for point in kept)
        raise InputError(
            f"condition: a leak of {wishes.leak:g} is not to be had with {wishes.least_effect:.0%}"
            f" of the effect; the least is {best:.3g}. Allow more, keep less, hold fewer, or "
            "mine more directions."
        )
    return max(tight, key=lambda point: abs(point.effect))


def _affordable(points: Sequence[Conditioned], budget: float, by: float) -> list[Conditioned]:
    costs = [point.cost_of(by) for point in points]
    if not np.isfinite(costs).any():
        raise InputError(
            "condition: no identity budget can be kept, as no direction's cost in identity was "
            "measured; run `lode mine` with an extractor that has a face descriptor, as dlib."
        )
    kept = [point for point, cost in zip(points, costs, strict=True) if cost <= budget]
    if not kept:
        raise InputError(
            f"condition: an identity budget of {budget:g} is too small for a change of {by:g} "
            f"spreads; the cheapest is expected to cost {np.nanmin(costs):.3g}. Raise it, or ask "
            "for less (--by)."
        )
    return kept


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

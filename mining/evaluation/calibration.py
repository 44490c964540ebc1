"""Calibration: how far to step along a direction for a wanted change of its attribute."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.rescoring import Pair, Rescored
from schemas.directions import Calibration
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationConfig:
    """What a response must be to count as one.

    Raises:
        InputError: a share is not above 0 and at most 1.
    """

    found: float = 0.5  # share of the identities that have a measured face at a step
    agree: float = 0.8  # share of those whose attribute moves the same way
    rise: float = 0.2  # slope between two steps, over the slope of the curve so far
    reach: float = 0.8  # share of the identities that get to the ends of the range
    miss: float = 0.9  # held-out miss, over the change asked for, from which nothing is calibrated
    seed: int = 0  # which identities are held out

    def __post_init__(self) -> None:
        for name in ("found", "agree", "rise", "reach", "miss"):
            if not 0 < getattr(self, name) <= 1:
                raise InputError(
                    f"calibration: {name} is {getattr(self, name)}; expected more than 0, at "
                    "most 1."
                )


@dataclass(frozen=True)
class _Curve:
    """A monotone response through 0, and the steps between which it can be trusted."""

    steps: Array  # (S+1,) ascending, 0 among them
    values: Array  # (S+1,) going the way of `sign`
    sign: float  # 1 where the attribute grows with the step, else -1
    first: int  # place of the outermost trusted step below 0, or of 0
    last: int  # and of the one above

    @property
    def slope(self) -> float:
        """Least squares through 0 over the trusted steps: unit of the attribute per step."""
        trusted = slice(self.first, self.last + 1)
        steps, values = self.steps[trusted], self.values[trusted]
        return float(steps @ values / (steps @ steps)) if len(steps) > 1 else 0.0


@dataclass(frozen=True)
class _HeldOut:
    """How a curve holds for identities that it was not fitted to; NaN where too few came."""

    monotonic: float  # share of them whose own curve never turns back
    error: float  # mean of |landed - asked| / |asked|
    miss: float  # sum of |landed - asked| over that of |asked|


def calibrate(
    rescored: Rescored, pair: Pair, config: CalibrationConfig | None = None
) -> Calibration | None:
    """The response curve of a direction in the attribute's own unit, and where it holds.

    f(t) = median over identities of x_i(t) - x_i(0), made monotone through 0 by least squares
    (pool adjacent violators, weighted by the identities measured). It is trusted from 0 outwards
    as long as most identities have a face, they move the same way and the curve still rises. The
    range ends where that share of the identities gets that CalibrationConfig.reach says.
    The error is the mean of |x_i(t) - x_i(0) - f(t)| / |f(t)| over trusted steps and identities
    that f was not fitted to: one half of them is judged by the other's f, and the reverse. Where
    sum |x_i(t) - x_i(0) - f(t)| over those is sum |f(t)| times CalibrationConfig.miss or more,
    there is no calibration: an unedited image misses by 1 times that, so that f tells next to
    nothing of another identity. Random directions come to such a miss.
    Source: Barlow et al. (1972), Statistical Inference under Order Restrictions, chapter 1.

    Args:
        pair: (extractor, column) of the direction's attribute.

    Returns:
        None where the attribute does not answer: too few identities, no trusted step, or others
        answer too differently.

    Raises:
        InputError: the attribute was not measured.
    """
    config = config or CalibrationConfig()
    moved = changes(rescored.steps, rescored.column(*pair))
    curve = _fit(rescored.steps, moved, config)
    if curve is None or not curve.slope:
        return None
    held_out = _held_out(rescored.steps, moved, config)
    if held_out.miss >= config.miss:
        return None
    low, high = _range(curve, moved, config)
    return Calibration(
        step=1.0 / curve.slope,
        low=low,
        high=high,
        values=tuple(map(float, curve.values)),
        steps=tuple(map(float, curve.steps)),
        monotonic=held_out.monotonic,
        error=held_out.error,
    )


def changes(steps: Array, values: Array) -> Array:
    """(M, S+1) what each identity changed by; rows only of those that were measured at 0."""
    zero = int(np.flatnonzero(steps == 0)[0])
    moved = values - values[:, zero : zero + 1]
    return moved[np.isfinite(moved[:, zero])]


def monotone(steps: Array, values: Array, weights: Array) -> Array:
    """The nondecreasing curve through (0, 0) that is nearest to the values by least squares.

    Clipping the unbounded fit of one side at 0 gives the fit that is bounded by 0.

    Args:
        steps: (S+1,) ascending, 0 among them.
        values: (S+1,), NaN where unknown; there the curve keeps the value of the step before,
            seen from 0.
        weights: (S+1,), 0 where unknown.
    """
    from scipy.optimize import isotonic_regression

    fitted = np.zeros(len(steps))
    for sign in (-1.0, 1.0):
        side = np.flatnonzero(steps * sign > 0)
        side = side if sign > 0 else side[::-1]  # outwards from 0
        known = side[weights[side] > 0]
        if len(known):
            fit = isotonic_regression(sign * values[known], weights=weights[known]).x
            held = np.searchsorted(np.abs(steps[known]), np.abs(steps[side]), side="right") - 1
            rises = np.where(held >= 0, np.maximum(fit, 0.0)[np.maximum(held, 0)], 0.0)
            fitted[side] = sign * rises
    return fitted


def _fit(steps: Array, moved: Array, config: CalibrationConfig) -> _Curve | None:
    """The curve of some identities; None where fewer than two, or none of them moves."""
    measured = np.isfinite(moved)
    if len(moved) < 2 or not measured[:, steps != 0].any():
        return None
    known = measured.any(axis=0)
    middle = np.full(len(steps), np.nan)
    middle[known] = np.nanmedian(moved[:, known], axis=0)
    total = float(np.nansum(middle * steps))
    if not total:
        return None
    sign = math.copysign(1.0, total)
    values = monotone(steps, sign * middle, measured.sum(axis=0).astype(np.float64))
    count = measured.sum(axis=0)
    seen = count >= config.found * len(moved)
    same = np.where(measured, sign * moved * np.sign(steps) > 0, False).sum(axis=0)
    agreed = same >= config.agree * count
    first = _reach(steps, values, seen, agreed, -1, config)
    last = _reach(steps, values, seen, agreed, 1, config)
    return _Curve(steps, sign * values, sign, first, last)


def _reach(
    steps: Array,
    values: Array,
    seen: NDArray[np.bool_],
    agreed: NDArray[np.bool_],
    way: int,
    config: CalibrationConfig,
) -> int:
    """Place of the outermost step that can be trusted, going from 0 one way.

    One that is not agreed on is passed over: a short step drowns in what measuring leaves open.
    """
    zero = reached = int(np.flatnonzero(steps == 0)[0])
    for there in range(zero + way, len(steps) if way > 0 else -1, way):
        if not seen[there]:
            break
        if not agreed[there]:
            continue
        slope = (values[there] - values[reached]) / (steps[there] - steps[reached])
        if slope <= config.rise * (values[reached] / steps[reached] if reached != zero else 0.0):
            break
        reached = there
    return reached


def _range(curve: _Curve, moved: Array, config: CalibrationConfig) -> tuple[float, float]:
    """The least and the largest change that most identities get to within the trusted steps."""
    ends = [0.0, 0.0]
    trusted = moved[:, curve.first : curve.last + 1]
    for way, outer in ((-1.0, curve.first), (1.0, curve.last)):
        side = way * curve.steps[curve.first : curve.last + 1] > 0
        if not side.any():
            continue
        toward = way * curve.sign  # which way the attribute goes on this side
        furthest = np.where(np.isfinite(trusted[:, side]), toward * trusted[:, side], 0.0).max(
            axis=1
        )
        most = float(np.quantile(furthest, 1 - config.reach, method="lower"))
        ends[int(toward > 0)] = toward * min(max(most, 0.0), abs(float(curve.values[outer])))
    return ends[0], ends[1]


def _held_out(steps: Array, moved: Array, config: CalibrationConfig) -> _HeldOut:
    order = np.random.default_rng(config.seed).permutation(len(moved))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    turns: list[bool] = []
    parts: list[Array] = []
    for fitted, judged in (halves, halves[::-1]):
        curve = _fit(steps, moved[fitted], config)
        if curve is None or not curve.slope:
            continue
        trusted = slice(curve.first, curve.last + 1)
        rows, asked = moved[judged, trusted], curve.values[trusted]
        turns += [_rises(curve.sign * row) for row in rows]
        edited = asked != 0
        missed = np.abs(rows[:, edited] - asked[edited])
        parts.append(np.stack([missed, np.broadcast_to(np.abs(asked[edited]), missed.shape)]))
    monotonic = float(np.mean(turns)) if turns else math.nan
    missed, asked = np.concatenate([part.reshape(2, -1) for part in parts] or [np.empty((2, 0))], 1)
    missed, asked = missed[np.isfinite(missed)], asked[np.isfinite(missed)]
    if not len(missed):
        return _HeldOut(monotonic, math.nan, math.nan)
    return _HeldOut(monotonic, float(np.mean(missed / asked)), float(missed.sum() / asked.sum()))


def _rises(row: Array) -> bool:
    """Whether the measured values of one identity never turn back."""
    return bool((np.diff(row[np.isfinite(row)]) >= 0).all())

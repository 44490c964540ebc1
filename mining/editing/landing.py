"""Landing: measure an edit, correct its step, and measure again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
Measure = Callable[[Array, Rows], Array]


@dataclass(frozen=True)
class LandingConfig:
    """How often, and how far, a step is corrected.

    Raises:
        InputError: a number is out of its range.
    """

    rounds: int = 8  # measurements of each edit
    tolerance: float = 0.05  # |landed - asked| / |asked| that is near enough
    growth: float = 3.0  # the most by which a step becomes longer at once

    def __post_init__(self) -> None:
        if self.rounds < 1 or not self.tolerance >= 0 or not 1 < self.growth < np.inf:
            raise InputError(
                f"landing: {self}; expected rounds from 1, a tolerance from 0, a growth above 1."
            )


@dataclass(frozen=True)
class Landed:
    """Where N edits ended."""

    steps: Array  # (N,) the best that were measured, 0 among them; the first where none was
    changes: Array  # (N,) of the attribute at that step; NaN where it could not be measured
    first: Array  # (N,) at the step that it began with


def land(
    first: ArrayLike,
    asked: ArrayLike,
    measure: Measure,
    longest: float = 0.0,
    config: LandingConfig | None = None,
) -> Landed:
    """Steps that change an attribute by what is asked for, each identity by its own response.

    With u = change / asked at a step t, wanted is u = 1: while all u are below 1 the step grows by
    1 / u, at most by config.growth; once one lies above, regula falsi between the two. Where
    nothing can be measured (no face) the step goes halfway back. The best that was measured is
    kept: an identity that cannot go so far stays short, and one whose every step lies further off
    than no edit (|u - 1| > 1) is left unedited. Landmarks in whole pixels make u a staircase, on
    which 5 rounds miss by up to twice as much as 8.
    Source: Dahlquist & Bjorck (2008), Numerical Methods in Scientific Computing I, section 6.2.

    Args:
        first: (N,) steps to begin with, such as those of `steps_for`.
        asked: (N,) changes of the attribute, in its unit.
        measure: (steps (K,), rows (K,)) -> (K,) changes since the unedited images of those rows;
            NaN where unmeasured.
        longest: step that may be tried; that of `first` times config.growth where it is shorter.

    Raises:
        InputError: the shapes differ, or a number is not finite.
    """
    config = config or LandingConfig()
    steps, asked = np.array(first, np.float64), np.asarray(asked, np.float64)
    if steps.ndim != 1 or steps.shape != asked.shape:
        raise InputError(
            f"land: {steps.shape} steps for {asked.shape} changes; expected (N,) each."
        )
    if not np.isfinite([steps, asked]).all():
        raise InputError("land: the steps or the changes hold NaN or infinity.")
    search = _Search(steps, longest, config)
    rows, began = np.flatnonzero(asked != 0), np.zeros(len(asked))
    for again in range(config.rounds):
        if not len(rows):
            break
        changes = measure(search.steps[rows], rows)
        began[rows] = began[rows] if again else changes
        search.learn(rows, changes / asked[rows])
        rows = rows[~(np.abs(search.best[rows] - 1) <= config.tolerance)]
        rows = search.move(rows)
    further = np.abs(search.best - 1) > 1  # than an unedited image
    changes = np.where((asked == 0) | further, 0.0, search.best * asked)
    return Landed(np.where(further, 0.0, search.kept), changes, began)


class _Search:
    """What is known of each row: a step that falls short, one that goes too far, the best."""

    def __init__(self, first: Array, longest: float, config: LandingConfig) -> None:
        count = len(first)
        self.steps, self.kept = first.copy(), first.copy()
        self.best = np.full(count, np.nan)  # share of the change that `kept` makes
        self._growth = config.growth
        self._short, self._share = np.zeros(count), np.zeros(count)
        self._far = np.sign(first) * np.maximum(config.growth * np.abs(first), longest)
        self._beyond = np.full(count, np.nan)  # share at `far`, where it was measured
        self._lost = np.zeros(count, bool)  # whether it could not be

    def learn(self, rows: Rows, shares: Array) -> None:
        """Take in the shares of the change that the current steps made."""
        for row, share in zip(rows, shares, strict=True):
            step = self.steps[row]
            if np.isnan(share) or share >= 1:
                self._far[row], self._beyond[row] = step, share
                self._lost[row] = np.isnan(share)
            elif abs(step) > abs(self._short[row]) or share > self._share[row]:
                self._short[row], self._share[row] = step, share
            if not abs(self.best[row] - 1) <= abs(share - 1) and not np.isnan(share):
                self.best[row], self.kept[row] = share, step

    def move(self, rows: Rows) -> Rows:
        """Set the steps to be tried next; the rows that have one."""
        before = self.steps[rows]
        for row in rows:
            short, share = self._short[row], self._share[row]
            far, beyond = self._far[row], self._beyond[row]
            if not np.isnan(beyond):
                part = float(np.clip((1 - share) / (beyond - share), 0.1, 0.9))
                self.steps[row] = short + part * (far - short)
                continue
            last = (short + far) / 2 if self._lost[row] else far
            grown = short * min(1 / max(share, 1e-9), self._growth)
            self.steps[row] = min(grown, last, key=abs) if short else last
        return rows[self.steps[rows] != before]

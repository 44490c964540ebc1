"""The linear support vector machine with squared hinge, by Newton steps on the active rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mining.methods.scaled_rows import ScaledRows

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LinearSvm:
    """The plane weights . x + intercept = 0 between two classes, and how it was found."""

    weights: Array  # (D,) for scaled rows
    intercept: float
    objective: float
    iterations: int
    converged: bool  # the gradient is `tolerance` of that at zero

    def __call__(self, rows: ScaledRows) -> Array:
        """(N,) above 0 on the side of class 1."""
        return rows.times(np.r_[self.weights, self.intercept])


def fit_linear_svm(
    rows: ScaledRows,
    signs: NDArray,
    costs: Array,
    tolerance: float = 1e-9,
    most: int = 100,
    direct: int = 4096,
) -> LinearSvm:
    """Minimise f(w) = |w|^2 / 2 + sum_i c_i max(0, 1 - y_i w'x_i)^2, the ones' weight in w.

    f is convex and piecewise quadratic. For the rows A with y_i w'x_i < 1 its minimum is
    (I + 2 sum_A c x x')^-1 2 sum_A c y x; the step goes along the line there, to the least f
    on it, until A stays. The sums change by the rows that enter or leave A alone: the first few
    iterations read all rows for them, the last ones some. Everything is float64, whatever the rows
    are stored in; memory beside them is O(D^2 + N). Above `direct` numbers the sums are not kept:
    conjugate gradients go near that minimum in passes over A, and memory is O(D + N).
    Source: Keerthi & DeCoste (2005), JMLR 6, 341-361; the objective is LIBLINEAR's, Fan et al.
    (2008), JMLR 9, 1871-1874, which penalises the intercept too.

    Args:
        rows: N rows of D numbers.
        signs: (N,) y, -1 or 1.
        costs: (N,) c > 0.
        tolerance: of the gradient's norm, relative to that at w = 0.
        most: iterations at most; `converged` tells whether they sufficed.
        direct: numbers of a row up to which the matrix of sums is made and solved with.
    """
    if len(rows) < rows.width - 1:
        small, axes = rows.in_row_space()
        found = fit_linear_svm(small, signs, costs, tolerance, most, direct)
        return replace(found, weights=axes @ found.weights)
    signs = np.asarray(signs, np.float64)
    sums = (_Sums if rows.width <= direct + 1 else _Passes)(rows, signs, costs)
    weights, places = np.zeros(rows.width), np.zeros(len(rows))  # w and y w'x
    sums.take(places < 1)
    first = float(np.linalg.norm(sums.gradient(weights)))
    taken, converged = 0, first == 0
    while not converged and taken < most:
        step = sums.minimum(weights) - weights
        moves = signs * rows.times(step)
        length = _best_length(weights, step, places, moves, costs)
        weights, places = weights + length * step, places + length * moves
        sums.take(places < 1)
        taken += 1
        converged = float(np.linalg.norm(sums.gradient(weights))) <= tolerance * first
    gaps = np.maximum(0.0, 1.0 - places)
    objective = float(weights @ weights) / 2 + float(costs @ gaps**2)
    return LinearSvm(weights[:-1], float(weights[-1]), objective, taken, bool(converged))


class _Sums:
    """Sums over the active rows: c x x' and c y x."""

    def __init__(self, rows: ScaledRows, signs: Array, costs: Array):
        self.rows, self.signs, self.costs = rows, signs, costs
        self.active = np.zeros(len(rows), bool)
        self.outer = np.zeros((rows.width, rows.width))
        self.pull = np.zeros(rows.width)

    def take(self, active: NDArray[np.bool_]) -> None:
        """Make these rows the active ones: by what changes, or anew where that is more."""
        if (active != self.active).sum() > active.sum():
            self.active = np.zeros(len(self.rows), bool)
            self.outer[:], self.pull[:] = 0.0, 0.0
        self._add(np.flatnonzero(active & ~self.active), 1.0)
        self._add(np.flatnonzero(self.active & ~active), -1.0)
        self.active = active

    def _add(self, which: NDArray[np.int64], sign: float) -> None:
        for part, block in self.rows.blocks(which):
            costs = self.costs[part]
            self.pull += sign * (block.T @ (costs * self.signs[part]))
            block *= np.sqrt(costs)[:, None]
            self.outer += sign * (block.T @ block)

    def gradient(self, weights: Array) -> Array:
        """Of f, where its active rows are those of the sums."""
        return weights + 2 * (self.outer @ weights - self.pull)

    def minimum(self, _: Array) -> Array:
        """Of f if the active rows stayed as they are."""
        from scipy.linalg import solve

        system = 2 * self.outer
        system.flat[:: len(system) + 1] += 1.0
        return solve(system, 2 * self.pull, assume_a="pos", overwrite_a=True, check_finite=False)


class _Passes:
    """The same without a matrix: each product with it is a pass over the active rows."""

    def __init__(self, rows: ScaledRows, signs: Array, costs: Array):
        self.rows, self.signs, self.costs = rows, signs, costs
        self.which = np.empty(0, np.int64)
        self.pull = np.zeros(rows.width)

    def take(self, active: NDArray[np.bool_]) -> None:
        """Make these rows the active ones."""
        self.which = np.flatnonzero(active)
        self.pull = np.zeros(self.rows.width)
        for part, block in self.rows.blocks(self.which):
            self.pull += block.T @ (self.costs[part] * self.signs[part])

    def gradient(self, weights: Array) -> Array:
        """Of f, where its active rows are those taken."""
        return self._times(weights) - 2 * self.pull

    def _times(self, vector: Array) -> Array:
        """(I + 2 sum c x x') vector."""
        found = vector.copy()
        for part, block in self.rows.blocks(self.which):
            found += 2 * (block.T @ (self.costs[part] * (block @ vector)))
        return found

    def minimum(self, start: Array, accuracy: float = 0.01, most: int = 200) -> Array:
        """Near that of f if the active rows stayed: the gradient is `accuracy` of that at start.

        Source: Hestenes & Stiefel (1952), doi:10.6028/jres.049.044.
        """
        here, left = start.copy(), -self.gradient(start)
        way, size = left.copy(), float(left @ left)
        goal = accuracy**2 * size
        for _ in range(most):
            if size <= goal:
                break
            moved = self._times(way)
            length = size / float(way @ moved)
            here, left = here + length * way, left - length * moved
            new = float(left @ left)
            way, size = left + new / size * way, new
        return here


def _best_length(weights: Array, step: Array, places: Array, moves: Array, costs: Array) -> float:
    """The t >= 0 of the least f(w + t step): the zero of a rising, piecewise linear derivative.

    f'(t) = w's + t s's - 2 sum c m (g - t m) over rows with g - t m > 0, for g = 1 - y w'x and
    moves m; each row leaves or enters that sum at t = g / m.
    """
    gaps = 1.0 - places
    active = gaps > 0
    level, rise = 2 * costs * moves * gaps, 2 * costs * moves**2
    at_zero = float(weights @ step) - float(level[active].sum())
    slope = float(step @ step) + float(rise[active].sum())
    events = np.flatnonzero(np.where(active, moves > 0, moves < 0))
    times = gaps[events] / moves[events]
    order = np.argsort(times, kind="stable")
    events, times = events[order], times[order]
    sign = np.where(active[events], -1.0, 1.0)  # rows that leave, and those that enter
    levels = at_zero - np.r_[0.0, np.cumsum(sign * level[events])]
    slopes = slope + np.r_[0.0, np.cumsum(sign * rise[events])]
    passed = levels[:-1] + slopes[:-1] * times >= 0
    last = int(np.argmax(passed)) if passed.any() else len(times)
    return max(-levels[last] / slopes[last], 0.0)

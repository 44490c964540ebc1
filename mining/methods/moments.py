"""Mean and scatter of rows that come in parts: what PCA needs of any number of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]

BLOCK = 2048  # rows turned to float64 at a time: as many as a processor's cache likes


@dataclass(frozen=True)
class Moments:
    """Rows, their mean and the sum of their centred outer products; parts are added with +.

    m = n_a m_a/n + n_b m_b/n, S = S_a + S_b + (n_a n_b / n) (m_a - m_b)(m_a - m_b)': no sum of
    squares of uncentred numbers, so that a mean far from 0 costs no digits.
    Source: Chan, Golub & LeVeque (1982), doi:10.1007/978-3-642-51461-6_3.
    """

    rows: int
    mean: Array  # (D,)
    scatter: Array  # (D, D)

    @classmethod
    def of(cls, rows: NDArray) -> Moments:
        """Of rows (N, D), N >= 1, float32 or float64, turned to float64 block by block.

        Raises:
            InputError: the shape is wrong, or a value is not finite.
        """
        rows = np.asarray(rows)
        if rows.ndim != 2 or not len(rows):
            raise InputError(f"moments: rows {rows.shape} came; expected (N, D) with N >= 1.")
        width = rows.shape[1]
        space = np.empty((min(BLOCK, len(rows)) + 1, width))
        mean, scatter = np.zeros(width), np.zeros((width, width))
        for seen in range(0, len(rows), BLOCK):
            part = rows[seen : seen + BLOCK]
            share = len(part) / (seen + len(part))
            block = space[: len(part) + 1]
            block[:-1] = part
            with np.errstate(invalid="ignore", over="ignore"):  # looked at in the next line
                own = block[:-1].mean(axis=0)
            if not np.isfinite(own).all():
                raise InputError("moments: rows hold NaN or infinity; drop those rows first.")
            block[:-1] -= own
            block[-1] = math.sqrt(seen * share) * (own - mean)  # the last term of S is a row more
            scatter += block.T @ block  # of one array with itself: half the work, exactly symmetric
            mean += share * (own - mean)
        return cls(len(rows), mean, scatter)

    def __add__(self, other: Moments) -> Moments:
        if self.mean.shape != other.mean.shape:
            raise InputError(
                f"moments: parts have {len(self.mean)} and {len(other.mean)} columns; expected the "
                "same number in all."
            )
        rows = self.rows + other.rows
        gap = self.mean - other.mean
        mean = (self.rows * self.mean + other.rows * other.mean) / rows
        scatter = self.scatter + other.scatter
        step = np.sqrt(self.rows * (other.rows / rows)) * gap
        scatter += np.outer(step, step)  # symmetric to the last bit
        return Moments(rows, mean, scatter)

    @property
    def covariance(self) -> Array:
        """(D, D) the scatter over the rows less one."""
        return self.scatter / max(self.rows - 1, 1)


def moments_of(parts: Iterable[NDArray]) -> Moments:
    """The moments of all parts, one in memory at a time.

    Raises:
        InputError: there is no row, or as `Moments.of`.
    """
    found: Moments | None = None
    for part in parts:
        if len(part):
            fresh = Moments.of(part)
            found = fresh if found is None else found + fresh
    if found is None:
        raise InputError("moments: no row came; expected one at least.")
    return found

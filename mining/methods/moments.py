"""Mean and scatter of rows that come in parts: what PCA needs of any number of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]

BLOCK = 8192  # rows turned to float64 at a time


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
        found = None
        for start in range(0, len(rows), BLOCK):
            part = np.asarray(rows[start : start + BLOCK], np.float64)
            mean = part.mean(axis=0)
            if not np.isfinite(mean).all():
                raise InputError("moments: rows hold NaN or infinity; drop those rows first.")
            centred = part - mean
            block = cls(len(part), mean, centred.T @ centred)
            found = block if found is None else found + block
        assert found is not None
        return found

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
        scatter += (self.rows * (other.rows / rows)) * gap[:, None] * gap
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

"""Rows as the linear classifiers read them: centred, of one spread, block by block in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

BLOCK = 4096  # rows turned to float64 at a time


@dataclass(frozen=True)
class ScaledRows:
    """(rows - centre) / scale with a last column of ones, for some of the rows.

    The rows may lie in a file (np.memmap): no more than one block of them is in memory.
    """

    rows: NDArray  # (M, D) float32 or float64
    picked: Numbers  # (N,) numbers of the rows that are read, in this order
    centre: Array  # (D,)
    scale: float

    @classmethod
    def of(cls, rows: NDArray) -> ScaledRows:
        """All rows, by their mean and the standard deviation of all centred numbers."""
        total = np.zeros(rows.shape[1])
        for start in range(0, len(rows), BLOCK):
            total += rows[start : start + BLOCK].sum(axis=0, dtype=np.float64)
        centre, squares = total / len(rows), 0.0
        for start in range(0, len(rows), BLOCK):
            squares += float(((rows[start : start + BLOCK] - centre) ** 2).sum())
        return cls(rows, np.arange(len(rows)), centre, float(np.sqrt(squares / rows.size)) or 1.0)

    def __len__(self) -> int:
        return len(self.picked)

    @property
    def width(self) -> int:
        """Columns with the ones: D + 1."""
        return len(self.centre) + 1

    def only(self, picked: Numbers) -> ScaledRows:
        """Some of the rows, by their numbers in `rows`."""
        return ScaledRows(self.rows, picked, self.centre, self.scale)

    def blocks(self, which: Numbers | None = None) -> Iterator[tuple[Numbers, Array]]:
        """(numbers among the N, (n, D + 1)) of all rows, or of those with the given numbers."""
        which = np.arange(len(self)) if which is None else which
        for start in range(0, len(which), BLOCK):
            part = which[start : start + BLOCK]
            made = np.empty((len(part), self.width))
            np.subtract(self.rows[self.picked[part]], self.centre, out=made[:, :-1])
            made[:, :-1] /= self.scale
            made[:, -1] = 1.0
            yield part, made

    def times(self, weights: Array) -> Array:
        """(N,) the rows times (D + 1,)."""
        found = np.empty(len(self))
        for part, block in self.blocks():
            found[part] = block @ weights
        return found

    def in_row_space(self) -> tuple[ScaledRows, Array]:
        """The same rows in N coordinates, and the (D, N) axes of these; for fewer rows than D.

        X' = QR: products and norms of rows, and of weights in their span, are those of R's columns.
        """
        made = np.concatenate([block[:, :-1] for _, block in self.blocks()])
        axes, small = np.linalg.qr(made.T)
        count = len(small)
        return ScaledRows(small.T, np.arange(len(made)), np.zeros(count), 1.0), axes

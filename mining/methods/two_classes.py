"""Scores cut into two classes: below a threshold and above it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]


def cut(who: str, scores: Array, threshold: float | None = None) -> NDArray[np.int64]:
    """(N,) -1 for scores below the threshold, 1 above it, 0 for those left out.

    What equals the threshold is on neither side, but where a side has fewer than two rows: it then
    takes the equal ones. So negated scores give negated classes.

    Args:
        threshold: None is the median; midway between the two where there are two values alone.

    Raises:
        InputError: a side has fewer than two rows.
    """
    if threshold is None:
        low, high = float(scores.min()), float(scores.max())
        two = bool(((scores == low) | (scores == high)).all())
        threshold = (low + high) / 2 if two else float(np.median(scores))
    classes = np.sign(scores - threshold).astype(np.int64)
    below, above = int((classes < 0).sum()), int((classes > 0).sum())
    equal = len(scores) - below - above
    if min(below, above) < 2:
        if min(below, above) + equal < 2 or max(below, above) < 2:
            raise InputError(
                f"{who}: {below} scores lie under {threshold:g} and {above} above it, the other "
                f"{equal} are equal; expected two or more on a side."
            )
        classes[classes == 0] = -1 if above > below else 1
    return classes


def balanced(classes: NDArray) -> Array:
    """(N,) weights of -1 and 1 that give both classes the same sum; they average 1."""
    count = len(classes)
    high = int((classes > 0).sum())
    return np.where(classes > 0, count / (2 * max(high, 1)), count / (2 * max(count - high, 1)))


def split(
    rows: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Seeded split of one class into training and held-out rows, each at least one of two.

    Classes of one size use the same draw.
    """
    shuffled = rows[np.random.default_rng(seed).permutation(len(rows))]
    count = min(max(round(share * len(rows)), 1), len(rows) - 1)
    return shuffled[:count], shuffled[count:]


def balanced_accuracy(values: Array, classes: NDArray) -> float:
    """The mean of both classes' shares on the right side of 0: chance is 0.5."""
    high = values > 0
    return float(high[classes > 0].mean() + 1 - high[classes < 0].mean()) / 2

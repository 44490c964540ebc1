"""How much of a leak is left once the noise of measuring it on few images is taken off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]
SURE = 2.0  # standard errors above 0 from which a leak counts as there


@dataclass(frozen=True)
class Leak:
    """A mean square of H held responses, in squared population spreads."""

    square: float  # without the noise: below 0 where there is less of it than expected
    error: float  # standard error of `square`
    raw: float  # root mean square as measured, noise and all

    @property
    def size(self) -> float:
        """The root mean square without the noise; 0 where noise explains all of it."""
        return float(np.sqrt(max(self.square, 0.0)))

    @property
    def most(self) -> float:
        """What it may well be: the root of the square and two standard errors."""
        return float(np.sqrt(max(self.square + SURE * self.error, 0.0)))

    @property
    def resolved(self) -> bool:
        """Whether it can be told from none."""
        return self.square > SURE * self.error


def leak_of(changes: Array, errors: Array) -> Leak:
    """The root mean square of true responses, from measured ones r_h with standard errors e_h.

    E[r_h^2] = t_h^2 + e_h^2 for a true t_h, so mean(r^2 - e^2) is unbiased for mean(t^2). Its
    variance, for normal errors that know nothing of each other, is sum(4 t_h^2 e_h^2 + 2 e_h^4)
    / H^2, with max(r_h^2 - e_h^2, 0) for t_h^2.
    Source: moments of the noncentral chi-squared distribution, Patnaik (1949),
    doi:10.1093/biomet/36.1-2.202.

    Args:
        changes, errors: (H,) in population spreads; those with a NaN are left out.

    Returns:
        All NaN where none is known.

    Raises:
        InputError: the shapes differ.
    """
    changes, errors = np.asarray(changes, np.float64), np.asarray(errors, np.float64)
    if changes.ndim != 1 or changes.shape != errors.shape:
        raise InputError(
            f"leak: changes {changes.shape} and errors {errors.shape} came; expected (H,) twice."
        )
    known = np.isfinite(changes) & np.isfinite(errors)
    if not known.any():
        return Leak(np.nan, np.nan, np.nan)
    squares, noise = changes[known] ** 2, errors[known] ** 2
    left = np.maximum(squares - noise, 0.0)
    error = np.sqrt((4 * left * noise + 2 * noise**2).sum()) / known.sum()
    return Leak(float((squares - noise).mean()), float(error), float(np.sqrt(squares.mean())))

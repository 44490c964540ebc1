"""An attribute as a linear function of the shape codes: a = c . q + b."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_pairs, check_whole, own_order
from mining.methods.ridge import fit_ridge
from schemas.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Readout:
    """a = weights . q + intercept, in the attribute's own unit."""

    weights: Array  # (Q,), c
    intercept: float  # b
    r2: float  # share of the variance explained on held-out rows; can be negative
    r2_train: float  # the same on all rows

    def __call__(self, codes: Array) -> Array:
        """(N, Q) -> (N,)"""
        return codes @ self.weights + self.intercept


def fit_readout(codes: Array, scores: Array, held_out: float = 0.2, seed: int = 0) -> Readout:
    """Ridge regression of an attribute on standardised codes.

    c = diag(1/s) (Z'Z + lambda I)^-1 Z'a with z = (q - mean) / s, lambda by generalised
    cross-validation (see `ridge`). The held-out share only measures r2; c comes from all rows.

    Args:
        codes: (N, Q), N >= 10.
        scores: (N,), in the attribute's own unit.
        held_out: share of the rows, two at least; three or more must stay to fit on.
        seed: of the draw of these rows.

    Raises:
        InputError: shapes disagree, a value is not finite, codes or scores are constant, or
            `held_out` leaves too few rows.
    """
    check_whole("readout", 0, seed=seed)
    if not 0 < held_out < 1:
        raise InputError(f"readout: held_out is {held_out}, expected inside (0, 1).")
    codes, scores = check_pairs("readout", codes, scores, least=10)
    mean, spread = codes.mean(axis=0), codes.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    z = (codes - mean) / spread
    rows = own_order(codes, scores)[np.random.default_rng(seed).permutation(len(codes))]
    count = max(2, round(held_out * len(rows)))
    if len(rows) - count < 3:
        raise InputError(
            f"readout: held_out {held_out} of {len(rows)} rows leaves {len(rows) - count} to fit "
            "on, expected at least 3. Lower `held_out`."
        )
    test, train = rows[:count], rows[count:]
    part = fit_ridge(z[train], scores[train])
    gaps = scores[test] - z[test] @ part.weights - part.intercept
    spread_test = ((scores[test] - scores[test].mean()) ** 2).sum()
    fit = fit_ridge(z, scores)
    weights = fit.weights / spread
    return Readout(
        weights=weights,
        intercept=fit.intercept - float(mean @ weights),
        r2=float(1 - (gaps**2).sum() / spread_test) if spread_test > 0 else float("nan"),
        r2_train=fit.r2,
    )

"""How parameters p = [p_theta, p_e] spread over a dataset, and their rescaling to one range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Array = NDArray[np.float64]
ANGLES = ("yaw", "pitch", "roll")
TAIL = 0.5  # percent of the images beyond either end of the range
FIELDS = ("mean", "deviation", "low", "high", "least", "most")


@dataclass(frozen=True)
class Statistics:
    """What P parameters are over a dataset, each (P,) in the parameter's own unit."""

    names: tuple[str, ...]
    count: int  # images behind them
    tail: float  # percent beyond either end of low to high
    mean: Array
    deviation: Array  # standard, with count in the denominator
    low: Array  # percentile `tail`
    high: Array  # percentile 100 - `tail`
    least: Array
    most: Array

    def scaled(self, values: Array, reach: float = 6.0, extremes: bool = False) -> Array:
        """(..., P) values on the line that brings their range to -reach..reach.

        Bounareli et al. rescale all parameters to one range [-a, a]; their code has a = 6, and
        the smallest and largest value of the dataset at its ends.

        Args:
            extremes: the range is least to most, as in that code, not low to high.
        """
        middle, half = self._range(extremes)
        return (np.asarray(values, np.float64) - middle) * (reach / half)

    def unscaled(self, values: Array, reach: float = 6.0, extremes: bool = False) -> Array:
        """The inverse of `scaled`."""
        middle, half = self._range(extremes)
        return middle + np.asarray(values, np.float64) * (half / reach)

    def _range(self, extremes: bool) -> tuple[Array, Array]:
        low, high = (self.least, self.most) if extremes else (self.low, self.high)
        flat = [name for name, wide in zip(self.names, high > low, strict=True) if not wide]
        if flat:
            raise InputError(
                f"statistics: {', '.join(flat)} has one value in all images; leave it out."
            )
        return (high + low) / 2, (high - low) / 2

    def to_json(self) -> dict[str, Any]:
        """Plain numbers by parameter."""
        rows = np.stack([getattr(self, field) for field in FIELDS], axis=1).tolist()
        told = {
            name: dict(zip(FIELDS, row, strict=True))
            for name, row in zip(self.names, rows, strict=True)
        }
        return {"count": self.count, "tail": self.tail, "parameters": told}


def from_json(told: Mapping[str, Any]) -> Statistics:
    """The statistics that `to_json` told.

    Raises:
        InputError: something is missing or is no number.
    """
    try:
        parameters = dict(told["parameters"])
        columns = {
            field: np.array([float(row[field]) for row in parameters.values()]) for field in FIELDS
        }
        return Statistics(
            tuple(map(str, parameters)), int(told["count"]), float(told["tail"]), **columns
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"statistics: {type(error).__name__} at {error}; expected count, tail and parameters, "
            f"each with {', '.join(FIELDS)}, as `to_json` gives them."
        ) from None


def gathered(
    columns: Mapping[str, Any], names: Sequence[str] = ()
) -> tuple[tuple[str, ...], Array]:
    """The parameters p = [p_theta, p_e] of a dataset's images.

    Args:
        columns: yaw, pitch, roll (N,) and expression (N, E), as the extractor `shape3d` gives them.
        names: of the E expressions; expression_0, expression_1 ... where there are none.

    Returns:
        The 3 + E names, and (N, 3 + E).

    Raises:
        InputError: a column is missing, or the columns do not pair up.
    """
    missing = [name for name in (*ANGLES, "expression") if name not in columns]
    if missing:
        raise InputError(f"statistics: no column {', '.join(missing)}; came: {', '.join(columns)}.")
    angles = [np.asarray(columns[name], np.float64) for name in ANGLES]
    expression = np.asarray(columns["expression"], np.float64)
    shapes = [array.shape for array in angles]
    if expression.ndim != 2 or set(shapes) != {(len(expression),)}:
        raise InputError(
            f"statistics: angles {shapes} and expression {expression.shape} do not pair up; "
            "expected (N,) each and (N, E)."
        )
    count = expression.shape[1]
    told = tuple(names) or tuple(f"expression_{k}" for k in range(count))
    if len(told) != count:
        raise InputError(f"statistics: {len(told)} names came for {count} expressions.")
    return (*ANGLES, *told), np.column_stack([*angles, expression])


def summarise(names: Sequence[str], values: Array, tail: float = TAIL) -> Statistics:
    """Means, deviations and ranges of parameters over a dataset; rows with NaN are left out.

    The range is from percentile `tail` to 100 - `tail`, interpolated between the two values next
    to it (Hyndman & Fan (1996), doi:10.2307/2684934, definition 7).

    Args:
        values: (N, P), one row per image.

    Raises:
        InputError: names and values do not pair up, or fewer than two rows are finite.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or values.shape[1] != len(names):
        raise InputError(
            f"statistics: values {values.shape} and {len(names)} names do not pair up; expected "
            "(N, P) and P."
        )
    if not 0 <= tail < 50:
        raise InputError(f"statistics: tail {tail!r} came; expected 0 to less than 50 percent.")
    kept = values[np.isfinite(values).all(axis=1)]
    if len(kept) < 2:
        raise InputError(
            f"statistics: {len(kept)} of {len(values)} rows are finite; expected 2 or more."
        )
    low, high = np.percentile(kept, [tail, 100 - tail], axis=0)
    return Statistics(
        tuple(names),
        len(kept),
        float(tail),
        kept.mean(axis=0),
        kept.std(axis=0),
        low,
        high,
        kept.min(axis=0),
        kept.max(axis=0),
    )

"""What kept measurements must look like before a run goes on with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mining.evaluation.rescoring import Bases, Measured, Rescored

KINDS = {kind.__name__: kind for kind in (Bases, Measured, Rescored)}


def is_rescored(sigma: float) -> Callable[[Any], bool]:
    """Whether a kept value is measurements along a direction of this spread."""

    def fits(found: Any) -> bool:
        if not isinstance(found, Rescored) or found.sigma != sigma:
            return False
        counts = (len(found.values), len(found.steps))
        tables = (found.values, found.distances, found.cosines)
        return (
            [table.shape[:2] for table in tables] == [counts] * 3
            and found.values.shape[2:] == (len(found.pairs),) == (len(found.units),)
            and all(array.dtype.kind == "f" for array in (found.steps, *tables))
            and all(len(row) == len(found.steps) for row in found.thumbnails)
        )

    return fits


def is_bases(found: Any) -> bool:
    """Whether a kept value is measurements of unedited images."""
    if not isinstance(found, Bases) or not isinstance(found.measured, Measured):
        return False
    count, measured = len(found.w_plus), found.measured
    return (
        found.w_plus.ndim == 3
        and measured.values.shape == (count, len(found.pairs))
        and measured.descriptors.shape[:-1] == (count,)
        and (found.condition is None or len(found.condition) == count)
    )

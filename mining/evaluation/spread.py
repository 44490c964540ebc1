"""Whether an attribute varies enough over a dataset for its spread to be a measure of anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PLAIN = "1"  # the unit of plain numbers: scores, probabilities, blendshapes, of 0 to 1
RESOLVED = 0.02  # the least spread of a plain number
ROUNDING = 1e-6  # of the largest value: what float32 keeps of it, ten times over


def real_spread(values: NDArray[np.floating], unit: str) -> float:
    """Standard deviation of an attribute over a dataset; NaN where it is none to measure by.

    A response divided by a spread says how far a direction goes through the population. Of an
    attribute that all images share, it says nothing, and is huge: one blendshape of 1,000 heads
    varied by 2e-6, and every edit moved it by many times that. So a plain number needs a spread of
    RESOLVED, which is about what one measurement of it is worth: on 40 heads, a shift by one pixel
    moved MediaPipe's 52 blendshapes by 0.016 (median of their root mean squares), noise of up to 3
    grey levels by 0.017. Numbers of another scale than 0 to 1 say so by a unit of their own; of
    those, only a spread within their rounding is none.

    Args:
        values: (N,), NaN where unmeasured.
        unit: of the attribute.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return float("nan")
    spread = float(known.std())
    least = RESOLVED if unit == PLAIN else ROUNDING * float(np.abs(known).max())
    return spread if spread > least else float("nan")

"""The points generator with faces that move: yaw and pitch change, smile and mouth do not."""

from __future__ import annotations

import numpy as np

from tests.examples.points import PointsGenerator


class MovingPoints(PointsGenerator):
    """Its motion is the part of W along the true rows of yaw and pitch."""

    name = "moving"

    def animated(self, w_plus: np.ndarray, motion: np.ndarray) -> np.ndarray:
        rows = self.truth_rows[:2].astype(np.float64)
        moved = np.einsum("kd,nrd->nrk", rows, motion.astype(np.float64) - w_plus)
        return (w_plus + np.einsum("nrk,kd->nrd", moved, rows)).astype(np.float32)

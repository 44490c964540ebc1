"""A generator whose condition is a camera, and one that works a batch ahead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.examples.points import PointsGenerator

TURN = 15  # degrees that a unit of yaw or pitch in W turns the points by


class PosedPoints(PointsGenerator):
    """The points as a camera sees them: a condition of yaw, pitch and roll in degrees.

    W hangs a little on the camera too, as it does where a mapping is conditioned on it. The
    points do not roll.
    """

    name, c_dim = "posed_points", 3

    def sample_condition(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return (10 * rng.standard_normal((count, 3))).astype(np.float32)

    def map(self, z, psi: float = 1.0, condition=None) -> NDArray[np.float32]:
        return super().map(z, psi) + np.float32(0.01) * condition[:, :1]

    def synthesize(self, w_plus, condition=None) -> NDArray[np.uint8]:
        turned = w_plus.copy()
        turned[:, 0] += condition[:, :2] / TURN @ self.truth_rows[:2]
        return super().synthesize(turned)

    def pose(self, condition) -> NDArray[np.float32]:
        return condition

    def with_pose(self, condition, yaw, pitch, roll) -> NDArray[np.float32]:
        given = np.stack(np.broadcast_arrays(yaw, pitch, roll), axis=-1)
        return np.broadcast_to(given, condition.shape).astype(np.float32)


class StreamingPoints(PointsGenerator):
    """Begins a batch before the last one is handed over, and notes the order of it all.

    Args:
        armed: while this file is there, its number names a batch at whose beginning the process
            aborts and the file is removed.
    """

    def __init__(self, armed: str = ""):
        super().__init__()
        self._armed = Path(armed) if armed else None
        self.noted: list[tuple[str, int]] = []

    def stream(self, batches, size: int) -> Iterator[NDArray[np.uint8]]:
        begun: list[NDArray[np.uint8]] = []
        for number, (w_plus, condition) in enumerate(batches):
            self._fall(number)
            self.noted.append(("begun", number))
            begun.append(self.synthesize(w_plus, condition))
            if number:
                self.noted.append(("taken", number - 1))
                yield begun.pop(0)
        self.noted.append(("taken", number))
        yield begun.pop()

    def _fall(self, number: int) -> None:
        if self._armed and self._armed.exists() and int(self._armed.read_text()) == number:
            self._armed.unlink()
            os.abort()

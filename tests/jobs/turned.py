"""Generators for `lode ganspace`'s tests, in a file of their own: workers import it alone."""

from __future__ import annotations

import hashlib

import numpy as np

from tests.examples.noise import NoiseGenerator
from tests.examples.points import DIM, PointsGenerator

SPREADS = np.array([1.25, 1.0, 0.75, 0.5, *[0.25] * (DIM - 4)], np.float32)


class Turned(PointsGenerator):
    """W spreads widest along what its landmarks are read from: yaw, pitch, smile, mouth_open."""

    name = "turned"

    def fingerprint(self) -> str:
        return hashlib.sha256(f"turned {super().fingerprint()}".encode()).hexdigest()

    def map(self, z, psi: float = 1.0, condition=None) -> np.ndarray:
        others = np.linalg.svd(self.truth_rows)[2][4:]
        axes = np.concatenate([self.truth_rows, others])
        return np.float32(psi) * (z * SPREADS) @ axes


class Broken(NoiseGenerator):
    """Maps to NaN."""

    name = "broken"

    def map(self, z, psi=1.0, condition=None):
        return super().map(z, psi) * np.float32(np.nan)

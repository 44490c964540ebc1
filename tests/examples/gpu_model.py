"""A generator whose fingerprint tells the GPUs that its process was given, as a real one's does."""

from __future__ import annotations

import hashlib
import os

from tests.examples.points import PointsGenerator


class GpuGenerator(PointsGenerator):
    """The points, rendered by what would be a GPU."""

    name = "gpu_model"

    def fingerprint(self) -> str:
        given = "a GPU" if os.environ.get("CUDA_VISIBLE_DEVICES") else "none"
        return hashlib.sha256(f"points on {given}".encode()).hexdigest()

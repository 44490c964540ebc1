"""How many threads the numerical libraries of this process use."""

from __future__ import annotations

import sys
from typing import Any

_held: list[Any] = []  # threadpoolctl limits only as long as its object lives


def limit_threads(count: int) -> None:
    """Hold BLAS, OpenMP, OpenCV and PyTorch to `count` threads in this whole process.

    Meant for worker processes: one worker per core is faster than threads that share it, and
    some results depend on the number of threads. Libraries imported later are not reached.
    """
    from threadpoolctl import threadpool_limits

    _held[:] = [threadpool_limits(count)]
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)

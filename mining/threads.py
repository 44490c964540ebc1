"""How many threads the numerical libraries of this process use."""

from __future__ import annotations

import os
import sys

# what BLAS, OpenMP and numexpr read when they are loaded
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def limit_threads(count: int) -> None:
    """Hold BLAS, OpenMP, OpenCV and PyTorch to `count` threads in this whole process.

    Meant for worker processes: one worker per core is faster than threads that share it, and
    some results depend on the number of threads. Libraries that are loaded already are told
    directly; those loaded later, here or in a child process, read it from the environment.
    OpenCV reads no such variable, so it is loaded now.
    """
    import cv2
    from threadpoolctl import threadpool_limits

    for name in VARIABLES:
        os.environ[name] = str(count)
    cv2.setNumThreads(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    threadpool_limits(count)  # stays until it is told otherwise

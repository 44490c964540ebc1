"""A generator and an extractor that fail on images of one's choice, judged by their content.

Every option is a number n: about one image in n is struck, always the same ones.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np

from tests.examples.points import PointsExtractor, PointsGenerator


class FaultyExtractor(PointsExtractor):
    """Raises, aborts natively or hangs.

    Args:
        log: a file that gets a line per call, to count what is tried again.
    """

    def __init__(self, raises: int = 0, aborts: int = 0, hangs: int = 0, log: str = ""):
        super().__init__()
        self._raises, self._aborts, self._hangs, self._log = raises, aborts, hangs, log

    def fingerprint(self) -> str:
        return hashlib.sha256(f"faulty {self._raises} {self._aborts}".encode()).hexdigest()

    def __call__(self, images, earlier):
        if self._log:
            with Path(self._log).open("a") as file:
                file.write(f"{len(images)}\n")
        if struck(images, self._aborts, 1):
            os.abort()
        if struck(images, self._hangs, 2):
            time.sleep(3600)
        if struck(images, self._raises, 3):
            raise ArithmeticError("this image is odd\nand more that nobody keeps")
        return super().__call__(images, earlier)


class FaultyGenerator(PointsGenerator):
    """Raises, aborts natively or hangs on latents of one's choice."""

    def __init__(self, raises: int = 0, aborts: int = 0, hangs: int = 0, slow: float = 0.0):
        super().__init__()
        self._raises, self._aborts, self._hangs, self._slow = raises, aborts, hangs, slow

    def fingerprint(self) -> str:
        return hashlib.sha256(b"faulty generator").hexdigest()

    def synthesize(self, w_plus, condition=None):
        time.sleep(self._slow * len(w_plus))
        images = super().synthesize(w_plus)
        if struck(images, self._aborts, 1):
            os.abort()
        if struck(images, self._hangs, 2):
            time.sleep(3600)
        if struck(images, self._raises, 3):
            raise ArithmeticError("these latents are odd")
        return images


def struck(images: np.ndarray, every: int, kind: int) -> bool:
    """Whether one of the images is of the one in `every` that are struck."""
    if not every:
        return False
    sums = images.reshape(len(images), np.prod(images.shape[1:])).sum(axis=1, dtype=np.int64)
    return bool((sums % every == kind % every).any())

"""A generator and an extractor that fail on images of one's choice, judged by their content.

`raises`, `aborts` and `hangs` are numbers n: about one image in n is struck, always the same ones.
"""

from __future__ import annotations

import hashlib
import os
import resource
import time
from pathlib import Path

import numpy as np

from tests.examples.points import PointsExtractor, PointsGenerator

ABORTS, HANGS, RAISES = 1, 2, 3  # kinds of faults, which strike different images
SMALL = 4096  # bytes that a file may have where `full` strikes


class Armed:
    """What strikes at this moment, so that a later run with the same settings can do better.

    Args:
        path: a file of words such as "aborts full"; nothing else strikes, nothing at all while
            it is not there. Without a path everything strikes that the options ask for.
    """

    def __init__(self, path: str):
        self._path = path

    def __call__(self, word: str) -> bool:
        if not self._path:
            return word in ("raises", "aborts", "hangs", "slow")
        path = Path(self._path)
        return path.exists() and word in path.read_text().split()


class FaultyExtractor(PointsExtractor):
    """Raises, aborts natively or hangs.

    Args:
        log: a file that gets a line per call, to count what is tried again.
        armed: as in `Armed`. Further words: "full" lets no file of this process grow beyond
            SMALL bytes, "unloadable" and "loading" are a constructor that raises or hangs, and
            "unreadable" is a model file that cannot be read for its fingerprint.
    """

    def __init__(
        self, raises: int = 0, aborts: int = 0, hangs: int = 0, log: str = "", armed: str = ""
    ):
        super().__init__()
        self._raises, self._aborts, self._hangs, self._log = raises, aborts, hangs, log
        self._armed = Armed(armed)
        if self._armed("unloadable"):
            raise OSError("the model file is cut off\nat byte 7")
        if self._armed("loading"):
            time.sleep(3600)

    def fingerprint(self) -> str:
        if self._armed("unreadable"):
            raise OSError("the model file is gone")
        return hashlib.sha256(f"faulty {self._raises} {self._aborts}".encode()).hexdigest()

    def __call__(self, images, earlier):
        if self._log:
            with Path(self._log).open("a") as file:
                file.write(f"{len(images)}\n")
        if self._armed("full"):
            most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, most))
        _fail(self._armed, images, self._raises, self._aborts, self._hangs, "this image is odd")
        return super().__call__(images, earlier)


class FaultyGenerator(PointsGenerator):
    """Raises, aborts natively or hangs on latents of one's choice.

    Args:
        slow: seconds that each image takes.
        armed: as in `Armed`.
    """

    def __init__(
        self,
        raises: int = 0,
        aborts: int = 0,
        hangs: int = 0,
        slow: float = 0.0,
        armed: str = "",
    ):
        super().__init__()
        self._raises, self._aborts, self._hangs, self._slow = raises, aborts, hangs, slow
        self._armed = Armed(armed)

    def fingerprint(self) -> str:
        return hashlib.sha256(b"faulty generator").hexdigest()

    def synthesize(self, w_plus, condition=None):
        if self._slow and self._armed("slow"):
            time.sleep(self._slow * len(w_plus))
        images = super().synthesize(w_plus)
        _fail(self._armed, images, self._raises, self._aborts, self._hangs, "these latents are odd")
        return images


def _fail(
    armed: Armed, images: np.ndarray, raises: int, aborts: int, hangs: int, said: str
) -> None:
    if struck(images, aborts, ABORTS) and armed("aborts"):
        os.abort()
    if struck(images, hangs, HANGS) and armed("hangs"):
        time.sleep(3600)
    if struck(images, raises, RAISES) and armed("raises"):
        raise ArithmeticError(f"{said}\nand more that nobody keeps")


def struck(images: np.ndarray, every: int, kind: int) -> bool:
    """Whether one of the images is of the one in `every` that are struck."""
    return bool(every) and bool((sums(images) % every == kind % every).any())


def sums(images: np.ndarray) -> np.ndarray:
    """(N,) what decides whether an image is struck: its sum modulo `every` is the kind's number."""
    return images.reshape(len(images), np.prod(images.shape[1:])).sum(axis=1, dtype=np.int64)

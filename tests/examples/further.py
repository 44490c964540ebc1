"""Extractors to be added to a dataset: dlib under another name, and one that ends its process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import Measurement
from mining.extractors.dlib68 import Dlib68
from tests.examples.brightness import Brightness


class DlibAgain:
    """What `dlib` measures, as a second model of its kind would."""

    name, needs = "again", ()

    def __init__(self, detect_size: int = 512):
        self._inner = Dlib68(detect_size=detect_size)
        self.columns, self.licence = self._inner.columns, self._inner.licence

    def fingerprint(self) -> str:
        return self._inner.fingerprint()

    def __call__(self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]):
        return self._inner(images, earlier)


class DyingBrightness(Brightness):
    """Ends its process in its first call, after which the file `once` is there."""

    def __init__(self, once: str):
        super().__init__()
        self._once = Path(once)

    def __call__(self, images: NDArray[np.uint8], earlier: Mapping[str, Measurement]):
        if not self._once.exists():
            self._once.touch()
            os._exit(1)
        return super().__call__(images, earlier)

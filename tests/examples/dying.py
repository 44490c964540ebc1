"""An extractor whose process dies of some images, as a native detector does that crashes."""

from __future__ import annotations

import os
from pathlib import Path

from tests.examples.points import PointsExtractor


class DyingExtractor(PointsExtractor):
    """Ends its process in every call, or, where `once` names a file, only until it is there."""

    def __init__(self, once: str = ""):
        super().__init__()
        self._once = once

    def __call__(self, images, earlier):
        if not self._once or not Path(self._once).exists():
            if self._once:
                Path(self._once).touch()
            os._exit(1)  # no exception, no clean-up: what a segmentation fault looks like to Ray
        return super().__call__(images, earlier)

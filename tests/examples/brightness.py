"""An extractor of one's own in one file: where the light of an image lies, and how wide it is."""

import hashlib
from collections.abc import Mapping

import numpy as np

from mining.extractors.base import OK, Column, Measurement, check_images

DARK = "dark"  # nothing to measure: such rows stay in the dataset, with this as their status


class Brightness:
    """The centre of an image's light, and the width of what shines."""

    name, needs, licence = "brightness", (), "Apache-2.0"
    columns = {
        "x": Column((), "fraction of the image", "centre of the light, 0 at the left"),
        "y": Column((), "fraction of the image", "centre of the light, 0 at the top"),
        "size": Column((), "fraction of the image", "edge of a square as large as what shines"),
    }

    def __init__(self, least: int = 8):
        self._least = least  # grey level, 0..255: an image without a brighter pixel is dark

    def fingerprint(self) -> str:
        return hashlib.sha256(f"brightness, version 1, {self._least}".encode()).hexdigest()

    def __call__(self, images: np.ndarray, earlier: Mapping) -> Measurement:
        check_images(self.name, images)
        light = images.mean(axis=-1)
        peak = light.max(axis=(1, 2))
        dark = peak <= self._least
        total = np.where(dark, np.nan, light.sum(axis=(1, 2)))
        across, down = ((np.arange(edge) + 0.5) / edge for edge in (light.shape[2], light.shape[1]))
        shines = (light > peak[:, None, None] / 2).mean(axis=(1, 2))
        values = {
            "x": (light @ across).sum(axis=1) / total,
            "y": (down @ light).sum(axis=1) / total,
            "size": np.where(dark, np.nan, np.sqrt(shines)),
        }
        status = tuple(DARK if nothing else OK for nothing in dark)
        return Measurement(status, {name: v.astype(np.float32) for name, v in values.items()})

"""What share of the time a generator's device is busy in a pipeline whose extractors keep up.

    python -m tests.benchmarks.busy
    python -m tests.benchmarks.busy --quick

Generator and extractor are simulated and take a known time for an image, in which they use no CPU:
the generator as a device that works through what is queued (`Streaming`), the extractors, twice as
fast together, as something that waits. Images of 1024 px, averaged down to 512 px by the generator,
and thumbnails are real, so the host's work and the object store are too. Busy is what the images
cost the device over the time from the first receipt to the last.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mining.extractors.base import OK, Column, Measurement
from tests.benchmarks.memory import driven
from tests.benchmarks.table import Figure
from tests.examples.points import PointsGenerator

HERE = "tests.benchmarks.busy"
COST = 0.02  # seconds of the device for an image: 50 images a second
EXTRACTORS, SIZE, SHARD, BATCH = 2, 512, 50, 10


class SimulatedDevice(PointsGenerator):
    """Grey images that are ready when a device would have made them."""

    name, resolution = "simulated_device", 1024

    def __init__(self) -> None:
        super().__init__()
        self._free = 0.0  # when the device has done all that is queued

    def fingerprint(self) -> str:
        return hashlib.sha256(b"simulated device 1").hexdigest()

    def stream(self, batches, size):
        """As a GPU: a batch is queued before the last one is waited for."""
        waiting = None
        for w_plus, _ in batches:
            self._free = max(self._free, time.monotonic()) + COST * len(w_plus)
            queued = (self._free, np.full((len(w_plus), size, size, 3), 128, np.uint8))
            if waiting is not None:
                yield self._arrived(*waiting)
            waiting = queued
        if waiting is not None:
            yield self._arrived(*waiting)

    @staticmethod
    def _arrived(ready: float, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        time.sleep(max(ready - time.monotonic(), 0.0))
        return images


class SimulatedExtractor:
    """Measures nothing, at a known rate."""

    name, needs, licence = "simulated", (), "Apache-2.0"
    columns = {"value": Column((), "1", "always zero")}

    def fingerprint(self) -> str:
        return hashlib.sha256(b"simulated extractor 1").hexdigest()

    def __call__(self, images: NDArray[np.uint8], earlier: Mapping) -> Measurement:
        time.sleep(COST * EXTRACTORS / 2 * len(images))
        return Measurement((OK,) * len(images), {"value": np.zeros(len(images), np.float32)})


def busy(shards: int) -> float:
    """The share, over all shards but the first."""
    with tempfile.TemporaryDirectory() as folder:
        driven(
            {
                "out": folder,
                "generator": {"name": f"{HERE}:SimulatedDevice"},
                "extractors": {f"{HERE}:SimulatedExtractor": {}},
                "dataset": {
                    "samples": shards * SHARD,
                    "shard_size": SHARD,
                    "batch_size": BATCH,
                    "image_size": SIZE,
                },
                "engine": {
                    "stages": "split",
                    "generator": {"max_actors": 1},
                    "extractor": {"max_actors": EXTRACTORS},
                    "object_store_mb": 512,
                },
            }
        )
        receipts = (Path(folder) / "dataset" / "receipts").iterdir()
        times = sorted(receipt.stat().st_mtime for receipt in receipts)
    return (shards - 1) * SHARD * COST / (times[-1] - times[0])


def figures(quick: bool) -> list[Figure]:
    """The share of the table."""
    note = f"simulated: {1 / COST:.0f} images/s at 1024 px, extractors at twice that"
    return [Figure("generator's device busy", busy(6 if quick else 60), "", least=0.9, note=note)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only to see that it works")
    print(*figures(parser.parse_args().quick), sep="\n")

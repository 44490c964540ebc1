"""The driver's peak memory against the number of rows, and the object store against its setting.

    python -m tests.benchmarks.memory
    python -m tests.benchmarks.memory --quick

The driver: 10,000 and 200,000 rows of a generator that costs nothing; the peak is the kernel's
high-water mark of the driver's resident memory, read in the driver when it is done. The object
store: images of 1024 px between split stages, a store that holds three shards of them, and Ray
asked every 20 ms how much of the store is in use.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.table import Figure
from tests.examples.points import PointsGenerator

ROOT = Path(__file__).parents[2]
EDGE = 1024
STORE_MB = 128  # of which 80 % are for images: three shards of ten
MB = 2**20


class WideGenerator(PointsGenerator):
    """The example's landmarks in the first pixels of a large black image."""

    name, resolution = "wide_points", EDGE

    def fingerprint(self) -> str:
        return hashlib.sha256(f"wide {super().fingerprint()}".encode()).hexdigest()

    def synthesize(self, w_plus, condition=None) -> NDArray[np.uint8]:
        small = super().synthesize(w_plus).reshape(len(w_plus), -1)
        wide = np.zeros((len(small), EDGE * EDGE * 3), np.uint8)
        wide[:, : small.shape[1]] = small
        return wide.reshape(-1, EDGE, EDGE, 3)


def run_settings(out: str, generator: str, **dataset: int) -> dict[str, Any]:
    """Settings of a run whose rows cost next to nothing."""
    return {
        "out": out,
        "generator": {"name": generator},
        "extractors": {"tests.examples.points:PointsExtractor": {}},
        "dataset": {"thumbnail": 0, **dataset},
        "engine": {"workers": 2, "object_store_mb": STORE_MB},
    }


def driven(settings: dict[str, Any]) -> dict[str, float]:
    """Run the pipeline in a fresh process; what that process says of its memory."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.memory", "--drive", json.dumps(settings)],
        env={**env, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"the pipeline failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def drive(settings: dict[str, Any]) -> dict[str, float]:
    """The pipeline, in this process; peaks in MB."""
    from jobs.cluster import ray_session
    from jobs.generate_dataset import generate
    from schemas.settings import RunSettings

    run = RunSettings.model_validate(settings)
    if run.engine.stages != "split":
        generate(run)
        return {"driver": peak()}
    with ray_session(run.engine), StoreWatch() as watch:
        generate(run)
    return {"driver": peak(), **watch.seen}


def peak() -> float:
    """This process's highest resident memory, MB.

    Not from getrusage: its ru_maxrss starts at what the parent had before exec.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM; this benchmark needs Linux")


class StoreWatch:
    """Asks the running Ray again and again what is in its object store."""

    def __init__(self, pause: float = 0.02):
        self._pause = pause
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seen = dict.fromkeys(("store", "fallback", "spilled", "passed", "samples"), 0.0)

    def __enter__(self) -> StoreWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        import ray
        from ray._private.internal_api import get_memory_info_reply, get_state_from_address

        state = get_state_from_address(ray.get_runtime_context().gcs_address)
        while not self._done.wait(self._pause):
            stats = get_memory_info_reply(state).store_stats
            now = {
                "store": stats.object_store_bytes_used / MB,
                "fallback": stats.object_store_bytes_fallback / MB,
                "spilled": stats.spilled_bytes_total / MB,
                "passed": stats.cumulative_created_bytes / MB,
                "samples": self.seen["samples"] + 1,
            }
            self.seen = {name: max(self.seen[name], value) for name, value in now.items()}


def driver_figures(few: int, many: int, rounds: int) -> list[Figure]:
    """The driver's peak for few and for many rows, medians over the rounds."""
    peaks: dict[int, list[float]] = {few: [], many: []}
    for _ in range(rounds):
        for rows, found in peaks.items():
            with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
                name = "tests.examples.points:PointsGenerator"
                found.append(
                    driven(run_settings(folder, name, samples=rows, shard_size=50))["driver"]
                )
            print(f"driver, {rows} rows: peak {found[-1]:.1f} MB", flush=True)
    low, high = median(peaks[few]), median(peaks[many])
    return [
        Figure(f"driver's peak memory, {few} rows", low, "MB", most=400),
        Figure(f"driver's peak memory, {many} rows", high, "MB", most=400),
        Figure(f"driver's peak memory, {many} over {few} rows", high / low, most=1.10),
    ]


def store_figures(shards: int) -> list[Figure]:
    """The object store's peak while many times its size passes through it."""
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        settings = run_settings(
            folder, "tests.benchmarks.memory:WideGenerator", samples=10 * shards, shard_size=10
        )
        settings["engine"]["stages"] = "split"
        found = driven(settings)
    print(f"object store: {found}", flush=True)
    images = 10 * shards * EDGE * EDGE * 3 / MB
    if found["passed"] < images:
        raise RuntimeError(f"{images:.0f} MB of images were made, {found['passed']:.0f} MB passed")
    told = f"{found['samples']:.0f} looks, {found['passed']:.0f} MB passed through"
    return [
        Figure(
            f"object store's peak, 1024 px, split, {STORE_MB} MB set",
            found["store"],
            "MB",
            most=STORE_MB,
            note=told,
        ),
        Figure(
            "spilled to disk, or allocated beside the store",
            found["spilled"] + found["fallback"],
            "MB",
            most=0,
        ),
        Figure("driver's peak memory in that run", found["driver"], "MB", most=400),
    ]


def figures(quick: bool = False) -> list[Figure]:
    """What table.py prints."""
    if quick:
        return driver_figures(1000, 4000, 1) + store_figures(12)
    return driver_figures(10_000, 200_000, 5) + store_figures(60)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only to see that it works")
    parser.add_argument("--drive", help=argparse.SUPPRESS)  # settings as JSON: be the driver
    args = parser.parse_args(argv)
    if args.drive:
        print(json.dumps(drive(json.loads(args.drive))))
    else:
        print(*figures(args.quick), sep="\n")


if __name__ == "__main__":
    main()

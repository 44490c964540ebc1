"""Every benchmark, and one table of what they found against what was asked.

    python -m tests.benchmarks.table --quick     # a few minutes, figures of little worth
    python -m tests.benchmarks.table             # about three hours on two quiet cores
    python -m tests.benchmarks.table --only memory object_storage

Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGES = ("ray", "numpy", "pyarrow", "dlib-bin", "opencv-contrib-python-headless", "s3fs")
# each offers figures(quick); imported when its turn comes, so that this process stays small
BENCHMARKS = (
    "engine",
    "memory",
    "object_storage",
    "catalog",
    "busy",
    "svm",
    "ganspace",
    "conditioned",
    "direction_matrix",
    "flow",
    "generators",
    "checkpoints",
    "shape_fit",
    "factorisation",
    "regressor",
    "extractors",
    "labels",
)


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: float
    unit: str = ""
    most: float | None = None  # the target: at most
    least: float | None = None  # the target: at least
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.most is None and self.least is None:
            return None
        over = self.most is not None and self.value > self.most
        return not over and not (self.least is not None and self.value < self.least)

    def __str__(self) -> str:
        value = f"{self.value:.0f}" if abs(self.value) >= 1000 else f"{self.value:.3g}"
        goal = f"<= {self.most:g}" if self.most is not None else ""
        goal = f">= {self.least:g}" if self.least is not None else goal
        met = {True: "met", False: "MISSED", None: ""}[self.met]
        return f"{self.what:<58} {value:>8} {self.unit:<9} {goal:<9} {met:<7} {self.note}".rstrip()


def extraction(quick: bool) -> list[Figure]:
    """The rows of extraction.py: rates against the naive loop that does the same work."""
    from mining.threads import limit_threads
    from tests.benchmarks.extraction import rows

    limit_threads(1)
    found = rows(images=4, timed=4, rounds=1) if quick else rows()
    return [
        Figure(f"extraction 1024 px, {row.variant}", row.rate, "images/s", note=_told(row))
        for row in found
    ]


def _told(row: Any) -> str:
    said = f"{row.ratio:.2f} x the naive loop"
    if row.change is not None:
        said += f", NME {100 * row.change[0]:+.2f} % (+- {100 * row.change[1]:.2f})"
    return said


def machine() -> Iterator[str]:
    """What the figures depend on besides the code."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"
    yield f"load average before: {os.getloadavg()[0]:.2f}"
    versions = [f"{name} {metadata.version(name)}" for name in PACKAGES]
    yield f"Python {platform.python_version()}, " + ", ".join(versions)


def head_quality(quick: bool) -> None:
    """Its own table, printed as it is."""
    words = ["--n", "100"] if quick else []
    subprocess.run([sys.executable, str(HERE / "head_quality.py"), *words], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("head_quality", "extraction", *BENCHMARKS)
    parser.add_argument("--quick", action="store_true", help="only to see that everything works")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    args = parser.parse_args()
    before = list(machine())
    start = time.monotonic()
    if "head_quality" in args.only:
        head_quality(args.quick)
    figures: list[Figure] = []
    for name in BENCHMARKS:
        if name in args.only:
            figures += import_module(f"tests.benchmarks.{name}").figures(args.quick)
    if "extraction" in args.only:  # last, as it limits this process's threads
        figures += extraction(args.quick)
    took = f"{(time.monotonic() - start) / 60:.0f} minutes{', quick: worth little' * args.quick}"
    print("", *before, took, "", *figures, sep="\n", flush=True)
    return 1 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())

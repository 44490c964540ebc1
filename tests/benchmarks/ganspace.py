"""How fast, how exactly and in how much memory the principal components of W are found.

    python -m tests.benchmarks.ganspace --quick
    python -m tests.benchmarks.ganspace --only speed

Planted latents: 512 numbers, float32, away from 0, whose spreads fall from 10 to 0.1. Speed: the
same batches of 2,000 rows through scikit-learn's IncrementalPCA with 80 components, GANSpace's own
settings, and through our moments with their decomposition; processor time of one thread, in turn.
Exactness: against a full singular value decomposition in float64 of all rows at once. Memory: the
kernel's high-water mark of a process that maps, sums and decomposes. The size of a difference
between two subspaces is the sine of the largest angle between them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mining.mapped import Draw, mapped_moments
from mining.methods.moments import moments_of
from mining.methods.pca import PcaConfig, pca_of
from mining.threads import VARIABLES
from tests.benchmarks.memory import ROOT, peak
from tests.benchmarks.table import Figure
from tests.examples.noise import NoiseGenerator

DIM, COMPONENTS, BATCH = 512, 80, 2000
SPREADS = np.geomspace(10, 0.1, DIM)
GAP = 1e-3  # between neighbouring singular values over the largest: less is no gap
SLOWER, EXACT, GROWTH = 5, 1e-6, 1.1  # the targets


class PlantedW(NoiseGenerator):
    """A mapping with 512 numbers whose axes and spreads are known."""

    name, z_dim, w_dim = "planted_w", DIM, DIM

    def __init__(self):
        axes = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, DIM)))[0]
        self.axes = axes.T.astype(np.float32)  # (512, 512), a row each
        self._map = (SPREADS[:, None] * axes.T).astype(np.float32)

    def mean_w(self) -> NDArray[np.float32]:
        return np.full(DIM, 3, np.float32)

    def sample_z(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        return rng.standard_normal((count, DIM), dtype=np.float32)

    def map(self, z, psi: float = 1.0, condition=None) -> NDArray[np.float32]:
        return self.mean_w() + np.float32(psi) * (z @ self._map)


def speed(rows: int, rounds: int) -> dict[str, float]:
    """Processor seconds of both, and how far their subspaces are from those of all rows at once."""
    from sklearn.decomposition import IncrementalPCA

    generator = PlantedW()
    w = generator.map(generator.sample_z(rows, np.random.default_rng(1)))
    ours, theirs = [], []
    for _ in range(rounds):
        start = time.process_time()
        found = pca_of(moments_of(_batches(w)), PcaConfig(COMPONENTS))
        ours.append(time.process_time() - start)
        start = time.process_time()
        incremental = IncrementalPCA(COMPONENTS)
        for batch in _batches(w):
            incremental.partial_fit(batch)
        theirs.append(time.process_time() - start)
    axes = np.stack([one.vector for one in found], axis=1)
    whole = w.astype(np.float64)
    whole -= whole.mean(axis=0)
    start = time.process_time()
    _, sizes, vectors = np.linalg.svd(whole, full_matrices=False)
    return {
        "ours": median(ours),
        "incremental": median(theirs),
        "ratio": median(b / a for a, b in zip(ours, theirs, strict=True)),
        "least ratio": min(b / a for a, b in zip(ours, theirs, strict=True)),
        "svd": time.process_time() - start,
        **dict(zip(("apart", "gaps"), apart(axes, vectors.T, sizes), strict=True)),
        "incremental apart": apart(incremental.components_.T, vectors.T, sizes)[0],
    }


def apart(found: NDArray, whole: NDArray, sizes: NDArray) -> tuple[float, int]:
    """The worst sine between the spans of the first k axes, over all k with a gap, and their count.

    Args:
        found: (512, K) orthonormal columns.
        whole: (512, 512) of the full decomposition, whose singular values are `sizes`.
    """
    gaps = (sizes[: found.shape[1]] - sizes[1 : found.shape[1] + 1]) / sizes[0]
    chosen = np.flatnonzero(gaps > GAP) + 1
    rests = (found[:, :k] - whole[:, :k] @ (whole[:, :k].T @ found[:, :k]) for k in chosen)
    return max(float(np.linalg.norm(rest, 2)) for rest in rests), len(chosen)


def memory(rows: int) -> dict[str, float]:
    """Peak memory and processor seconds of mapping, sums and components; the widest one's truth."""
    generator = PlantedW()
    start = time.process_time()
    found = pca_of(mapped_moments(generator, Draw(rows)), PcaConfig(COMPONENTS))
    seconds = time.process_time() - start
    return {
        "peak": peak(),
        "seconds": seconds,
        "cosine": abs(float(found[0].vector @ generator.axes[0])),
        "sigma": float(np.sqrt(found[0].evidence["variance"])),
    }


CASES: dict[str, Callable[..., dict[str, float]]] = {"speed": speed, "memory": memory}


def measured(name: str, **arguments: int) -> dict[str, float]:
    """Run a case in a fresh process of one thread."""
    words = ["-m", "tests.benchmarks.ganspace", "--case", name, json.dumps(arguments)]
    threads = dict.fromkeys(VARIABLES, "1")
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **threads, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{name} {arguments} failed: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{name} {arguments}: {shown(found)}", flush=True)
    return found


def shown(found: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items())


def speed_figures(rows: int, rounds: int) -> list[Figure]:
    """Time against IncrementalPCA, and both against the full decomposition."""
    now = measured("speed", rows=rows, rounds=rounds)
    told = f"{rows:,} x {DIM}"
    note = f"{now['incremental']:.2f} s against {now['ours']:.2f} s; least {now['least ratio']:.1f}"
    gaps = f"{now['gaps']:.0f} gaps; IncrementalPCA {now['incremental apart']:.1g}"
    return [
        Figure(f"IncrementalPCA / moments, time, {told}", now["ratio"], least=SLOWER, note=note),
        Figure(f"full SVD / moments, time, {told}", now["svd"] / now["ours"]),
        Figure(f"subspace against full SVD, {told}", now["apart"], most=EXACT, note=gaps),
    ]


def memory_figures(few: int, many: int) -> list[Figure]:
    """Peak memory for few and for many samples."""
    low, high = (measured("memory", rows=rows) for rows in (few, many))
    note = f"{high['seconds']:.0f} s with mapping; first axis at cosine {high['cosine']:.5f}"
    return [
        Figure(f"peak memory, {few:,} samples of W", low["peak"], "MB"),
        Figure(f"peak memory, {many:,} samples of W", high["peak"], "MB", note=note),
        Figure(f"peak memory, {many:,} / {few:,} samples", high["peak"] / low["peak"], most=GROWTH),
    ]


GROUPS: dict[str, Callable[[bool], list[Figure]]] = {
    "speed": lambda quick: speed_figures(*((10_000, 1) if quick else (100_000, 3))),
    "memory": lambda quick: memory_figures(*((60_000, 120_000) if quick else (100_000, 1_000_000))),
}


def figures(quick: bool = False, only: Sequence[str] = tuple(GROUPS)) -> list[Figure]:
    """What table.py prints."""
    return [figure for name in only for figure in GROUPS[name](quick)]


def _batches(rows: NDArray) -> Iterator[NDArray]:
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only to see that everything works")
    parser.add_argument("--only", nargs="+", choices=tuple(GROUPS), default=tuple(GROUPS))
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)  # name and arguments: run it
    args = parser.parse_args(argv)
    if args.case:
        found: dict[str, Any] = CASES[args.case[0]](**json.loads(args.case[1]))
        print(json.dumps(found))
    else:
        print(*figures(args.quick, args.only), sep="\n")


if __name__ == "__main__":
    main()

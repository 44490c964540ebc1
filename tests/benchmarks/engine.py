"""What the Ray pipeline costs over a plain loop, how it scales, and how long it takes to start.

    python -m tests.benchmarks.engine                 # 2,000 heads, 5 rounds: about 35 minutes
    python -m tests.benchmarks.engine --quick

Every round runs four cases, in an order that alternates: plain processes that call the same stages
in a loop over every n-th shard, and the program jobs/generate_dataset.py, each with as many
processes as cores and with one. A single process gets its share of the samples, so that every
process of every case does the same amount of work.

Start-up is left out the same way everywhere: time runs from the receipt with which a tenth of the
shards is done to the last receipt, and counts the rows in between. The end of a run, when some
workers have nothing left to do, is in it.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.table import Figure

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, str(ROOT / "jobs" / "generate_dataset.py")]
LOOP, RAY = "plain loop", "Ray pipeline"
Case = tuple[str, int]  # LOOP or RAY, and how many processes


@dataclass(frozen=True)
class Timing:
    """One run, seconds."""

    rate: float  # rows per second without the start
    start_up: float  # from the start of the first process to the first committed shard
    total: float  # until the last process has ended


def settings_words(out: Path, samples: int, workers: int, shard_size: int) -> list[str]:
    """The arguments of a run: the demo's generator and extractors."""
    words = ["--out", str(out), "--dataset.samples", str(samples)]
    words += ["--dataset.shard_size", str(shard_size), "--engine.workers", str(workers)]
    return words


def plain_loop(words: Sequence[str], workers: int) -> None:
    """The stages in as many plain processes, each over every n-th shard."""
    spawn = multiprocessing.get_context("spawn")
    loaded = spawn.Barrier(workers)
    processes = [
        spawn.Process(target=_loop, args=(list(words), number, workers, loaded))
        for number in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a process of the plain loop failed")


def _loop(words: list[str], number: int, workers: int, loaded) -> None:
    from jobs.generate_dataset import DEMO, dataset_url
    from mining.description import describe
    from mining.sampling import Measurer, Renderer
    from schemas.config import load_settings
    from storage.files import Store
    from storage.manifest import claim
    from storage.shards import commit

    settings = load_settings(words, "plain loop", "", DEMO)
    manifest, store = describe(settings), Store(dataset_url(settings))
    render, measure = Renderer(manifest), Measurer(manifest)
    if number == 0:
        claim(store, manifest)
    loaded.wait(600)  # BrokenBarrierError where another failed
    for shard in range(number, manifest.shards, workers):
        commit(store, manifest, shard, measure(render(shard)))


def pipeline(words: Sequence[str]) -> None:
    """The program, as a user starts it."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run([*PROGRAM, *words], env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the pipeline failed: {done.stderr[-2000:]}")


def timed(case: Case, folder: Path, samples: int, shard_size: int) -> Timing:
    """Run one case into an empty folder."""
    kind, workers = case
    words = settings_words(folder, samples, workers, shard_size)
    began, clock = time.time(), time.monotonic()
    if kind == LOOP:
        plain_loop(words, workers)
    else:
        pipeline(words)
    total = time.monotonic() - clock
    receipts = list((folder / "dataset" / "receipts").iterdir())
    done = sorted(receipt.stat().st_mtime for receipt in receipts)
    if len(done) != -(-samples // shard_size):
        raise RuntimeError(f"{kind}: {len(done)} shards were made of {samples} samples")
    return Timing(steady_rate(done, samples / len(done)), done[0] - began, total)


def steady_rate(done: Sequence[float], rows: float) -> float:
    """Rows per second after the first tenth, from the sorted times at which shards were done."""
    first = max(1, round(len(done) / 10)) - 1
    return rows * (len(done) - 1 - first) / (done[-1] - done[first])


def digest(folder: Path) -> str:
    """One number for all data and receipts."""
    paths = [*(folder / "dataset" / "data").iterdir(), *(folder / "dataset" / "receipts").iterdir()]
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def measure(
    samples: int, rounds: int, workers: int, shard_size: int = 50
) -> dict[Case, list[Timing]]:
    """Every case once a round, and a check that loop and pipeline wrote the same bytes."""
    cases: list[Case] = [(kind, n) for n in (workers, 1) for kind in (LOOP, RAY)]
    found: dict[Case, list[Timing]] = {case: [] for case in cases}
    for number in range(rounds):
        digests: dict[int, set[str]] = {workers: set(), 1: set()}
        for case in cases if number % 2 == 0 else cases[::-1]:
            folder = Path(tempfile.mkdtemp(prefix="bench-engine-"))
            try:
                timing = timed(case, folder, samples * case[1] // workers, shard_size)
                digests[case[1]].add(digest(folder))
            finally:
                shutil.rmtree(folder)
            found[case].append(timing)
            print(f"round {number + 1} of {rounds}, {case[0]}, {case[1]}: {timing}", flush=True)
        if any(len(each) != 1 for each in digests.values()):
            raise RuntimeError("loop and pipeline wrote different bytes")
    return found


def summary(found: dict[Case, list[Timing]], workers: int, samples: int) -> list[Figure]:
    """Medians over the rounds; ratios are of runs of the same round."""
    rate = {case: [timing.rate for timing in timings] for case, timings in found.items()}

    def ratio(over: Case, under: Case, by: float = 1.0) -> tuple[float, str]:
        each = [a / (by * b) for a, b in zip(rate[over], rate[under], strict=True)]
        return median(each), f"rounds {min(each):.3f} .. {max(each):.3f}"

    what = f"{samples} heads, dlib"
    overhead = [ratio((LOOP, n), (RAY, n)) for n in (workers, 1)]
    scaling = [ratio((kind, workers), (kind, 1), workers) for kind in (RAY, LOOP)]
    figures = [
        Figure(
            f"{RAY} / {LOOP}, wall time, {workers} workers ({what})",
            overhead[0][0],
            most=1.10,
            note=overhead[0][1],
        ),
        Figure(f"{RAY} / {LOOP}, wall time, 1 worker", overhead[1][0], note=overhead[1][1]),
        Figure(
            f"efficiency of {RAY}, {workers} workers against 1",
            scaling[0][0],
            least=0.92,
            note=scaling[0][1],
        ),
        Figure(
            f"efficiency of {LOOP}: what the machine itself allows",
            scaling[1][0],
            note=scaling[1][1],
        ),
    ]
    for case in rate:
        figures.append(Figure(f"{case[0]}, {_processes(case[1])}", median(rate[case]), "rows/s"))
    for case, timings in found.items():
        start = median(timing.start_up for timing in timings)
        figures.append(
            Figure(f"start to first shard: {case[0]}, {_processes(case[1])}", start, "s")
        )
    return figures


def _processes(count: int) -> str:
    return f"{count} worker" + "s" * (count > 1)


def figures(quick: bool = False, samples: int = 2000, rounds: int = 5) -> list[Figure]:
    """What table.py prints."""
    workers = 2
    if quick:
        samples, rounds = 160, 1
    found = measure(samples, rounds, workers, shard_size=10 if quick else 50)
    return summary(found, workers, samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000, help="head samples of a whole run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="only to see that it works")
    args = parser.parse_args()
    print(*figures(args.quick, args.samples, args.rounds), sep="\n")


if __name__ == "__main__":
    main()

"""The same run into a local folder, to S3, and to an S3 that loses 5 % of requests or answers.

    python -m tests.benchmarks.object_storage
    python -m tests.benchmarks.object_storage --quick

S3 is moto's server on the loopback interface. Both runs to S3 go through the proxy of
tests/faults/flaky_s3.py, so that its own cost is in both rates. Server and proxy share the cores
with the pipeline, which a real object store does not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

import yaml

from tests.benchmarks.table import Figure
from tests.faults.flaky_s3 import client_environment, faults, flaky, make_bucket, moto, objects

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, str(ROOT / "jobs" / "generate_dataset.py"), "--config"]
SHARE = 0.05  # of the requests that fail
LOCAL, S3, FLAKY = "local folder", "S3", "S3 with faults"
Files = dict[str, bytes]  # name in the dataset's folder -> bytes


def settings_file(folder: Path, samples: int, shard_size: int) -> str:
    """Heads with the demo's extractors: what a user would make."""
    path = folder / "run.yaml"
    settings = {
        "generator": {"name": "head", "options": {"resolution": 256}},
        "extractors": {"dlib": {}, "geometry": {}},
        "dataset": {"samples": samples, "shard_size": shard_size},
        "engine": {"workers": 2},
    }
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def run(settings: str, out: str, endpoint: str | None = None) -> float:
    """Generate in a fresh process; seconds from its start to its end."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "AWS_"))}
    env |= {"PYTHONPATH": str(ROOT), **(client_environment(endpoint) if endpoint else {})}
    start = time.monotonic()
    done = subprocess.run(
        [*PROGRAM, settings, "--out", out], env=env, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"the run into {out} failed: {done.stderr[-2000:]}")
    return time.monotonic() - start


def vouched(files: Files) -> Files:
    """What a reader of the data sees: all but the records of runs."""
    return {name: data for name, data in files.items() if not name.startswith("runs/")}


def local_files(out: Path) -> Files:
    """Everything in a local dataset."""
    folder = out / "dataset"
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def s3_files(server: str, bucket: str) -> Files:
    """Everything in a bucket's dataset."""
    return {n.removeprefix("dataset/"): data for n, data in objects(server, bucket).items()}


def seconds_of(files: Files) -> float:
    """From the first shard to the end of the run, by its own record: Ray's start is left out."""
    (record,) = [json.loads(data) for name, data in files.items() if name.startswith("runs/")]
    return record["seconds"] - record["seconds_to_first_shard"]


def one_round(number: int, settings: str, folder: Path) -> tuple[dict[str, float], Counter[str]]:
    """Seconds after the first shard of each of the three runs, and the faults of the last.

    Raises:
        RuntimeError: a run failed, or two made different bytes.
    """
    seconds: dict[str, float] = {}
    made: dict[str, Files] = {}
    out = folder / f"local-{number}"
    run(settings, str(out))
    made[LOCAL] = local_files(out)
    logs = {S3: folder / f"passed-{number}", FLAKY: folder / f"faults-{number}"}
    for kind, share in ((S3, 0.0), (FLAKY, SHARE)):
        with moto() as server, flaky(server, logs[kind], share, seed=number) as endpoint:
            make_bucket(server, "bench")
            run(settings, "s3://bench", endpoint)
            made[kind] = s3_files(server, "bench")
    for kind, files in made.items():
        seconds[kind] = seconds_of(files)
        if vouched(files) != vouched(made[LOCAL]):
            raise RuntimeError(f"{kind} holds other bytes than the local folder")
    return seconds, faults(logs[FLAKY])


def measure(samples: int, shard_size: int, rounds: int) -> list[Figure]:
    """Rates, and what was injected."""
    rates: dict[str, list[float]] = {LOCAL: [], S3: [], FLAKY: []}
    injected: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="bench-s3-") as name:
        settings = settings_file(Path(name), samples, shard_size)
        for number in range(rounds):
            seconds, counted = one_round(number, settings, Path(name))
            injected += counted
            for kind, spent in seconds.items():
                rates[kind].append((samples - shard_size) / spent)
            shown = ", ".join(f"{kind} {each[-1]:.1f} rows/s" for kind, each in rates.items())
            print(f"round {number + 1} of {rounds}: {shown}; {dict(counted)}", flush=True)
    requests, lost = injected.total(), injected.total() - injected["passed"]
    if not lost:
        raise RuntimeError(f"of {requests} requests none failed: nothing was shown")
    kinds = ", ".join(f"{count} {kind}" for kind, count in injected.items() if kind != "passed")
    return [
        *(Figure(f"{kind}, 2 workers", median(each), "rows/s") for kind, each in rates.items()),
        Figure("requests that failed", 100 * lost / requests, "%", note=f"{lost}: {kinds}"),
        # one_round raises where there is one
        Figure("files with other bytes than in the local folder", 0, most=0),
    ]


def figures(quick: bool = False) -> list[Figure]:
    """What table.py prints."""
    return measure(60, 5, 1) if quick else measure(600, 20, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only to see that it works")
    args = parser.parse_args()
    print(*figures(args.quick), sep="\n")


if __name__ == "__main__":
    main()

"""How fast and how well landmarks are factorised into cameras and shapes.

    python -m tests.benchmarks.factorisation --quick
    python -m tests.benchmarks.factorisation --only speed

Speed: made-up heads that bend, 12 modes, float32, two threads; against ten sweeps of the authors'
alternation as they run it (`plain_als.py`), timed on 1,000 rows and taken times 50, all in one
round; medians over the rounds. Their decomposition before it is not counted, ours is. Quality: the
same heads, then random heads of the embedded generator at 256 px, whose angles and shape are known.
Every case has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from tests.benchmarks.memory import ROOT
from tests.benchmarks.table import Figure

CLOSED_MOST, JOINT_MOST = 1 / 40, 1 / 5  # of the time of the authors' ten sweeps
# the least correlation of each angle, and how far its slope may be from 1
CORRELATIONS = {
    "true": {"yaw": 0.97, "pitch": 0.9, "roll": 0.97},
    "dlib": {"yaw": 0.95, "pitch": 0.85, "roll": 0.95},
}
SLOPES = {"true": 0.1, "dlib": 0.15}


def measured(name: str, **arguments: float) -> dict[str, float]:
    """Run one of factorisation_cases.py in a fresh process."""
    words = ["-m", "tests.benchmarks.factorisation", "--case", name, json.dumps(arguments)]
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
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


def speed_figures(rows: int, few: int, rounds: int) -> list[Figure]:
    """Closed form and joint refinement against the authors' sweeps, and their residuals."""
    figures = []
    for landmarks in (68, 468):
        found = [measured("speed", rows=rows, landmarks=landmarks, few=few) for _ in range(rounds)]
        figures += speed_rows({k: median(r[k] for r in found) for k in found[0]}, rows, landmarks)
    return figures


def speed_rows(now: Mapping[str, float], rows: int, landmarks: int) -> list[Figure]:
    """Rows of the table for one number of landmarks."""
    told = f"N = {rows:,}, L = {landmarks}"
    loops = {
        "torch": "authors' ten ALS sweeps",
        "numpy": "the same loop in NumPy",
        "kinder": "that loop, made shorter",
        "als": "SVD and ten sweeps, all rows at once",
    }
    figures = [Figure(f"{what}, {told}", now[k], "s") for k, what in loops.items()]
    for name, most in (("closed", CLOSED_MOST), ("joint", JOINT_MOST)):
        what = {"closed": "closed form", "joint": "joint refinement"}[name]
        note = f"{now[name]:.3g} s; {now[name] / now['numpy']:.2g} of the loop in NumPy"
        note += f"; {now['joint sweeps']:.0f} sweeps" * (name == "joint")
        ratio = now[name] / now["torch"]
        figures.append(Figure(f"{what} / authors' ALS, {told}", ratio, most=most, note=note))
        against = now[f"{name} residual"] / now["als residual"]
        note = f"{now[f'{name} residual']:.4f} against {now['als residual']:.4f}"
        figures.append(Figure(f"the same, residuals, {told}", against, most=1, note=note))
    return figures


def planted_figures(rows: int, held_out: int) -> list[Figure]:
    """Residuals on made-up heads, also over rows that the fit has not seen."""
    now = measured("planted", rows=rows, landmarks=68, held_out=held_out)
    told = f"{rows:,} planted rows"
    note = f"{now['joint']:.4f} in {now['joint sweeps']:.0f} sweeps; floor {now['floor']:.4f}"
    held = f"closed form {now['closed held out']:.4f}; floor {now['floor']:.4f}"
    ratio = now["joint"] / now["closed"]
    return [
        Figure(f"residual, ten ALS sweeps, {told}", now["als"]),
        Figure(f"residual, closed form / ALS, {told}", now["closed"] / now["als"], most=1),
        Figure(f"residual, joint / closed form, {told}", ratio, most=0.5, note=note),
        Figure(f"residual, joint, {held_out:,} rows held out", now["joint held out"], note=held),
    ]


def memory_figures(few: int, many: int) -> list[Figure]:
    """Peak memory of the fit to parts, for few and for many rows."""
    low, high = (measured("memory", rows=rows, landmarks=68) for rows in (few, many))
    note = f"{high['seconds']:.0f} s, residual {high['residual']:.4f}"
    return [
        Figure(f"peak memory, {few:,} rows in parts, L = 68", low["peak"], "MB"),
        Figure(f"peak memory, {many:,} rows in parts, L = 68", high["peak"], "MB", note=note),
        Figure(f"peak memory, {many:,} / {few:,} rows", high["peak"] / low["peak"], most=1.1),
    ]


def robust_figures(rows: int) -> list[Figure]:
    """The mean shape's error with a tenth of the landmarks far off."""
    now = measured("robust", rows=rows, landmarks=68)
    note = f"{100 * now['spoilt robust']:.2f} %; clean {100 * now['clean']:.2f} %, "
    note += f"clean and robust {100 * now['clean robust']:.2f} %"
    ratio = now["spoilt robust"] / now["clean"]
    return [
        Figure("shape error, 10 % gross outliers, not robust", 100 * now["spoilt"], "%"),
        Figure("shape error, 10 % gross outliers, robust / clean", ratio, most=2, note=note),
    ]


def head_figures(count: int) -> list[Figure]:
    """Angles after one rotation for all heads, and the mean shape."""
    now = measured("heads", count=count)
    figures = []
    for source, goals in CORRELATIONS.items():
        kept = count if source == "true" else int(now["detected"])
        told = f"{source} landmarks of {kept:,} heads"
        for name, least in goals.items():
            value = now[f"{source} {name} correlation"]
            figures.append(Figure(f"{name} from {told}, correlation", value, least=least))
            slope = now[f"{source} {name} slope"]
            figures.append(
                Figure(
                    f"{name} from {told}, |slope - 1|",
                    abs(slope - 1),
                    most=SLOPES[source],
                    note=f"slope {slope:.3f}",
                )
            )
        most = 4 if source == "true" else None
        note = f"relative residual {now[f'{source} residual']:.4f}"
        shape = 100 * now[f"{source} shape"]
        figures.append(Figure(f"mean 3-D shape from {told}", shape, "%", most=most, note=note))
    return figures


GROUPS: dict[str, Callable[[bool], list[Figure]]] = {
    "speed": lambda quick: speed_figures(*((4000, 100, 1) if quick else (50_000, 1000, 3))),
    "planted": lambda quick: planted_figures(*((1000, 300) if quick else (4000, 1000))),
    "memory": lambda quick: memory_figures(*((5000, 20_000) if quick else (250_000, 1_000_000))),
    "robust": lambda quick: robust_figures(400 if quick else 2000),
    "heads": lambda quick: head_figures(60 if quick else 1500),
}


def figures(quick: bool = False, only: Sequence[str] = tuple(GROUPS)) -> list[Figure]:
    """What table.py prints."""
    return [figure for name in only for figure in GROUPS[name](quick)]


def run_case(name: str, arguments: str) -> None:
    """One case, in this process; its numbers as JSON."""
    from tests.benchmarks.factorisation_cases import CASES

    found: Any = CASES[name](**json.loads(arguments))
    print(json.dumps({key: float(value) for key, value in found.items()}))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only to see that everything works")
    parser.add_argument("--only", nargs="+", choices=tuple(GROUPS), default=tuple(GROUPS))
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)  # name and arguments: run it
    args = parser.parse_args(argv)
    if args.case:
        run_case(*args.case)
    else:
        print(*figures(args.quick, args.only), sep="\n")


if __name__ == "__main__":
    main()

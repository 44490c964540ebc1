"""How long a catalogue of many cards takes to answer.

    python -m tests.benchmarks.catalog
    python -m tests.benchmarks.catalog --quick

The cards are written as publications of 500, each with a vector of 512 numbers and eight
responses; a third of them are the newest of their lineage. Each question is asked four times in a
process of its own. What counts is the slowest but the first, which reads the catalogue.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np

from schemas.directions import DirectionCard, Provenance, Response
from tests.benchmarks.table import Figure

ROOT = Path(__file__).parents[2]
PUBLICATION = 500  # cards
ATTRIBUTES = [f"attribute {number}" for number in range(30)]
VERSIONS = 3  # of a lineage, about
CALLS = 4
MOST = {1_000: 250, 100_000: 600}  # ms, by cards


def cards(count: int, first: int, lineages: int, rng: np.random.Generator) -> list[DirectionCard]:
    """Random cards; the number of a card decides its lineage."""
    vectors = rng.normal(size=(count, 512)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = []
    for number, vector in enumerate(vectors, first):
        method, which = divmod(number % lineages, len(ATTRIBUTES))
        names = [ATTRIBUTES[(which + k) % len(ATTRIBUTES)] for k in range(8)]
        made.append(
            DirectionCard(
                attribute=names[0],
                unit="1",
                method=f"method {method}",
                space="w",
                generator="head",
                generator_fingerprint="ab" * 32,
                generator_licence="Apache-2.0",
                vector=vector,
                provenance=Provenance("d" * 64, number, '{"penalty": 1.0}', "0.1.0"),
                sigma=0.5,
                responses=tuple(Response(n, "1", *rng.normal(size=3), 1.0) for n in names),
            )
        )
    return made


def write(url: str, count: int) -> float:
    """Fill a catalogue; seconds."""
    from storage.catalog import Catalog

    rng, start = np.random.default_rng(0), time.perf_counter()
    for first in range(0, count, PUBLICATION):
        size = min(PUBLICATION, count - first)
        Catalog(url).publish(cards(size, first, count // VERSIONS, rng), near=None)
    return time.perf_counter() - start


def questions(url: str, commit: int) -> dict[str, Callable[[], object]]:
    """What is asked; every answer is looked at."""
    from storage.catalog import Catalog

    catalog, past = Catalog(url), Catalog(url, as_of=commit)
    vector = np.random.default_rng(1).normal(size=512)
    leak = f"`{ATTRIBUTES[4]} leak`"
    condition = f"`{ATTRIBUTES[3]}` >= 0.4, |{leak}| <= 0.2"
    return {
        "list": lambda: (catalog.cards().table(), list(catalog.cards()[:100])),
        "best": lambda: catalog.best(ATTRIBUTES[3]),
        "as-of": lambda: (past.cards().table(), past.best(ATTRIBUTES[3])),
        "nearest": lambda: catalog.nearest(vector),
        "find": lambda: list(catalog.find(condition, order_by="leak", limit=100)),
    }


def ask(url: str, what: str, commit: int) -> None:
    """Ask four times; print the milliseconds of each, and the memory in MiB."""
    spent = []
    for _ in range(CALLS):
        start = time.perf_counter()
        questions(url, commit)[what]()
        spent.append(1000 * (time.perf_counter() - start))
    print(json.dumps([spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def asked(url: str, what: str, commit: int) -> tuple[list[float], float]:
    """`ask` in a fresh process."""
    words = ["--ask", what, "--url", url, "--commit", str(commit)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.catalog", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    spent, memory = json.loads(done.stdout.splitlines()[-1])
    return spent, memory


def measure(count: int, rounds: int) -> Iterator[Figure]:
    """The figures of one catalogue; of several processes the median counts."""
    with tempfile.TemporaryDirectory(prefix="bench-catalog-") as folder:
        url = f"{folder}/catalog"
        rate = count / write(url, count)
        yield Figure(f"{count} cards published, {PUBLICATION} at a time", rate, "cards/s")
        for what in questions(url, 1):
            told = [asked(url, what, count // PUBLICATION // 2) for _ in range(rounds)]
            first = median(spent[0] for spent, _ in told)
            later = median(max(spent[1:]) for spent, _ in told)
            memory = max(memory for _, memory in told)
            note = f"the first call {first:.0f} ms; {memory:.0f} MiB at most"
            yield Figure(f"{what} of {count} cards", later, "ms", most=MOST.get(count), note=note)


def figures(quick: bool = False) -> list[Figure]:
    """What table.py prints."""
    if quick:
        return [*measure(1_000, 1), *measure(5_000, 1)]
    return [*measure(1_000, 3), *measure(100_000, 3)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only to see that it works")
    parser.add_argument("--ask", help="one question, in this process")
    parser.add_argument("--url")
    parser.add_argument("--commit", type=int)
    args = parser.parse_args()
    if args.ask:
        ask(args.url, args.ask, args.commit)
    else:
        print(*figures(args.quick), sep="\n")


if __name__ == "__main__":
    main()

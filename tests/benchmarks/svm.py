"""How long the linear SVM takes, and how near its normal comes to that of scikit-learn's SVC.

    python -m tests.benchmarks.svm --quick
    python -m tests.benchmarks.svm

Planted: N white latents of 512 numbers, classes by the side of a plane, 10 % of them wrong; all
rows train. SVC(kernel="linear") is timed at 2,000, 4,000 and 8,000 rows; a power law through these
(least squares in logarithms) tells what it would take for 50,000, where ours is timed. Both have
one thread and are timed in its own seconds (CPU time), so that what else runs counts little. The
two losses, C s and C' s^2 of the slack s, are comparable at C' = C / 2: there they rise as steeply
for a row on the plane itself, s = 1. C is the 0.002 that `svm` has by default.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mining.methods.linear_svm import LinearSvm, fit_linear_svm
from mining.methods.scaled_rows import ScaledRows
from tests.benchmarks.table import Figure

DIM, WRONG, COST = 512, 0.1, 0.002
SIZES, MANY = (2000, 4000, 8000), 50_000
LEAST_FASTER, LEAST_COSINE = 10.0, 0.99

Array = NDArray[np.float64]


def planted(rows: int, dim: int, seed: int = 0) -> tuple[Array, Array, Array]:
    """Latents (rows, dim), classes -1 and 1 of which a tenth is wrong, and the true normal."""
    rng = np.random.default_rng([seed, rows])
    truth = rng.normal(size=dim)
    latents = rng.normal(size=(rows, dim))
    signs = np.where(latents @ truth > 0, 1.0, -1.0)
    signs[rng.random(rows) < WRONG] *= -1
    return latents, signs, truth / np.linalg.norm(truth)


def ours(latents: Array, signs: Array) -> tuple[LinearSvm, float]:
    """The plane, and the seconds that it took with the scaling of the rows."""
    start = time.process_time()
    found = fit_linear_svm(ScaledRows.of(latents), signs, np.full(len(signs), COST / 2))
    return found, time.process_time() - start


def theirs(latents: Array, signs: Array) -> tuple[Array, float]:
    """SVC's normal, and its seconds."""
    from sklearn.svm import SVC

    start = time.process_time()
    machine = SVC(kernel="linear", C=COST, cache_size=1000).fit(latents, signs)
    return np.asarray(machine.coef_)[0], time.process_time() - start


def cosine(one: Array, other: Array) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def extrapolated(sizes: Sequence[int], seconds: Sequence[float], rows: int) -> tuple[float, float]:
    """Seconds for so many rows by a power law, and its exponent."""
    exponent, level = np.polyfit(np.log(sizes), np.log(seconds), 1)
    return float(np.exp(level + exponent * np.log(rows))), float(exponent)


def figures(quick: bool = False) -> Iterator[Figure]:
    """The lines of the table."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        if quick:
            yield from _figures((200, 400, 800), 3000, 64, None, None)
        else:
            yield from _figures(SIZES, MANY, DIM, LEAST_COSINE, LEAST_FASTER)


def _figures(
    sizes: Sequence[int], many: int, dim: int, near: float | None, faster: float | None
) -> Iterator[Figure]:
    seconds = []
    theirs(*planted(50, dim)[:2])  # imports
    for rows in sizes:
        latents, signs, truth = planted(rows, dim)
        normal, took = theirs(latents, signs)
        found, own = ours(latents, signs)
        seconds.append(took)
        yield Figure(f"SVC, {rows:,} rows", took, "s", note=f"ours {own:.3g} s")
        yield Figure(
            f"the same, cosine of ours to SVC's normal, {rows:,} rows",
            cosine(found.weights, normal),
            least=near if rows == sizes[-1] else None,
            note=f"to the truth: ours {cosine(found.weights, truth):.3f}, "
            f"SVC {cosine(normal, truth):.3f}",
        )
    expected, exponent = extrapolated(sizes, seconds, many)
    latents, signs, truth = planted(many, dim)
    found, own = ours(latents, signs)
    yield Figure(f"SVC, {many:,} rows, extrapolated", expected, "s", note=f"N^{exponent:.2f}")
    yield Figure(
        f"ours, {many:,} rows",
        own,
        "s",
        note=f"{found.iterations} iterations, {'' if found.converged else 'not '}converged; "
        f"cosine to the truth {cosine(found.weights, truth):.4f}",
    )
    yield Figure(f"the same, times faster, {many:,} rows", expected / own, least=faster)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only to see that everything works")
    missed = False
    for figure in figures(parser.parse_args().quick):
        print(figure, flush=True)
        missed |= figure.met is False
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())

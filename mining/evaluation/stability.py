"""How far a direction hangs on the rows and the seed that it was mined with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.methods.base import check_whole, own_order
from schemas.errors import InputError

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Mine = Callable[[Rows, int], Array]  # some rows, how far to move the method's seed -> a vector
NAN = float("nan")


@dataclass(frozen=True)
class StabilityConfig:
    """What is mined again.

    Raises:
        InputError: a number is out of its range.
    """

    halves: int = 3  # seeded splits into two halves
    sizes: tuple[float, ...] = (0.1, 0.25, 0.5)  # shares of the rows, drawn once a split
    seeds: int = 2  # further seeds on all rows, of methods that take one
    seed: int = 0  # of the splits

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(sorted({float(size) for size in self.sizes})))
        check_whole("stability", 1, halves=self.halves)
        check_whole("stability", 0, seeds=self.seeds, seed=self.seed)
        for size in self.sizes:
            if not 0 < size < 1:
                raise InputError(f"stability: a size is {size}, expected a share inside (0, 1).")


@dataclass(frozen=True)
class Stability:
    """Cosines between directions of one method and attribute; 1 where nothing hangs on chance.

    What could not be mined, as of too few rows, is left out.
    """

    halves: tuple[float, ...]  # between the two halves of the rows, one a split
    seeds: tuple[float, ...] = ()  # to the direction of all rows, one a further seed
    sizes: tuple[tuple[int, float], ...] = ()  # (rows, mean cosine to that of all), ascending
    reason: str = ""  # why the first that is missing could not be mined

    @property
    def mean(self) -> float:
        """Of the halves; NaN where neither could be mined."""
        return float(np.mean(self.halves)) if self.halves else NAN

    @property
    def low(self) -> float:
        """The smallest of the halves' cosines."""
        return min(self.halves, default=NAN)

    @property
    def high(self) -> float:
        """The largest of them."""
        return max(self.halves, default=NAN)


def measure_stability(
    mine: Mine,
    whole: Array,
    latents: Array,
    scores: Array,
    config: StabilityConfig = StabilityConfig(),
    reseed: bool = False,
) -> Stability:
    """Mine parts of the rows again, and compare the directions.

    Splits are seeded and a function of the rows alone. The halves share no row, so their cosine
    is that of two independent datasets of N / 2 rows; the parts behind `sizes` lie within the
    whole, so theirs come out higher than those of independent datasets of that size.
    With white latents in D dimensions, y = a'x + noise of variance s^2 and least squares on n
    rows, the expected cosine of two halves is about |a|^2 / (|a|^2 + D s^2 / (n - D - 1)).
    Source: the mean of the inverse Wishart matrix, Anderson (2003), An Introduction to
    Multivariate Statistical Analysis, section 7.7.

    Args:
        mine: as `Mine`; may raise InputError for rows that say too little.
        whole: the vector of all rows, of any shape.
        latents: (N, D), N >= 4; the order is taken from them and
        scores: (N,), where latents tie.
        reseed: whether another seed changes anything.

    Raises:
        InputError: fewer than 4 rows.
    """
    if len(latents) < 4:
        raise InputError(f"stability: {len(latents)} rows came, expected at least 4.")
    order = own_order(latents, scores)
    again = _Miner(mine)
    halves: list[float | None] = []
    curve: dict[int, list[float]] = {}
    for mixed in _mixed(order, config):
        middle = len(mixed) // 2
        halves.append(_cosine(again(mixed[:middle]), again(mixed[middle:])))
        for count in _counts(mixed, config):
            found = _cosine(again(mixed[:count]), whole)
            curve.setdefault(count, []).extend(() if found is None else (found,))
    seeds = range(1, config.seeds + 1) if reseed else ()
    others = [_cosine(again(order, seed), whole) for seed in seeds]
    return Stability(
        tuple(value for value in halves if value is not None),
        tuple(value for value in others if value is not None),
        tuple((count, float(np.mean(found))) for count, found in sorted(curve.items()) if found),
        again.reason,
    )


def parts_of(latents: Array, scores: Array, config: StabilityConfig) -> list[Rows]:
    """Every set of rows, ascending, that `measure_stability` hands to `mine`, each once."""
    found: dict[bytes, Rows] = {}
    for mixed in _mixed(own_order(latents, scores), config):
        middle = len(mixed) // 2
        parts = [mixed[:middle], mixed[middle:], *(mixed[:n] for n in _counts(mixed, config))]
        for rows in map(np.sort, parts):
            found.setdefault(rows.tobytes(), rows)
    return list(found.values())


class _Miner:
    """Mines rows in ascending order, the same rows once; None where the method refuses them."""

    def __init__(self, mine: Mine):
        self.reason = ""
        self._mine = mine
        self._done: dict[tuple[bytes, int], Array | None] = {}

    def __call__(self, rows: Rows, seed: int = 0) -> Array | None:
        rows = np.sort(rows)
        name = (hashlib.sha256(rows.tobytes()).digest(), seed)
        if name not in self._done:
            self._done[name] = self._tried(rows, seed)
        return self._done[name]

    def _tried(self, rows: Rows, seed: int) -> Array | None:
        try:
            return self._mine(rows, seed)
        except InputError as error:
            self.reason = self.reason or f"{len(rows):,} rows: {error}"
            return None


def _mixed(order: Rows, config: StabilityConfig) -> Iterator[Rows]:
    """One seeded order of the rows a split."""
    rng = np.random.default_rng(config.seed)
    for _ in range(config.halves):
        yield order[rng.permutation(len(order))]


def _counts(rows: Rows, config: StabilityConfig) -> list[int]:
    """How many rows each size is."""
    return sorted({max(1, round(size * len(rows))) for size in config.sizes})


def _cosine(one: Array | None, other: Array | None) -> float | None:
    """Of two vectors of any shape; None where one is missing."""
    if one is None or other is None:
        return None
    one, other = np.ravel(one), np.ravel(other)
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))

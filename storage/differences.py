"""What changed in a catalogue between two of its states."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from storage.cards import Cards, Tagged
from storage.finding import Rows, numbers
from storage.lineages import LINEAGE, codes
from storage.snapshots import State

NUMBERS = (  # that are compared
    *("effect", "effect_relative", "leak", "identity_cost", "truth_cosine", "stability"),
    *("slope", "sigma", "calibration_step"),
)


@dataclass(frozen=True)
class Replaced:
    """A lineage whose newest version is another one than before."""

    lineage: tuple[str, str, str, str]  # fingerprint, space, attribute, method
    old_version: int
    new_version: int
    old_id: str  # the same as new_id where a direction was only measured anew
    new_id: str
    numbers: Mapping[str, tuple[float | None, float | None]]  # measured once at least: old, new

    @property
    def changes(self) -> dict[str, float]:
        """By how much each number grew that was measured both times and is another now."""
        pairs = self.numbers.items()
        both = {k: (a, b) for k, (a, b) in pairs if a is not None and b is not None and a != b}
        return {name: b - a for name, (a, b) in both.items()}


@dataclass(frozen=True)
class Difference:
    """From the earlier of two states to the later one."""

    before: int  # commits
    after: int
    published: int  # versions of any lineage in between
    added: Cards  # newest versions of lineages that were not there before
    replaced: tuple[Replaced, ...]  # in the order of publication

    @property
    def empty(self) -> bool:
        """Whether nothing was published in between."""
        return not self.published


def difference(one: State, other: State, tagged: Tagged) -> Difference:
    """Compare two states of one catalogue, whichever of them is the later one."""
    before, after = sorted((one, other), key=lambda state: state.commit)
    old, new = np.flatnonzero(before.latest), np.flatnonzero(after.latest)
    old_codes, new_codes = _lineages(before, old, after, new)
    row_before = np.full(int(max(old_codes.max(initial=-1), new_codes.max(initial=-1))) + 1, -1)
    row_before[old_codes] = old
    was = row_before[new_codes]
    changed = was >= 0
    changed[changed] = before.versions[was[changed]] != after.versions[new[changed]]
    return Difference(
        before=before.commit,
        after=after.commit,
        published=len(after) - len(before),
        added=Cards(after, new[was < 0], tagged),
        replaced=_replaced(before, after, was[changed], new[changed]),
    )


def _lineages(before: State, old: Rows, after: State, new: Rows) -> tuple[Rows, Rows]:
    """Numbers of the lineages of rows of either state, the same for the same lineage."""
    parts = [
        state.rows.select(list(LINEAGE)).take(pa.array(rows))
        for state, rows in ((before, old), (after, new))
    ]
    found = codes(pa.concat_tables(parts), LINEAGE)
    return found[: len(old)], found[len(old) :]


def _replaced(before: State, after: State, old: Rows, new: Rows) -> tuple[Replaced, ...]:
    was = {name: numbers(before, name)[old] for name in NUMBERS}
    now = {name: numbers(after, name)[new] for name in NUMBERS}
    names = ["direction_id", *LINEAGE]
    then = before.rows.select(names).take(pa.array(old)).to_pylist()
    rows = after.rows.select(names).take(pa.array(new)).to_pylist()
    found = []
    for at, row in enumerate(rows):
        pairs = {name: (_known(was[name][at]), _known(now[name][at])) for name in NUMBERS}
        fingerprint, space, attribute, method = (row[name] for name in LINEAGE)
        found.append(
            Replaced(
                lineage=(fingerprint, space, attribute, method),
                old_version=int(before.versions[old[at]]),
                new_version=int(after.versions[new[at]]),
                old_id=then[at]["direction_id"],
                new_id=row["direction_id"],
                numbers={name: pair for name, pair in pairs.items() if pair != (None, None)},
            )
        )
    return tuple(found)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)

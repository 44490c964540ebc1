"""Whether methods keep identity in the order in which the micromotion paper has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.paper_tables import COUNTERPARTS, IDENTITY, paper_order
from mining.evaluation.quantities import meanings

Array = NDArray[np.float64]

MEAN = "mean"
# attribute of the paper -> the quantity that it is by our names
QUANTITY = {"smile": "smile", "age": "age", "gender": "male", "glasses": "glasses"}


@dataclass(frozen=True)
class Ordering:
    """Two methods of which the paper has one below the other in its Table 1."""

    attribute: str  # of the paper, or "mean" over what both have
    ours: tuple[str, ...]  # the attributes of ours behind it
    lower: str  # our counterpart of the method that the paper has lower
    higher: str
    paper: tuple[float, float]  # its two figures
    values: tuple[float, float]  # ours
    holds: bool
    share: float  # of resamples in which it holds; NaN without any


def paper_orderings(identity: Mapping[str, Mapping[str, Array]]) -> list[Ordering]:
    """Every pair of methods with counterparts in the paper, by attribute and over all.

    Args:
        identity: method -> attribute -> (1+B,) change of identity, and what resamples gave.
    """
    known = {method: cells for method, cells in identity.items() if method in COUNTERPARTS}
    found = []
    for one, two in combinations(known, 2):
        if COUNTERPARTS[one] == COUNTERPARTS[two]:
            continue
        both = [name for name in known[one] if name in known[two]]
        for attribute in (*QUANTITY, MEAN):
            ours = both if attribute == MEAN else [n for n in both if _is(n, attribute)]
            ordering = _ordering(attribute, ours, one, two, known) if ours else None
            if ordering is not None:
                found.append(ordering)
    return found


def _is(name: str, attribute: str) -> bool:
    """Whether an attribute of ours tells of the paper's."""
    return QUANTITY[attribute] in meanings([name])[name]


def _ordering(
    attribute: str,
    ours: list[str],
    one: str,
    two: str,
    identity: Mapping[str, Mapping[str, Array]],
) -> Ordering | None:
    order = paper_order(attribute, (COUNTERPARTS[one], COUNTERPARTS[two]))
    lower, higher = (one, two) if COUNTERPARTS[one] == order[0] else (two, one)
    below, above = (
        np.mean([identity[method][name] for name in ours], axis=0) for method in (lower, higher)
    )
    if not np.isfinite(above[0] - below[0]):
        return None
    gaps = (above - below)[1:]
    gaps = gaps[np.isfinite(gaps)]
    figures = [_figure(COUNTERPARTS[method], attribute) for method in (lower, higher)]
    return Ordering(
        attribute,
        tuple(ours),
        lower,
        higher,
        (figures[0], figures[1]),
        (float(below[0]), float(above[0])),
        bool(below[0] < above[0]),
        float((gaps > 0).mean()) if len(gaps) else float("nan"),
    )


def _figure(method: str, attribute: str) -> float:
    cells = IDENTITY[method]
    return float(np.mean(list(cells.values()))) if attribute == MEAN else cells[attribute]

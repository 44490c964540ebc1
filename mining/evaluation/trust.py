"""Which of several backends to trust for a quantity, and why, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.agreement import FEW, UNKNOWN, Estimate, Series, lead, pearson
from mining.evaluation.trust_words import (
    counted,
    in_words,
    led_by,
    listed,
    on_rows,
    reference,
    tie,
    wider,
    widest,
    win,
)

NEGLIGIBLE = 0.005  # a lead in |correlation| with the truth that decides nothing
CLOSE = 0.02  # as NEGLIGIBLE, for median agreement, which has no interval
WEAK = 0.5  # |correlation| below which nobody is trusted
FAR_BELOW = 0.1  # of the most rows, under which a backend does not set on which rows all are judged


@dataclass(frozen=True)
class Score:
    """What one backend is judged by."""

    source: str
    coverage: float  # share of all rows that it measured
    correlation: Estimate  # with the truth on its own rows; else the median |r| with the others
    common: float  # |r| with the truth on the rows that all have; NaN where that was not asked


@dataclass(frozen=True)
class Trust:
    """The backend to trust for one quantity: none, one, or several that tie."""

    quantity: str
    basis: str  # "truth", "camera", "agreement" or "nothing"
    backends: tuple[str, ...]  # the best first
    reason: str
    scores: tuple[Score, ...]  # the best first


def trust_by_truth(quantity: str, measured: Sequence[Series], truth: Series) -> Trust:
    """The backend whose |Pearson correlation| with the truth is highest on the same rows.

    All are judged on the rows that all of them measured, so that nobody gains by failing on hard
    images; where those are fewer than FEW, each on its own. Who trails the best by less than
    NEGLIGIBLE, or by less than the 95 % interval of that difference can tell, ties with it.

    Whoever has fewer than FEW rows, or than FAR_BELOW of the most that one has who follows the
    truth, is left out, lest a few rows decide for all; the reason holds each against the best on
    the rows that both measured.

    Args:
        measured: the backends' series, (N,) each; at least one.
        truth: what they should say.
    """
    alone = {one.source: _with(one, truth) for one in measured}
    usable = _judged(measured, truth, alone)
    what = reference(truth.source)
    if not usable:
        scores = tuple(Score(one.source, _coverage(one), UNKNOWN, np.nan) for one in measured)
        why = f"No backend measured three rows that differ, so none can be held against {what}."
        return Trust(quantity, truth.source, (), why, scores)
    inside, common = _on_common_rows(usable, truth)
    rows = int(inside.sum()) if common else 0
    names = [one.source for one in usable]
    left_out = [one for one in measured if one.source not in names and _rows(one, truth)]
    on = on_rows(rows, names if left_out else None)
    strength = common or {one.source: abs(alone[one.source].value) for one in usable}
    usable.sort(key=lambda one: (-strength[one.source], -_coverage(one)))
    judged = [one.source for one in usable]  # the best first
    scores = tuple(
        Score(one.source, _coverage(one), alone[one.source], common.get(one.source, np.nan))
        for one in [*usable, *(one for one in measured if one.source not in judged)]
    )
    best, *others = usable
    leads = {
        one.source: lead(best.values[inside], one.values[inside], truth.values[inside])
        for one in others
    }
    tied = tuple(takewhile(lambda name: not _ahead(leads[name]), judged[1:]))
    if strength[best.source] < WEAK:
        said = in_words(alone[best.source])
        why = f"None follows {what}: the best, {best.source}, has {said}."
        why += _against(best, left_out, truth)
        return Trust(quantity, truth.source, (), why, scores)
    if tied:
        why = tie(best.source, tied, strength, leads, what, on)
        why += widest(scores, len(tied) + 1)
    else:
        why = win(scores, judged[1:], leads, what, on, alone=not left_out)
    why += _against(best, left_out, truth)
    return Trust(quantity, truth.source, (best.source, *tied), why, scores)


def trust_by_agreement(
    quantity: str, measured: Sequence[Series], kin: Mapping[str, str] | None = None
) -> Trust:
    """The backend that the others agree with most: the highest median |Pearson correlation|.

    Agreement is not truth: backends can be wrong together, above all where they read the same
    landmarks. So each is judged by those that read others, where there are any.

    Args:
        measured: the backends' series, (N,) each; at least one.
        kin: backend -> what it reads; backends of one kin are not independent.
    """
    kin = kin or {}
    pairs = {
        frozenset((one.source, two.source)): _with(one, two)
        for one, two in combinations(measured, 2)
    }
    names = [one.source for one in measured]
    medians = {name: _median(name, names, pairs, kin) for name in names}
    by_name = {one.source: one for one in measured}
    names.sort(
        key=lambda name: (-np.nan_to_num(medians[name], nan=-1.0), -_coverage(by_name[name]))
    )
    scores = tuple(
        Score(name, _coverage(by_name[name]), Estimate(medians[name]), np.nan) for name in names
    )
    usable = [name for name in names if np.isfinite(medians[name])]
    if len(usable) < 2:
        why = (
            f"Only {names[0]} measures it, and its truth is not known: nothing to compare."
            if len(names) == 1
            else "No two backends measured three common rows that differ: nothing to compare."
        )
        return Trust(quantity, "nothing", (), why, scores)
    top = medians[usable[0]]
    if top < WEAK:
        why = f"They do not agree: the median |r| of {usable[0]} with the others is {top:.3f}."
        return Trust(quantity, "agreement", (), why, scores)
    tied = tuple(name for name in usable if top - medians[name] < CLOSE)
    if len(usable) == 2:
        why = f"{listed(usable)} agree with |r| {top:.3f}; two alone cannot say which is right."
    elif len(tied) > 1:
        why = f"{listed(tied)} tie: the others agree with them alike, median |r| {top:.3f}."
    else:
        second = f"{medians[usable[1]]:.3f} with {usable[1]}"
        why = f"The others agree with {usable[0]} most: median |r| {top:.3f}, {second}."
    why += widest(scores, len(tied)) if len(tied) > 1 else wider(scores)
    roots = {kin.get(name, name) for name in usable}
    if len(roots) == 1:
        why += f" All read {roots.pop()}, so they may be wrong together."
    return Trust(quantity, "agreement", tied, f"{why} Agreement, not truth.", scores)


def _with(one: Series, two: Series) -> Estimate:
    known = np.isfinite(one.values) & np.isfinite(two.values)
    x, y = (np.asarray(series.values[known], np.float64) for series in (one, two))
    return pearson(x, y)


def _judged(
    measured: Sequence[Series], truth: Series, alone: Mapping[str, Estimate]
) -> list[Series]:
    """Those that measured enough to be judged together."""
    usable = [one for one in measured if np.isfinite(alone[one.source].value)]
    enough = [one for one in usable if _rows(one, truth) >= FEW] or usable
    # one that measures everything and follows nothing must not make the others look small
    follow = [one for one in enough if abs(alone[one.source].value) >= WEAK] or enough
    most = max((_rows(one, truth) for one in follow), default=0)
    return [one for one in enough if _rows(one, truth) >= FAR_BELOW * most]


def _rows(one: Series, truth: Series) -> int:
    return int((np.isfinite(one.values) & np.isfinite(truth.values)).sum())


def _on_common_rows(
    usable: Sequence[Series], truth: Series
) -> tuple[NDArray[np.bool_], dict[str, float]]:
    """(N,) the rows that all have, and |r| with the truth there.

    Where those are too few or hold a constant: every row, and no |r|.
    """
    known = np.isfinite(truth.values)
    for one in usable:
        known &= np.isfinite(one.values)
    true = np.asarray(truth.values[known], np.float64)
    found = {
        one.source: abs(pearson(np.asarray(one.values[known], np.float64), true).value)
        for one in usable
    }
    if len(true) < FEW or not np.isfinite(list(found.values())).all():
        return np.ones(len(known), bool), {}
    return known, found


def _median(
    name: str,
    names: Sequence[str],
    pairs: Mapping[frozenset[str], Estimate],
    kin: Mapping[str, str],
) -> float:
    """Median |r| with the backends of other kin, or with all others where there are none."""
    others = [other for other in names if other != name]
    apart = [other for other in others if kin.get(other, other) != kin.get(name, name)]
    found = [abs(pairs[frozenset((name, other))].value) for other in apart or others]
    found = [value for value in found if np.isfinite(value)]
    return float(np.median(found)) if found else np.nan


def _coverage(one: Series) -> float:
    return float(np.isfinite(one.values).mean()) if len(one.values) else 0.0


def _ahead(found: Estimate) -> bool:
    return found.low > 0 and found.value > NEGLIGIBLE


def _against(best: Series, left_out: Sequence[Series], truth: Series) -> str:
    """What is known of each that was not judged with the rest."""
    return "".join(f" {one.source} is left out: {_pair(best, one, truth)}." for one in left_out)


def _pair(best: Series, one: Series, truth: Series) -> str:
    shared = np.isfinite(best.values)
    rows, both = _rows(one, truth), _rows(Series("", np.where(shared, one.values, np.nan)), truth)
    found = lead(one.values, best.values, truth.values)
    has = f"it has {counted(rows)}"
    if both < FEW:
        return f"{has}, of which {best.source} measured {both:,}, too few to judge by"
    if not np.isfinite(found.value):
        return f"{has}, on which it or {best.source} does not vary"
    where = f"{has}; on the {both:,} that {best.source} measured too, it"
    if _ahead(found):
        return f"{where} is {led_by(found)} ahead"
    behind = Estimate(-found.value, -found.high, -found.low)
    if _ahead(behind):
        return f"{where} is {led_by(behind)} behind"
    return f"{where} cannot be told from {best.source}"

"""Which of several backends to trust for a quantity, and why, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile

import numpy as np
from numpy.typing import NDArray

from mining.evaluation.agreement import FEW, UNKNOWN, Estimate, Series, lead, pearson

NEGLIGIBLE = 0.005  # a lead in |correlation| with the truth that decides nothing
CLOSE = 0.02  # as NEGLIGIBLE, for median agreement, which has no interval
WEAK = 0.5  # |correlation| below which nobody is trusted
MORE = 0.01  # share of rows by which another measures more, so that it is worth telling


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

    Args:
        measured: the backends' series, (N,) each; at least one.
        truth: what they should say.
    """
    alone = {one.source: _with(one, truth) for one in measured}
    usable = _usable(measured, truth, alone)
    what = _reference(truth.source)
    if not usable:
        scores = tuple(Score(one.source, _coverage(one), UNKNOWN, np.nan) for one in measured)
        why = f"No backend measured three rows that differ, so none can be held against {what}."
        return Trust(quantity, truth.source, (), why, scores)
    inside, common = _on_common_rows(usable, truth)
    rows = int(inside.sum()) if common else 0
    strength = common or {one.source: abs(alone[one.source].value) for one in usable}
    usable.sort(key=lambda one: (-strength[one.source], -_coverage(one)))
    judged = [one.source for one in usable]
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
        said = _strength(alone[best.source])
        why = f"None follows {what}: the best, {best.source}, has {said}."
        return Trust(quantity, truth.source, (), why, scores)
    if tied:
        why = _tie(best.source, tied, strength, leads, what, rows)
        why += _widest(scores, len(tied) + 1)
    else:
        why = _win(scores, judged[1:], leads, what, rows)
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
            f"Only {names[0]} measures it, and no truth is known: nothing to compare."
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
        why = f"{_list(usable)} agree with |r| {top:.3f}; two alone cannot say which is right."
    elif len(tied) > 1:
        why = f"{_list(tied)} tie: the others agree with them alike, median |r| {top:.3f}."
    else:
        second = f"{medians[usable[1]]:.3f} with {usable[1]}"
        why = f"The others agree with {usable[0]} most: median |r| {top:.3f}, {second}."
    why += _widest(scores, len(tied)) if len(tied) > 1 else _wider(scores)
    roots = {kin.get(name, name) for name in usable}
    if len(roots) == 1:
        why += f" All read {roots.pop()}, so they may be wrong together."
    return Trust(quantity, "agreement", tied, f"{why} Agreement, not truth.", scores)


def _with(one: Series, two: Series) -> Estimate:
    known = np.isfinite(one.values) & np.isfinite(two.values)
    x, y = (np.asarray(series.values[known], np.float64) for series in (one, two))
    return pearson(x, y)


def _usable(
    measured: Sequence[Series], truth: Series, alone: Mapping[str, Estimate]
) -> list[Series]:
    """Those with a correlation; where some have FEW rows or more, those alone."""
    usable = [one for one in measured if np.isfinite(alone[one.source].value)]
    known = np.isfinite(truth.values)
    enough = [one for one in usable if (known & np.isfinite(one.values)).sum() >= FEW]
    return enough or usable


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


def _reference(source: str) -> str:
    return "the camera that was asked for" if source == "camera" else f"the {source}"


def _strength(found: Estimate) -> str:
    """ "r 0.981 (0.979 to 0.983)", and whether the sign is turned round."""
    interval = f" ({found.low:.3f} to {found.high:.3f})" if np.isfinite(found.low) else ""
    return f"r {found.value:.3f}{interval}{', its sign turned round,' if found.value < 0 else ''}"


def _win(
    scores: Sequence[Score],
    others: Sequence[str],
    leads: Mapping[str, Estimate],
    what: str,
    rows: int,
) -> str:
    best, said = scores[0].source, _strength(scores[0].correlation)
    if not others:
        on = f"on {scores[0].coverage:.1%} of the rows"
        return f"Only {best} measures it: {said} with {what}, {on}."
    ahead = f"{_lead(leads[others[0]])} ahead of {others[0]}{_rows(rows)}"
    return f"{best} has {said} with {what}, {ahead}.{_wider(scores)}"


def _tie(
    best: str,
    tied: Sequence[str],
    strength: Mapping[str, float],
    leads: Mapping[str, Estimate],
    what: str,
    rows: int,
) -> str:
    numbers = _list([f"{strength[name]:.3f}" for name in (best, *tied)])
    widest = max((leads[name] for name in tied), key=lambda found: np.nan_to_num(found.value))
    return (
        f"{_list([best, *tied])} tie: |r| {numbers} with {what}{_rows(rows)}; "
        f"{best} leads by {_lead(widest)}, which decides nothing."
    )


def _lead(found: Estimate) -> str:
    if not np.isfinite(found.low):
        return "an unknown amount"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _rows(rows: int) -> str:
    return f" on the {rows:,} rows that all measured" if rows else ", each on rows of its own"


def _widest(scores: Sequence[Score], equals: int) -> str:
    """Of the first so many, who measures more rows; else who of the rest measures more."""
    most, *rest = sorted(scores[:equals], key=lambda score: -score.coverage)
    if most.coverage - rest[0].coverage >= MORE:
        return (
            f" {most.source} measures more rows: {most.coverage:.1%} against "
            f"{rest[0].coverage:.1%} of {rest[0].source}."
        )
    return _wider([most, *scores[equals:]], "They measure", "take that one where these fail.")


def _wider(
    scores: Sequence[Score],
    measure: str = "It measures",
    advice: str = "take that one where this one fails.",
) -> str:
    """What share of the rows the best measures, and who measures more if that is worth telling."""
    best, *rest = scores
    most = max(rest, key=lambda score: score.coverage, default=best)
    said = f" {measure} {best.coverage:.1%} of the rows"
    if most.coverage - best.coverage < MORE:
        return f"{said}."
    return f"{said}, {most.source} {most.coverage:.1%}: {advice}"


def _list(names: Sequence[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

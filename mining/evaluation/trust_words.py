"""How it is said whom to trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mining.evaluation.agreement import Estimate

if TYPE_CHECKING:
    from mining.evaluation.trust import Score

MORE = 0.01  # share of rows by which another measures more, so that it is worth telling


def reference(source: str) -> str:
    """What the backends are held against."""
    return "the camera that was asked for" if source == "camera" else f"the {source}"


def in_words(found: Estimate) -> str:
    """ "r 0.981 (0.979 to 0.983)", and whether the sign is turned round."""
    more = [f"{found.low:.3f} to {found.high:.3f}"] if np.isfinite(found.low) else []
    more += ["its sign turned round"] if found.value < 0 else []
    return f"r {found.value:.3f} ({'; '.join(more)})" if more else f"r {found.value:.3f}"


def counted(rows: int) -> str:
    """ "1 row", "1,200 rows"."""
    return "1 row" if rows == 1 else f"{rows:,} rows"


def win(
    scores: Sequence[Score],
    others: Sequence[str],
    leads: Mapping[str, Estimate],
    what: str,
    on: str,
    alone: bool,
) -> str:
    """Of the best, how far it is ahead; `alone` where nobody else measured anything.

    Args:
        scores: the best first.
        others: that were judged with it, the best first.
        leads: of the best over each of them.
    """
    best, said = scores[0].source, in_words(scores[0].correlation)
    if others:
        ahead = f"{led_by(leads[others[0]])} ahead of {others[0]}{on}"
        return f"{best} has {said} with {what}, {ahead}.{wider(scores)}"
    where = f"on {scores[0].coverage:.1%} of the rows"
    if alone:
        return f"Only {best} measures it: {said} with {what}, {where}."
    return f"{best} has {said} with {what}, {where}."


def tie(
    best: str,
    tied: Sequence[str],
    strength: Mapping[str, float],
    leads: Mapping[str, Estimate],
    what: str,
    on: str,
) -> str:
    """Of those that cannot be told from the best."""
    numbers = listed([f"{strength[name]:.3f}" for name in (best, *tied)])
    furthest = max((leads[name] for name in tied), key=lambda found: np.nan_to_num(found.value))
    return (
        f"{listed([best, *tied])} tie: |r| {numbers} with {what}{on}; "
        f"{best} leads by {led_by(furthest)}, which decides nothing."
    )


def led_by(found: Estimate) -> str:
    """ "0.040 (0.031 to 0.049)"."""
    if not np.isfinite(found.low):
        return "an unknown amount"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def on_rows(rows: int, names: Sequence[str] | None) -> str:
    """On which rows backends were judged; names are those judged where others measured too."""
    if not rows:
        return ", each on rows of its own"
    return f" on the {rows:,} rows that {listed(names) if names else 'all'} measured"


def widest(scores: Sequence[Score], equals: int) -> str:
    """Of the first so many, who measures more rows; else who of the rest measures more."""
    most, *rest = sorted(scores[:equals], key=lambda score: -score.coverage)
    if most.coverage - rest[0].coverage >= MORE:
        return (
            f" {most.source} measures more rows: {most.coverage:.1%} against "
            f"{rest[0].coverage:.1%} of {rest[0].source}."
        )
    return wider([most, *scores[equals:]], "They measure", "take that one where these fail.")


def wider(
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


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

"""The leaderboard as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mining.evaluation.leaderboard import FIGURES, LARGER_IS_BETTER, Board

HEADINGS = {
    "cosine": "cosine to the truth",
    "effect": "effect, spreads per sigma",
    "leak": "leak",
    "identity": "identity cost at one sigma",
    "identity_per_spread": "identity cost per spread",
    "seconds": "seconds of one core",
}
SHOWN = ("cosine", "leak", "identity_per_spread", "seconds")  # of a method over all sizes


def as_json(board: Board) -> dict[str, Any]:
    """Plain JSON; None for what is not a number."""
    rows = [
        {**asdict(score), "identity_per_spread": score.identity_per_spread}
        for score in board.scores
    ]
    return {
        "facts": dict(board.facts),
        "scores": [{key: _plain(value) for key, value in row.items()} for row in rows],
        "shared_seconds": {key: _plain(value) for key, value in board.shared.items()},
        "failures": dict(board.failures),
        "skipped": dict(board.skipped),
    }


def as_csv(board: Board) -> str:
    """One line a method, attribute and number of samples."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("method", "attribute", "samples", *FIGURES, "chosen", "direction_id"))
    for score in board.scores:
        figures = [score.figure(name) for name in FIGURES]
        told = ["" if math.isnan(value) else f"{value:.6g}" for value in figures]
        head = (score.method, score.attribute, score.samples)
        writer.writerow((*head, *told, score.chosen, score.direction_id))
    return text.getvalue()


def as_markdown(board: Board) -> str:
    """Methods over numbers of samples, then cosines by attribute at the largest."""
    return "\n".join([*_by_size(board), "", *_by_attribute(board), ""])


def _by_size(board: Board) -> list[str]:
    sizes = board.samples
    heads = [HEADINGS[name] for name in SHOWN]
    lines = [
        "| method | " + " | ".join(f"{head}, {size:,}" for head in heads for size in sizes) + " |",
        "|---" * (1 + len(heads) * len(sizes)) + "|",
    ]
    columns = [
        marked([board.mean(method, size, name) for method in board.methods], name)
        for name in SHOWN
        for size in sizes
    ]
    rows = zip(board.methods, *columns, strict=True)
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _by_attribute(board: Board) -> list[str]:
    if not board.samples:
        return []
    last = board.samples[-1]
    cosines = board.table(last, "cosine")
    lines = [
        f"| cosine at {last:,} | " + " | ".join(board.attributes) + " |",
        "|---" * (1 + len(board.attributes)) + "|",
    ]
    columns = [marked(column, "cosine") for column in cosines.T]
    rows = zip(board.methods, *columns, strict=True)
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def marked(values: Sequence[float], figure: str) -> list[str]:
    """Numbers of one column as text, the best in bold; of seconds none is."""
    known = [value for value in values if math.isfinite(value)]
    best = None
    if known and figure != "seconds":
        best = max(known) if figure in LARGER_IS_BETTER else min(known)
    told = [shown(value, figure) for value in values]
    return [
        f"**{text}**" if value == best else text for value, text in zip(values, told, strict=True)
    ]


def shown(value: float, figure: str) -> str:
    """One figure as text."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    decimals = 3 if figure == "cosine" else 2 if abs(value) < 10 else 0
    text = f"{value:.{decimals}f}"
    return text if float(text) else text.removeprefix("-")  # never "-0.00"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value

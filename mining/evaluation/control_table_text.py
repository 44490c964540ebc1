"""The table of control losses as JSON, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mining.evaluation.agreement import Estimate
from mining.evaluation.control_table import COLUMNS, LOSSES, Row, scaled
from mining.evaluation.control_table_edits import KINDS
from mining.evaluation.control_table_orderings import Ordering, paper_rows

DIFFERENCES = (
    "What differs from the paper: it does not state its edits, nor whether norms are summed or "
    "averaged (its L_L(w) of 0.006 to 0.037 are landmark errors of 0.9 to 2.3 % of the image as "
    "sums over 68 points, and of 11 to 27 % as means, so sums are compared); it edits by gradient "
    "with an identity term of weight 0.01, at 1024 px, with K = 12, and measures identity by "
    "ArcFace."
)

COLUMNS_SAY = (
    "L_R unedited is what L_R is where nothing moves: what lies above it was edited for the worse. "
    "Centred: with the centroids of both sets of landmarks laid on each other, because q_edit "
    "keeps t, while a head that turns about its neck takes its face along."
)


@dataclass(frozen=True)
class Table:
    """Table 1, and all that has to be said of how it came about."""

    rows: tuple[Row, ...]
    orderings: tuple[Ordering, ...]
    facts: Mapping[str, Any]  # generator, landmarks, edits, method, identity, shape models ...


def as_json(table: Table) -> dict[str, Any]:
    """Plain JSON; None for what is not a number."""
    return _plain(
        {
            "facts": dict(table.facts),
            "rows": [_row(row) for row in table.rows],
            "orderings": [{**asdict(found), "said": said(found)} for found in table.orderings],
            "paper": paper_rows(),
            "differences": DIFFERENCES,
        }
    )


def as_csv(table: Table) -> str:
    """One line a space, kind of edit and loss; then the paper's figures."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("space", "edits", "loss", "sum", "sum_low", "sum_high", "mean", "mean_low", "mean_high")
    )
    for row in table.rows:
        for kind, found in (("both kinds", row.sums), *row.kinds.items()):
            for name, one in found.items():
                mean = scaled(one, row.terms[name])
                writer.writerow((row.space, kind, name, *map(_cell, _three(one) + _three(mean))))
    for row in paper_rows():
        for name in LOSSES:
            writer.writerow((f"paper, {row['space']}", "", name, row[name], *[""] * 5))
    return text.getvalue()


def as_markdown(table: Table) -> str:
    """The tables for people: sums, means, kinds of edit, codes, orderings, and the paper's."""
    parts = [
        "# Table 1: control losses by latent space",
        _facts(table.facts),
        "Sums over coordinates and codes, lower is better; 95 % intervals over latents:",
        _losses(table.rows, lambda row: row.sums),
        COLUMNS_SAY,
        "Means per coordinate and per code:",
        _losses(table.rows, lambda row: row.means),
    ]
    for kind in KINDS:
        parts += [
            f"Sums of the edits of codes {kind}:",
            _losses(table.rows, lambda row, kind=kind: row.kinds[kind], COLUMNS[1:]),
        ]
    parts += ["Faces that were found, and how far latents went:", _faces(table.rows)]
    parts += ["The paper's (sums, its own scale):", _paper()]
    parts += ["\n".join(f"- {said(found)}" for found in table.orderings), DIFFERENCES]
    parts += ["Single codes, sums:", _names(table.rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def said(found: Ordering) -> str:
    """An ordering in one sentence."""
    told = "true" if found.holds else "false"
    sure = "" if found.certain else ", within the interval"
    gaps = "; ".join(
        f"{space} {'+' if gap.value >= 0 else ''}{shown(gap)}"
        for space, gap in found.differences.items()
    )
    return f"{found.best} is best on {found.loss}: {told}{sure} (the others' minus its: {gaps})"


def shown(found: Estimate) -> str:
    """An estimate with its interval, three digits."""
    if not math.isfinite(found.value):
        return "-"
    value = f"{found.value:.3g}"
    if not math.isfinite(found.low):
        return value
    return f"{value} ({found.low:.3g} .. {found.high:.3g})"


def lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _losses(rows: Sequence[Row], part: Any, names: Sequence[str] = COLUMNS) -> str:
    cells = [[row.space, *(shown(part(row)[name]) for name in names)] for row in rows]
    return lines(["space", *names], cells)


def _faces(rows: Sequence[Row]) -> str:
    header = ["space", "latents", "no face", "edits", "no face once edited", "median walk (radii)"]
    cells = [
        [
            row.space,
            f"{row.latents:,}",
            f"{row.latents - row.faces:,}",
            f"{row.edits:,}",
            f"{row.edits - row.edited_faces:,}",
            f"{row.walked:.3g}",
        ]
        for row in rows
    ]
    return lines(header, cells)


def _names(rows: Sequence[Row]) -> str:
    header = ["space", "code", *COLUMNS[1:]]
    cells = [
        [row.space, name, *(shown(Estimate(found[loss])) for loss in COLUMNS[1:])]
        for row in rows
        for name, found in row.names.items()
    ]
    return lines(header, cells)


def _paper() -> str:
    cells = [[str(row["space"]), *(f"{row[name]:g}" for name in LOSSES)] for row in paper_rows()]
    return lines(["space", *LOSSES], cells)


def _facts(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact not in (None, ""))


def _row(row: Row) -> dict[str, Any]:
    told = {
        "space": row.space,
        "sums": {name: asdict(found) for name, found in row.sums.items()},
        "means": {name: asdict(found) for name, found in row.means.items()},
        "kinds": {
            kind: {name: asdict(one) for name, one in found.items()}
            for kind, found in row.kinds.items()
        },
        "codes": row.names,
        "terms": row.terms,
    }
    counts = ("latents", "faces", "edits", "edited_faces", "walked")
    return told | {name: getattr(row, name) for name in counts}


def _three(found: Estimate) -> tuple[float, float, float]:
    return found.value, found.low, found.high


def _cell(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Re-scoring's tables as JSON, CSV and Markdown, with the paper's figures beside ours."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mining.evaluation.agreement import UNKNOWN, Estimate
from mining.evaluation.control_table_text import lines, shown
from mining.evaluation.edit_orderings import MEAN, Ordering
from mining.evaluation.edit_scores import MethodScores, ScoredRow, Scores
from mining.evaluation.paper_tables import (
    COUNTERPARTS,
    DIFFERENCES,
    IDENTITY,
    RESCORING,
    SOURCE,
)

HEADER = (
    *("edit", "direction_id", "direction", "method", "attribute", "steps", "sigmas", "scored"),
    *("unit", "change", "change_low", "change_high", "spreads", "spreads_low", "spreads_high"),
)
EXPLAINED = (
    "Rows are edits, columns what they change, in population spreads; every image is edited once. "
    "A direction is right where its own attribute moves most (diagonality: the share for which "
    "that is so; other readings of the same quantity are no rivals). Leak: root mean square of all "
    "other attributes' changes over the own one's; the median over a method's directions. "
    "Identity: 1 - cosine of the face descriptors before and after, lower is better. Brackets: "
    "95 % bootstrap intervals over images."
)


@dataclass(frozen=True)
class Rescoring:
    """Everything that `lode rescore` finds."""

    facts: Mapping[str, Any]  # generator, dataset, edits, extractors ...
    kinds: Mapping[str, Scores]  # kind of edit, "step" or "effect" -> what came of it
    titles: Mapping[str, str]  # kind -> what every edit was, in words
    skipped: Mapping[str, str]  # direction -> why it was not tried


def as_json(found: Rescoring) -> dict[str, Any]:
    """Plain JSON; None for what is not a number."""
    paper = {
        "source": SOURCE,
        "identity": {method: dict(cells) for method, cells in IDENTITY.items()},
        "rescoring": [
            {"method": m, "edited": one, "scored": other, "change": value}
            for (m, one, other), value in RESCORING.items()
        ],
        "counterparts": dict(COUNTERPARTS),
        "differences": DIFFERENCES,
    }
    told = {
        "facts": dict(found.facts),
        "edits": {
            kind: {"title": found.titles[kind], **_scores(scores)}
            for kind, scores in found.kinds.items()
        },
        "skipped": dict(found.skipped),
        "paper": paper,
    }
    return _plain(told)


def as_csv(found: Rescoring) -> str:
    """One line a direction, kind of edit and scored attribute; then the paper's figures."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for kind, scores in found.kinds.items():
        for row in scores.rows:
            about = (kind, row.direction_id, row.name, row.method, row.attribute)
            steps = (f"{row.step:.6g}", f"{row.step / row.sigma:.6g}")
            for name, unit, *cells in _measured(scores, row):
                ends = [_cell(v) for e in cells for v in (e.value, e.low, e.high)]
                writer.writerow((*about, *steps, name, unit, *ends))
    for method, attributes in IDENTITY.items():
        for name, value in attributes.items():
            writer.writerow(_paper_line(method, name, "identity", value))
    for (method, one, other), value in RESCORING.items():
        writer.writerow(_paper_line(method, one, other, value))
    return text.getvalue()


def as_markdown(found: Rescoring) -> str:
    """The tables for people: identity, methods, one matrix a method, and the paper's."""
    directions = max((len(scores.rows) for scores in found.kinds.values()), default=0)
    parts = [f"# Re-scoring of {directions} directions", facts(found.facts), EXPLAINED]
    for kind, scores in found.kinds.items():
        parts += [f"## {found.titles[kind]}", "Identity:", lines(*identity_cells(scores))]
        parts += ["Methods:", lines(*methods_cells(scores))]
        parts += [part for m in scores.methods for part in _matrix(scores, m)]
        parts += ["\n".join(f"- {said(one)}" for one in scores.orderings)]
        parts += ["Directions:", _directions(scores)]
    parts += [f"## The paper's ({SOURCE})", "Change of the identity score, lower is better:"]
    parts += [
        lines(*paper_identity()),
        "\n".join(f"- {told}" for told in paper_cells()),
        DIFFERENCES,
    ]
    if found.skipped:
        told = [f"- {name}: {why}" for name, why in found.skipped.items()]
        parts += ["## Not tried", "\n".join(told)]
    return "\n\n".join(part for part in parts if part) + "\n"


def identity_cells(scores: Scores) -> tuple[list[str], list[list[str]]]:
    """Header and rows, as the paper's Table 1: shared attributes, their mean, then the others."""
    names = list(dict.fromkeys(row.attribute for row in scores.rows if row.attribute))
    rest = [name for name in names if name not in scores.shared]
    header = ["method", *scores.shared, f"mean of {len(scores.shared)}", *rest]
    rows = []
    for one in scores.methods:
        cells = [shown(one.identity.get(name, UNKNOWN)) for name in scores.shared]
        others = [shown(one.identity.get(name, UNKNOWN)) for name in rest]
        rows.append([one.method, *cells, shown(one.shared_identity), *others])
    return header, rows


def methods_cells(scores: Scores) -> tuple[list[str], list[list[str]]]:
    """Header and rows: one line a method, its diagonality and its leak."""
    header = ["method", "directions", "own moves most", "leak", "identity", "in the paper"]
    rows = [
        [
            one.method,
            str(one.directions),
            f"{shown(one.diagonality)} of {one.judged}",
            shown(one.leak),
            shown(one.shared_identity),
            COUNTERPARTS.get(one.method, "-"),
        ]
        for one in scores.methods
    ]
    return header, rows


def matrix_cells(
    scores: Scores, method: str, intervals: bool = True
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of one method's matrix: its own attributes scored, in spreads."""
    columns = list(dict.fromkeys(row.attribute for row in scores.rows if row.attribute))
    places = [scores.attributes.index(name) for name in columns]
    mine = [row for row in scores.rows if row.method == method and row.ranked]
    mine.sort(key=lambda row: columns.index(row.attribute) if row.attribute else len(columns))
    told = shown if intervals else _short
    rows = [[row.attribute or row.name, *(told(row.relative[k]) for k in places)] for row in mine]
    return ["edited", *columns], rows


def said(found: Ordering) -> str:
    """An ordering in one sentence."""
    what = "the mean" if found.attribute == MEAN else found.attribute
    ours = "true" if found.holds else "false"
    figures = " and ".join(f"{value:.4g}" for value in found.values)
    share = f", in {found.share:.0%} of resamples" if found.share == found.share else ""
    return (
        f"identity, {what}: the paper has {COUNTERPARTS[found.lower]} ({found.paper[0]:.4g}) below "
        f"{COUNTERPARTS[found.higher]} ({found.paper[1]:.4g}); {found.lower} below {found.higher} "
        f"here over {', '.join(found.ours)}: {ours}{share} ({figures})"
    )


def paper_identity() -> tuple[list[str], list[list[str]]]:
    """Header and rows of the paper's Table 1, with the mean."""
    names = list(next(iter(IDENTITY.values())))
    rows = [
        [method, *(f"{v:.4f}" for v in cells.values()), f"{sum(cells.values()) / len(cells):.4f}"]
        for method, cells in IDENTITY.items()
    ]
    return ["method", *names, f"mean of {len(names)}"], rows


def paper_cells() -> list[str]:
    """What the paper's text tells of its Fig. 6."""
    return [
        f"Fig. 6, {method}, edited {one}: score of {other} {value:+g}"
        for (method, one, other), value in RESCORING.items()
    ]


def facts(told: Mapping[str, Any]) -> str:
    """The facts as a list."""
    return "\n".join(f"- {name}: {fact}" for name, fact in told.items() if fact not in (None, ""))


def _matrix(scores: Scores, method: MethodScores) -> list[str]:
    header, rows = matrix_cells(scores, method.method)
    return [f"{method.method}, change in spreads:", lines(header, rows)] if rows else []


def _directions(scores: Scores) -> str:
    header = ["direction", "steps", "sigmas", "own", "moves most", "leak", "identity", "faces"]
    return lines(header, [_direction(row) for row in scores.rows])


def _direction(row: ScoredRow) -> list[str]:
    steps = [f"{row.step:.3g}", f"{row.step / row.sigma:.3g}"]
    told = [shown(row.own), row.moves_most, shown(row.leak), shown(row.identity)]
    return [row.name, *steps, *told, f"{row.measured:,}"]


def _scores(scores: Scores) -> dict[str, Any]:
    return {
        "attributes": list(scores.attributes),
        "units": list(scores.units),
        "spreads": list(scores.spreads),
        "shared": list(scores.shared),
        "directions": [_row(scores, row) for row in scores.rows],
        "methods": [asdict(one) for one in scores.methods],
        "orderings": [{**asdict(one), "said": said(one)} for one in scores.orderings],
    }


def _row(scores: Scores, row: ScoredRow) -> dict[str, Any]:
    told = asdict(row)
    for part in ("raw", "relative"):
        told[part] = dict(zip(scores.attributes, told[part], strict=True))
    return {**told, "sigmas": row.step / row.sigma}


def _measured(scores: Scores, row: ScoredRow) -> Iterator[tuple[Any, ...]]:
    """(name, unit, change, change in spreads) of every attribute, then of identity."""
    named = zip(scores.attributes, scores.units, row.raw, row.relative, strict=True)
    yield from named
    yield "identity", "1", row.identity, UNKNOWN


def _paper_line(method: str, edited: str, scored: str, value: float) -> Sequence[str]:
    about = ("paper", "", f"{edited} · {method}", method, edited, "", "", scored, "1")
    return (*about, f"{value:g}", *[""] * 5)


def _cell(value: float) -> str:
    return f"{value:.6g}" if value == value else ""


def _short(found: Estimate) -> str:
    return f"{found.value:.2f}" if found.value == found.value else "-"


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

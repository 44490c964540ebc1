"""Tables of transfers as JSON, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mining.evaluation.agreement import Estimate
from mining.evaluation.control_table_text import lines, shown
from mining.evaluation.transfer_scores import ANGLES, BARS, RISING, Row
from mining.evaluation.transfer_tables import (
    Ordering,
    PaperTable,
    best_of,
    gap_between,
    joint_of,
    rows_of,
)

VIEWS = {"measured": "as extractors measure the images", "true": "by the generator's truth"}
KINDS = {
    "cross": "Source and target are two identities drawn apart.",
    "self": "The target is the source's own identity with another pose and expression.",
}
NAMES = {
    "pose": "Pose (degrees)",
    "expression": "r of expression",
    "exp": "Exp",
    "exp_ranged": "Exp in ranges",
    "moved": "others moved",
    "nme": "NME",
    "nme_placed": "NME placed",
    "csim": "CSIM to source",
    "csim_target": "CSIM to target",
    "same": "same identity",
    "joint": "joint score",
}
SHOWN = ("pose", *ANGLES, "expression", "exp", "exp_ranged", "moved", "nme", "nme_placed")
BY_FACE = ("csim", "csim_target", "same")
FIGURES_SAY = (
    "Pose, yaw, pitch, roll: mean distance to the target in degrees. r of expression: mean over "
    "the parameters of their correlation with the target's; Exp: mean distance to the target in "
    "the parameters' own units. Others moved: mean distance to the source in standard deviations "
    "of the population. NME: mean distance of the 68 landmarks to those of the ideal image, or of "
    "the target, over the square root of their box's area, times 1,000; placed: once they are "
    "shifted and scaled onto those, as pose says nothing of the place and size of a face. Same "
    "identity: share of faces nearer to the source's than the descriptor's threshold. Joint "
    "score: mean of pose / 3, (1 - r) / .15, others moved / .15 and (1 - same identity) / .1; at "
    "1 or less the bars are met on average. What extractors measure holds their own noise: the "
    "row `ideal` shows how much."
)
PAPER_SAYS = (
    "The paper's figures are of StyleGAN2 at 256 px (VoxCeleb1), DECA's parameters and ArcFace's "
    "cosine; what compares is the order of the rows, not the digits."
)


@dataclass(frozen=True)
class Report:
    """Rows of one or two kinds of pairs, and all that has to be said of how they came about."""

    title: str
    rows: tuple[Row, ...]
    facts: Mapping[str, Any]
    orderings: tuple[Ordering, ...] = ()
    tables: tuple[PaperTable, ...] = ()  # of the paper, that the rows stand beside
    says: tuple[str, ...] = ()  # sentences


def as_json(report: Report) -> dict[str, Any]:
    """Plain JSON; None for what is not a number."""
    return _plain(
        {
            "title": report.title,
            "facts": dict(report.facts),
            "rows": [_row(row) for row in report.rows],
            "orderings": [{**asdict(each), "said": said(each)} for each in report.orderings],
            "paper": [asdict(table) for table in report.tables],
            "says": list(report.says),
            "bars": dict(BARS),
        }
    )


def as_csv(report: Report) -> str:
    """One line a row, view and figure; then the paper's."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("method", "parameters_read_from", "pairs", "view", "figure", "value", "low", "high")
    )
    for row in report.rows:
        for view, figure, one in _cells(row):
            ends = [f"{n:.6g}" if math.isfinite(n) else "" for n in (one.value, one.low, one.high)]
            writer.writerow((row.label, row.reading, row.kind, view, figure, *ends))
    for table in report.tables:
        for name, figures in table.rows.items():
            for figure, value in figures.items():
                who = f"paper, Table {table.number}"
                writer.writerow((name, "", table.kind, who, figure, value, "", ""))
    return text.getvalue()


def as_markdown(report: Report) -> str:
    """The tables for people."""
    parts = [f"# {report.title}", _facts(report.facts), *report.says]
    for table in report.tables:
        parts += [f"## Table {table.number}: {table.title}", beside(table, report.rows)]
    if report.tables:
        parts += [PAPER_SAYS, "\n".join(f"- {said(each)}" for each in report.orderings)]
    for kind in dict.fromkeys(row.kind for row in report.rows):
        rows = [row for row in report.rows if row.kind == kind]
        parts += [f"## {_heading(kind, rows)}", KINDS[kind]]
        for view in dict.fromkeys(view for row in rows for view in row.views):
            parts += [f"Figures {VIEWS[view]}:", _view(rows, view)]
            parts += ["Single parameters, r, and groups of others:", _single(rows, view)]
        parts += ["Identity, by descriptors:", _faces(rows)]
    return "\n\n".join(part for part in [*parts, FIGURES_SAY] if part) + "\n"


def beside(table: PaperTable, rows: Sequence[Row]) -> str:
    """The paper's rows with ours to their right."""
    ours = rows_of(table, rows)
    views = list(dict.fromkeys(view for row in ours.values() for view in row.views))
    heads = [
        (figure, view)
        for figure in table.figures
        for view in (["measured"] if figure in BY_FACE else views)
    ]
    names = [NAMES[figure].removesuffix(" (degrees)") for figure in table.figures]
    header = ["training", *(f"{name}, paper" for name in names)]
    header += [f"{NAMES[f].removesuffix(' (degrees)')}, {view}" for f, view in heads]
    cells = []
    for name, figures in table.rows.items():
        row = ours.get(name)
        own = [shown(figure_of(row, f, view)) if row else "-" for f, view in heads]
        cells.append([name, *(f"{value:g}" for value in figures.values()), *own])
    return lines(header, cells)


def figure_of(row: Row, figure: str, view: str) -> Estimate:
    """One figure of a row, of a view where it is of one."""
    return row.identity.get(figure) or row.views.get(view, {}).get(figure, Estimate(math.nan))


def said(found: Ordering) -> str:
    """An ordering in one sentence."""
    told = "holds" if found.holds else "does not hold"
    sure = "" if found.certain else ", within the interval"
    high = ">" if found.figure in RISING else "<"
    return (
        f"Table {found.table}, {NAMES[found.figure]} ({found.view}): {found.better} {high} "
        f"{found.worse} ({found.paper[0]:g} {high} {found.paper[1]:g} there) {told} here{sure}: "
        f"{found.ours[0]:.3g} and {found.ours[1]:.3g}, ahead by {shown(found.gap)}"
    )


def verdict(rows: Sequence[Row], learned: Sequence[str], rivals: Sequence[str]) -> str:
    """Which of them has the best joint score, and whether the intervals say so too."""
    mine = best_of([row for row in rows if row.label in learned])
    other = best_of([row for row in rows if row.label in rivals])
    if mine is None or other is None:
        return ""
    gap = gap_between(other, mine)
    sure = gap.low > 0 or gap.high < 0
    word = ("ahead of" if gap.value > 0 else "behind") if sure else "level with"
    return (
        f"By joint score ({mine.best_view}), {_named(mine)} at {shown(joint_of(mine))} is {word} "
        f"the best closed form, {_named(other)} at {shown(joint_of(other))}; the difference, their "
        f"score minus its, is {shown(gap)}."
    )


def missed(row: Row) -> str:
    """The bars that a row does not meet, in words; "all bars are met" where it meets all."""
    kept = row.meets[row.best_view]
    lacking = [NAMES[name] for name, met in kept.items() if not met]
    return f"missed: {', '.join(lacking)}" if lacking else "all bars met"


def _named(row: Row) -> str:
    return f"{row.label} read from {row.reading}" if row.reading else row.label


def _heading(kind: str, rows: Sequence[Row]) -> str:
    return f"{kind.capitalize()}-reenactment, {rows[0].pairs:,} pairs"


def _view(rows: Sequence[Row], view: str) -> str:
    some = [row for row in rows if view in row.views]
    figures = [name for name in SHOWN if any(name in row.views[view] for row in some)]
    cells = [
        [
            _named(row),
            *(shown(figure_of(row, name, view)) for name in figures),
            shown(row.joint[view]),
        ]
        for row in some
    ]
    return lines(["method", *(NAMES.get(name, name) for name in figures), NAMES["joint"]], cells)


def _single(rows: Sequence[Row], view: str) -> str:
    some = [row for row in rows if view in row.views]
    names = [name for name in some[0].views[view] if name.startswith(("r ", "moved "))]
    plain = [name.removeprefix("r ") for name in names]
    cells = [[_named(row), *(shown_plain(row.views[view], name) for name in names)] for row in some]
    return lines(["method", *plain], cells) if names else ""


def shown_plain(figures: Mapping[str, Estimate], name: str) -> str:
    """A figure without its interval."""
    return shown(Estimate(figures[name].value)) if name in figures else "-"


def _faces(rows: Sequence[Row]) -> str:
    header = ["method", *(NAMES[name] for name in BY_FACE), "pairs", "no face once reenacted"]
    cells = [
        [
            _named(row),
            *(shown(row.identity[name]) for name in BY_FACE),
            f"{row.pairs:,}",
            f"{row.pairs - row.faces:,}",
        ]
        for row in rows
    ]
    return lines(header, cells)


def _facts(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact not in (None, ""))


def _row(row: Row) -> dict[str, Any]:
    return {
        "method": row.label,
        "parameters_read_from": row.reading,
        "pairs": row.kind,
        "count": row.pairs,
        "faces": row.faces,
        **{
            view: {name: asdict(one) for name, one in {**found, "joint": row.joint[view]}.items()}
            for view, found in row.views.items()
        },
        "identity": {name: asdict(one) for name, one in row.identity.items()},
        "meets": {view: dict(found) for view, found in row.meets.items()},
    }


def _cells(row: Row) -> list[tuple[str, str, Estimate]]:
    found = [(view, name, one) for view, all_ in row.views.items() for name, one in all_.items()]
    found += [(view, "joint", one) for view, one in row.joint.items()]
    return found + [("measured", name, one) for name, one in row.identity.items()]


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Render transfers of pose and expression as one self-contained HTML page, as the report looks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.report import numbers
from jobs.report.page import environment
from jobs.report.tiles import Tile
from jobs.versions import code_version
from mining.evaluation.agreement import Estimate
from mining.evaluation.transfer_scores import BARS, RISING, Row
from mining.evaluation.transfer_tables import Ordering, PaperTable, best_of, joint_of, rows_of
from mining.evaluation.transfer_text import (
    FIGURES_SAY,
    KINDS,
    NAMES,
    PAPER_SAYS,
    VIEWS,
    Report,
    figure_of,
    missed,
    said,
)

WIDTH, LEFT, RIGHT, LINE, TOP = 660, 300, 90, 24, 10
PLOTTED = ("joint", "pose", "expression", "moved", "same", "exp", "nme_placed")
MARK = "LatentLode transfers"  # what the page says that it is


@dataclass(frozen=True)
class Dot:
    """One method in a plot."""

    name: str
    y: float
    x: float
    low: float  # ends of the interval; x where there is none
    high: float
    text: str
    title: str
    met: bool | None  # whether it is on the good side of the bar; None without one


@dataclass(frozen=True)
class Plot:
    """One figure of all methods."""

    title: str
    dots: tuple[Dot, ...]
    width: int
    height: int
    left: int
    right: int
    bar: float | None  # where the bar is
    bar_text: str


@dataclass(frozen=True)
class Part:
    """One kind of pairs in one view."""

    key: str
    heading: str
    lead: str
    plots: tuple[Plot, ...]
    names: tuple[str, ...]  # columns of the table of single parameters
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Beside:
    """A table of the paper with ours."""

    number: int
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    orderings: tuple[tuple[bool, str], ...]


def render_transfers(report: Report) -> str:
    """The page as HTML: every text is escaped, nothing is fetched, the same in is the same out."""
    return (
        environment()
        .get_template("transfer.html.j2")
        .render(
            report=report,
            mark=MARK,
            code_version=code_version(),
            tiles=_tiles(report),
            tables=[_beside(table, report) for table in report.tables],
            parts=_parts(report.rows),
            facts=[(k, v) for k, v in report.facts.items() if v not in (None, "")],
            figures_say=FIGURES_SAY,
            paper_says=PAPER_SAYS if report.tables else "",
        )
    )


def named(row: Row) -> str:
    """A method, and what told it the parameters."""
    return f"{row.label}, by {row.reading}" if row.reading else row.label


def _tiles(report: Report) -> list[Tile]:
    tried = [row for row in report.rows if row.reading]
    found = [
        Tile(numbers.whole(len({row.label for row in tried})), "matrices"),
        Tile(numbers.whole(max(row.pairs for row in report.rows)), "pairs"),
    ]
    best = best_of([row for row in tried if row.kind == tried[0].kind]) if tried else None
    if best is not None:
        found.append(Tile(numbers.fixed(joint_of(best).value, 2), "best joint score", named(best)))
        view = best.views[best.best_view]
        found.append(Tile(numbers.reading(view["pose"].value, "degrees"), "its error of pose"))
        found.append(Tile(numbers.fixed(view["expression"].value, 2), "its r of expression"))
        found.append(Tile(numbers.fixed(view["moved"].value, 2), "spreads that others moved"))
        met = best.meets[best.best_view].values()
        found.append(Tile(f"{sum(met)} of {len(met)}", "of its bars are met", missed(best)))
    if report.orderings:
        held = sum(each.holds for each in report.orderings)
        note = "orderings of the paper hold"
        found.append(Tile(f"{held} of {len(report.orderings)}", note))
    return found


def _parts(rows: Sequence[Row]) -> list[Part]:
    found = []
    for kind in dict.fromkeys(row.kind for row in rows):
        mine = [row for row in rows if row.kind == kind]
        for view in reversed(list(dict.fromkeys(v for row in mine for v in row.views))):
            some = [row for row in mine if view in row.views]
            heading = f"{kind.capitalize()}-reenactment, {VIEWS[view]}"
            plots = [_plot(figure, some, view) for figure in PLOTTED]
            names, cells = _single(some, view)
            found.append(
                Part(
                    f"{kind}-{view}",
                    heading,
                    KINDS[kind],
                    tuple(plot for plot in plots if plot),
                    names,
                    cells,
                )
            )
    return found


def _single(
    rows: Sequence[Row], view: str
) -> tuple[tuple[str, ...], tuple[tuple[str, tuple[str, ...]], ...]]:
    """Angles, correlations and groups of what is to stay, without intervals."""
    every = rows[0].views[view]
    names = [n for n in every if n.startswith(("r ", "moved ")) or n in ("yaw", "pitch", "roll")]
    cells = []
    for row in rows:
        values = [row.views[view][name].value for name in names]
        cells.append((named(row), tuple(numbers.fixed(value, 2) for value in values)))
    return tuple(names), tuple(cells)


def _plot(figure: str, rows: Sequence[Row], view: str) -> Plot | None:
    values = [
        (row, row.joint[view] if figure == "joint" else figure_of(row, figure, view))
        for row in rows
    ]
    values = [(row, one) for row, one in values if math.isfinite(one.value)]
    if not values:
        return None
    bar = 1.0 if figure == "joint" else BARS.get(figure)
    rising = figure in RISING
    most = max([one.value for _, one in values] + [_end(one.high, one) for _, one in values])
    most = max(most, bar or 0.0, 1.0 if rising else 1e-9)
    least = min(0.0, *(_end(one.low, one) for _, one in values))
    end = WIDTH - RIGHT

    def place(value: float) -> float:
        return round(LEFT + (value - least) / (most - least) * (end - LEFT), 1)

    dots = [
        Dot(
            named(row),
            TOP + LINE * (k + 0.5),
            place(one.value),
            place(_end(one.low, one)),
            place(_end(one.high, one)),
            numbers.number(one.value),
            _title(row, one),
            _met(row, figure, one.value, bar, rising, view),
        )
        for k, (row, one) in enumerate(values)
    ]
    height = TOP + LINE * len(dots) + 8
    text = "" if bar is None else f"bar {'≥' if rising else '≤'} {bar:g}"
    at = None if bar is None else place(bar)
    return Plot(NAMES[figure], tuple(dots), WIDTH, height, LEFT, end, at, text)


def _met(
    row: Row, figure: str, value: float, bar: float | None, rising: bool, view: str
) -> bool | None:
    if bar is None:
        return None
    told: Mapping[str, bool] = row.meets.get(view, {})
    return told.get(figure, value >= bar if rising else value <= bar)


def _end(value: float, one: Estimate) -> float:
    return value if math.isfinite(value) else one.value


def _title(row: Row, one: Estimate) -> str:
    if not math.isfinite(one.low):
        return named(row)
    return f"{named(row)}: 95 % {numbers.number(one.low)} to {numbers.number(one.high)}"


def _beside(table: PaperTable, report: Report) -> Beside:
    ours = rows_of(table, [row for row in report.rows if row.reading])
    views = list(dict.fromkeys(view for row in ours.values() for view in row.views))
    heads = [
        (figure, view)
        for figure in table.figures
        for view in (views if figure in ("pose", "exp") else ["measured"])
    ]
    header = [f"{NAMES[name]}, paper" for name in table.figures]
    header += [f"{NAMES[figure]}, ours {view}" for figure, view in heads]
    rows = []
    for name, figures in table.rows.items():
        cells = [f"{value:g}" for value in figures.values()]
        cells += [
            numbers.number(figure_of(ours[name], *head).value) if name in ours else numbers.DASH
            for head in heads
        ]
        rows.append((name, tuple(cells)))
    told = tuple(_ordering(each) for each in report.orderings if each.table == table.number)
    return Beside(table.number, table.title, tuple(header), tuple(rows), told)


def _ordering(found: Ordering) -> tuple[bool, str]:
    return found.holds, said(found)

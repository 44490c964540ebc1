"""Render the truth leaderboard as one self-contained HTML page, in the look of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from jobs.report.line_charts import LineChart, Series, line_chart
from jobs.report.numbers import MINUS, duration
from jobs.report.page import environment
from jobs.versions import code_version
from mining.evaluation.leaderboard import LARGER_IS_BETTER, Board
from mining.evaluation.leaderboard_text import HEADINGS, shown

COLUMNS = ("cosine", "effect", "leak", "identity_per_spread", "seconds")  # of the first table

SAY = {
    "cosine": "Cosine between the direction that was found and the true one; 1 is exact.",
    "leak": "How far the other attributes move along, in population spreads, for one of its own.",
    "identity_per_spread": "What one population spread of change costs in face descriptor.",
    "effect": "Population spreads of its own attribute for a step of one sigma of the latents.",
}


@dataclass(frozen=True)
class Cell:
    """One number of a table."""

    text: str
    strength: float  # 0..1, how strongly the cell is coloured
    best: bool
    title: str


@dataclass(frozen=True)
class Figure:
    """One chart over the numbers of samples."""

    title: str
    say: str
    chart: LineChart


def render_leaderboard(board: Board, reports: Mapping[int, str]) -> str:
    """The page as HTML: every text is escaped, nothing is fetched, the same in is the same out.

    Args:
        reports: number of samples -> where the report of its run lies, as a link.
    """
    return (
        environment()
        .get_template("leaderboard.html.j2")
        .render(
            board=board,
            code_version=code_version(),
            reports=[(count, reports[count]) for count in board.samples if count in reports],
            headings=[(HEADINGS[name], SAY.get(name, "")) for name in COLUMNS],
            sizes=_sizes(board),
            means=mean_charts(board),
            singles=attribute_charts(board),
            tables=[(count, _cells(board, count)) for count in reversed(board.samples)],
            others=[
                (count, HEADINGS[name], SAY.get(name, ""), _cells(board, count, name))
                for count in reversed(board.samples)
                for name in COLUMNS[1:]
            ],
            styles=list(enumerate(board.methods)),
            shared=[(name, duration(seconds)) for name, seconds in board.shared.items()],
        )
    )


def mean_charts(board: Board) -> list[Figure]:
    """Means over attributes against the number of samples, one chart a figure."""
    charts = []
    for name in ("cosine", "leak", "identity_per_spread"):
        series = [
            _series(board, style, method, [board.mean(method, n, name) for n in board.samples])
            for style, method in enumerate(board.methods)
        ]
        top = 1.0 if name == "cosine" else None
        charts.append(_figure(HEADINGS[name], SAY[name], series, top))
    return [chart for chart in charts if chart is not None]


def attribute_charts(board: Board) -> list[Figure]:
    """The cosine of every method against the number of samples, one chart an attribute."""
    tables = [board.table(count, "cosine") for count in board.samples]
    charts = []
    for column, attribute in enumerate(board.attributes):
        series = [
            _series(board, style, method, [float(table[style, column]) for table in tables])
            for style, method in enumerate(board.methods)
        ]
        charts.append(_figure(attribute, "", series, 1.0))
    return [chart for chart in charts if chart is not None]


def _series(board: Board, style: int, method: str, values: list[float]) -> Series:
    known = [value if math.isfinite(value) else math.nan for value in values]
    return Series(method, style, [float(count) for count in board.samples], known)


def _figure(title: str, say: str, series: list[Series], top: float | None) -> Figure | None:
    chart = line_chart(series, logarithmic=True, top=top)
    return None if chart is None else Figure(title, say, chart)


def _sizes(board: Board) -> list[tuple[str, list[Cell]]]:
    """A row per method: each of COLUMNS at each number of samples."""
    columns = [
        _column([board.mean(method, count, name) for method in board.methods], name, f"{count:,}")
        for name in COLUMNS
        for count in board.samples
    ]
    return [(method, [column[k] for column in columns]) for k, method in enumerate(board.methods)]


def _cells(board: Board, samples: int, figure: str = "cosine") -> list[tuple[str, list[Cell]]]:
    """A row per method: one figure of each attribute."""
    table = board.table(samples, figure)
    columns = [_column([float(v) for v in column], figure, "") for column in table.T]
    chosen = {
        (score.method, score.attribute): score.chosen
        for score in board.scores
        if score.samples == samples and score.chosen
    }
    rows = []
    for k, method in enumerate(board.methods):
        cells = []
        for attribute, column in zip(board.attributes, columns, strict=True):
            name, cell = chosen.get((method, attribute)), column[k]
            cells.append(Cell(cell.text, cell.strength, cell.best, name or cell.title))
        rows.append((method, cells))
    return rows


def _column(values: list[float], figure: str, title: str) -> list[Cell]:
    known = [value for value in values if math.isfinite(value)]
    best = None
    if known and figure != "seconds":
        best = max(known) if figure in LARGER_IS_BETTER else min(known)
    return [
        Cell(
            shown(value, figure).replace("-", MINUS),
            _strength(value, figure, known),
            value == best,
            title,
        )
        for value in values
    ]


def _strength(value: float, figure: str, known: list[float]) -> float:
    """How good a number is, in [0, 1]; seconds are neither good nor bad."""
    if figure == "seconds" or not math.isfinite(value):
        return 0.0
    if figure == "cosine":
        return round(max(value, 0.0) ** 2, 3)
    if figure in LARGER_IS_BETTER:
        return round(max(value, 0.0) / max(known), 3) if max(known) > 0 else 0.0
    return round(min(known) / value, 3) if value > 0 else 0.0

"""Render a report as one self-contained HTML page, to be read offline by anyone."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.report import figures, multiples, numbers, responses
from jobs.report import measured_charts as charts
from jobs.report.data import ReportData, Strip
from jobs.report.identity_tables import identity_tables
from jobs.report.line_charts import LineChart
from jobs.report.response_curves import ResponseCurve
from jobs.report.shape_page import shape_view
from jobs.report.shots import Shot, shots
from jobs.report.tiles import tiles
from mining.evaluation import paper_tables
from mining.evaluation.matrix import RescoringMatrix, rescoring_matrix, truth_leaderboard
from mining.methods.registry import DRAWN
from schemas.directions import DirectionCard, Response

if TYPE_CHECKING:
    from jinja2 import Environment

    from jobs.agreement import Advice

BASIS = {  # of a Trust, in words
    "truth": "the truth",
    "camera": "the camera",
    "agreement": "agreement alone",
    "nothing": "nothing to go by",
}


@dataclass(frozen=True)
class Entry:
    """One direction as the page shows it."""

    index: int  # of its card, for anchors: names never become ids
    name: str
    card: DirectionCard
    own: Response | None
    scale: float  # sigma, or 1 where it is unknown
    per: str  # what `scale` means
    strip: Strip | None
    shots: tuple[tuple[Shot, ...], ...]
    bars: tuple[responses.Bar, ...]
    curve: LineChart | None
    calibrated: bool  # whether the curve has the calibration's beside it
    stability: tuple[float, float, float]  # mean, smallest, largest; NaN where not measured
    identity: tuple[float, float, float] | None  # change of the cosine by an edit, low, high


def render_page(data: ReportData, advice: Sequence[Advice] = ()) -> str:
    """The page as HTML; every text in it is escaped, nothing in it is fetched.

    Style, script, pictures and figures are inside, and a content security policy forbids the
    rest. The same data gives the same page.

    Args:
        advice: which backend to trust for what; () leaves that section out.
    """
    template = environment().get_template("page.html.j2")
    return template.render(**view(data), advice=advice, basis=BASIS)


def environment() -> Environment:
    """Reads the templates of this folder; all text is escaped, unknown names are errors."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (numbers.number, numbers.fixed, numbers.whole, numbers.percent):
        made.filters[function.__name__] = function
    for function in (numbers.unit, numbers.reading, numbers.change, numbers.interval):
        made.filters[function.__name__] = function
    for function in (numbers.sigmas, numbers.duration):
        made.filters[function.__name__] = function
    made.filters["base64"] = lambda raw: base64.b64encode(raw).decode()
    return made


def view(data: ReportData) -> dict[str, Any]:
    """Everything that the template reads."""
    matrix = rescoring_matrix(data.cards)
    judged = rescoring_matrix([card for card in data.cards if card.method not in DRAWN])
    board = truth_leaderboard(data.cards)
    entries = _entries(data, matrix.names)
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.card.attribute, []).append(entry)
    return {
        "data": data,
        "created": data.created_at.strftime("%d %B %Y, %H:%M UTC").lstrip("0"),
        "tiles": tiles(data, judged),
        "judged": judged,
        "groups": [(name, sorted(group, key=_rank)) for name, group in groups.items()],
        "entries": entries,
        "matrix": matrix,
        "board": board,
        "best": _best(board.cosines) if board else {},
        "curves": [(curve, figures.chart(curve)) for curve in data.curves],
        "histogram": figures.histogram,
        "rejects": sorted(data.dataset.rejects.items(), key=lambda item: -item[1]),
        "seconds": sum(stage.seconds for stage in data.stages),
        "slowest": max((stage.seconds for stage in data.stages), default=0.0),
        "settings": _pretty(data.settings),
        "shape_view": shape_view(data),
        **_measured(data, matrix),
    }


def _measured(data: ReportData, matrix: RescoringMatrix) -> dict[str, Any]:
    """What the sections on measurements read."""
    heat = responses.heat_map(data.cards, matrix)
    found = multiples.multiples(data.cards, matrix, heat)
    return {
        "heat": heat,
        "multiples": found,
        "columns": heat.columns[: multiples.MOST],
        "smiles": multiples.smiles(data.cards),
        "paper": paper_tables,
        "responses": charts.response_charts(data.cards, matrix.names, data.response_curves),
        "stability": charts.stability_rows(data.cards, matrix.names, data.stability),
        "sizes": charts.stability_charts(data.cards, matrix.names, data.stability),
        "identity": identity_tables(data.cards, data.identity),
    }


def _entries(data: ReportData, names: Sequence[str]) -> list[Entry]:
    strips = {strip.direction_id: strip for strip in data.strips if strip.rows}
    curves = {curve.direction_id: curve for curve in data.response_curves}
    both = enumerate(zip(data.cards, names, strict=True))
    return [_entry(data, k, card, name, strips, curves) for k, (card, name) in both]


def _entry(
    data: ReportData,
    index: int,
    card: DirectionCard,
    name: str,
    strips: Mapping[str, Strip],
    curves: Mapping[str, ResponseCurve],
) -> Entry:
    strip, identity = strips.get(card.direction_id), data.identity.get(card.direction_id)
    return Entry(
        index,
        name,
        card,
        card.own,
        responses.reach(card),
        "per σ" if math.isfinite(card.sigma) else "per unit step",
        strip,
        shots(strip) if strip else (),
        responses.bars(card),
        *charts.own_chart(card, curves),
        charts.stability_of(card, data.stability.get(card.direction_id)),
        identity if identity is not None and math.isfinite(identity[0]) else None,
    )


def _rank(entry: Entry) -> tuple[float, float]:
    """Best first: by cosine to the truth where it is known, then by least leak."""
    cosine = entry.card.truth_cosine
    leak = entry.card.leak
    return (
        -cosine if cosine is not None and math.isfinite(cosine) else math.inf,
        leak if math.isfinite(leak) else math.inf,
    )


def _best(cosines: NDArray[np.float64]) -> dict[int, int]:
    """Column -> row of the largest cosine."""
    return {
        column: int(np.nanargmax(values))
        for column, values in enumerate(np.transpose(cosines))
        if np.isfinite(values).any()
    }


def _pretty(settings: str) -> str:
    """JSON with indents; what is no JSON stays as it is."""
    try:
        return json.dumps(json.loads(settings), indent=2, ensure_ascii=False)
    except ValueError:
        return settings

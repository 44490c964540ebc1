"""Render a report as one self-contained HTML page, to be read offline by anyone."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.report import figures, numbers, responses
from jobs.report.data import ReportData, Strip
from jobs.report.shape_page import shape_view
from mining.evaluation.matrix import direction_names, rescoring_matrix, truth_leaderboard
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
    bars: tuple[responses.Bar, ...]


@dataclass(frozen=True)
class Tile:
    """One key number at the head of the page."""

    value: str
    label: str
    note: str = ""


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
    for function in (numbers.unit, numbers.reading, numbers.interval):
        made.filters[function.__name__] = function
    for function in (numbers.sigmas, numbers.duration):
        made.filters[function.__name__] = function
    made.filters["base64"] = lambda raw: base64.b64encode(raw).decode()
    return made


def view(data: ReportData) -> dict[str, Any]:
    """Everything that the template reads."""
    matrix = rescoring_matrix(data.cards)
    board = truth_leaderboard(data.cards)
    entries = _entries(data)
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.card.attribute, []).append(entry)
    return {
        "data": data,
        "created": data.created_at.strftime("%d %B %Y, %H:%M UTC").lstrip("0"),
        "tiles": _tiles(data, matrix.diagonality, matrix.judged),
        "groups": [(name, sorted(group, key=_rank)) for name, group in groups.items()],
        "entries": entries,
        "matrix": matrix,
        "heat": responses.heat_map(data.cards, matrix),
        "board": board,
        "best": _best(board.cosines) if board else {},
        "curves": [(curve, figures.chart(curve)) for curve in data.curves],
        "histogram": figures.histogram,
        "rejects": sorted(data.dataset.rejects.items(), key=lambda item: -item[1]),
        "seconds": sum(stage.seconds for stage in data.stages),
        "slowest": max((stage.seconds for stage in data.stages), default=0.0),
        "settings": _pretty(data.settings),
        "shape_view": shape_view(data),
    }


def _entries(data: ReportData) -> list[Entry]:
    strips = {strip.direction_id: strip for strip in data.strips if strip.rows}
    return [
        Entry(
            index,
            name,
            card,
            card.own,
            responses.reach(card),
            "per σ" if math.isfinite(card.sigma) else "per unit step",
            strips.get(card.direction_id),
            responses.bars(card),
        )
        for index, (card, name) in enumerate(
            zip(data.cards, direction_names(data.cards), strict=True)
        )
    ]


def _rank(entry: Entry) -> tuple[float, float]:
    """Best first: by cosine to the truth where it is known, then by least leak."""
    cosine = entry.card.truth_cosine
    leak = entry.card.leak
    return (
        -cosine if cosine is not None and math.isfinite(cosine) else math.inf,
        leak if math.isfinite(leak) else math.inf,
    )


def _tiles(data: ReportData, diagonality: float, judged: int) -> list[Tile]:
    """The key numbers; those that nobody measured are left out."""
    facts = data.dataset
    methods = {card.method for card in data.cards}
    attributes = {card.attribute for card in data.cards if not card.aimless}
    tiles = [
        Tile(
            numbers.whole(len(data.cards)),
            "directions",
            f"{len(methods)} methods, {len(attributes)} attributes",
        ),
        Tile(
            numbers.whole(facts.rows),
            "images measured",
            f"{facts.image_size or facts.resolution} px",
        ),
    ]
    if facts.rows:
        share = numbers.percent(1 - facts.usable / facts.rows)
        tiles.append(
            Tile(share, "rejected", f"{numbers.whole(facts.rows - facts.usable)} with a reason")
        )
    if judged:
        note = f"of {judged} directions move their own attribute most"
        tiles.append(Tile(numbers.percent(diagonality, 0), "diagonality", note))
    cosines = _known(card.truth_cosine for card in data.cards)
    if cosines:
        tiles.append(
            Tile(
                numbers.fixed(float(np.median(cosines)), 2),
                "median cosine to the truth",
                f"best {numbers.fixed(max(cosines), 3)}",
            )
        )
    costs = _known(card.identity_cost for card in data.cards)
    if costs:
        tiles.append(
            Tile(
                numbers.fixed(float(np.median(costs)), 2),
                "median identity cost",
                "descriptor distance at one σ",
            )
        )
    if data.stages:
        seconds = sum(stage.seconds for stage in data.stages)
        tiles.append(Tile(numbers.duration(seconds), "run time", f"{len(data.stages)} stages"))
    return tiles


def _known(values: Any) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


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

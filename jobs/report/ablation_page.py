"""Render ablations of micromotions as one self-contained HTML page, in the look of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from jobs.report import numbers
from jobs.report.ablation_charts import Chart, count_chart, not_converged
from jobs.report.page import environment
from jobs.report.tiles import Tile
from jobs.versions import code_version
from mining.evaluation.micromotion_ablation import Ablation, AblationConfig, Point
from mining.methods.anchor_motion import Decomposition, Reading

MARK = "LatentLode ablation of dataset"  # what ablation.html says that it is
KINDS = {"robust_pca": "robust PCA", "pca": "PCA", "none": "no decomposition"}
READINGS = {
    "component": "first component",
    "regression": "regression on degree",
    "last_minus_first": "last minus first",
}


@dataclass(frozen=True)
class Cell:
    """One cell of a table of decompositions and readings."""

    text: str
    strength: float  # 0..1, how strongly it is coloured
    title: str
    best: bool


@dataclass(frozen=True)
class Shown:
    """One attribute's ablations, placed."""

    found: Ablation
    charts: tuple[Chart, ...]
    tables: tuple[tuple[str, tuple[tuple[str, tuple[Cell, ...]], ...]], ...]
    says: str  # where more anchors bring no more


def render_ablation(
    found: Sequence[Ablation], dataset_id: str, generator: str, url: str, config: AblationConfig
) -> str:
    """The page as HTML: every text is escaped, nothing is fetched, the same in is the same out."""
    return (
        environment()
        .get_template("ablation.html.j2")
        .render(
            shown=[_shown(each) for each in found],
            mark=f"{MARK} {dataset_id}",
            dataset_id=dataset_id,
            generator=generator,
            url=url,
            config=config,
            readings=list(READINGS.values()),
            code_version=code_version(),
            tiles=_tiles(found, config),
        )
    )


def saturation(points: Sequence[Point], within: float = 0.02) -> int | None:
    """The least anchors from which on robust PCA stays within this of its most anchors.

    Args:
        points: of one attribute, all clean or all damaged.
    """
    mine = [p for p in points if p.study == "anchors" and p.decomposition == "robust_pca"]
    mine = sorted(mine, key=lambda point: point.anchors)
    if not mine:
        return None
    least = mine[-1].anchors
    for point in reversed(mine):
        if point.cosine < mine[-1].cosine - within:
            break
        least = point.anchors
    return least


def _shown(found: Ablation) -> Shown:
    parts: dict[str, list[Point]] = {}
    for point in found.points:
        parts.setdefault(point.study, []).append(point)
    charts = (
        count_chart("Anchors", parts.get("anchors", []), "anchors", "decomposition"),
        count_chart("Identities", parts.get("identities", []), "identities", "pooling"),
    )
    states = [(False, "Anchors as they are"), (True, "Some anchors damaged")]
    tables = tuple(
        (words, _table([p for p in parts.get("decomposition", []) if p.damaged == damaged]))
        for damaged, words in states
        if any(p.damaged == damaged for p in found.points)
    )
    return Shown(found, tuple(chart for chart in charts if chart), tables, _says(found))


def _says(found: Ablation) -> str:
    parts = []
    for damaged, words in ((False, "as they are"), (True, "damaged")):
        least = saturation([point for point in found.points if point.damaged == damaged])
        if least is not None:
            parts.append(f"{least} where anchors are {words}" if damaged else f"{least} {words}")
    return f"Within 0.02 of the most anchors from {', '.join(parts)}." if parts else ""


def _table(points: Sequence[Point]) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
    best = max((point.cosine for point in points), default=math.nan)
    places = {(point.decomposition, point.reading): point for point in points}
    rows = []
    for kind in get_args(Decomposition):
        cells = [_cell(places[kind, reading], best) for reading in get_args(Reading)]
        rows.append((KINDS[kind], tuple(cells)))
    return tuple(rows)


def _cell(point: Point, best: float) -> Cell:
    title = f"worst of {point.repeats}: {numbers.fixed(point.worst, 3)}{not_converged(point)}"
    if math.isfinite(point.low):
        ends = f"{numbers.fixed(point.low, 3)} to {numbers.fixed(point.high, 3)}"
        title = f"95 % {ends}, {title}"
    strength = round(max(0.0, point.cosine) ** 2, 3)
    return Cell(numbers.fixed(point.cosine, 3), strength, title, point.cosine >= best - 5e-4)


def _span(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def _tiles(found: Sequence[Ablation], config: AblationConfig) -> list[Tile]:
    tries = sum(point.repeats for each in found for point in each.points)
    tiles: list[Any] = [
        Tile(numbers.whole(len(found)), "attribute" if len(found) == 1 else "attributes"),
        Tile(numbers.whole(tries), "directions found", f"{config.repeats} for each setting"),
        Tile(_span(config.anchors), "anchors"),
        Tile(_span(config.identities), "identities"),
    ]
    least = [saturation([p for p in each.points if p.damaged]) for each in found]
    known = [each for each in least if each is not None]
    if known:
        note = f"at {numbers.percent(config.damaged, 0)} damaged, to be within 0.02 of the most"
        tiles.append(Tile(str(max(known)), "anchors needed", note))
    return tiles

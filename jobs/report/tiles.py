"""The key numbers at the head of the page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from jobs.report import numbers
from jobs.report.data import ReportData
from mining.evaluation.matrix import RescoringMatrix


@dataclass(frozen=True)
class Tile:
    """One key number."""

    value: str
    label: str
    note: str = ""


def tiles(data: ReportData, matrix: RescoringMatrix) -> list[Tile]:
    """Those that nobody measured are left out."""
    return [*_counts(data), *_qualities(data, matrix), *_time(data)]


def _counts(data: ReportData) -> list[Tile]:
    facts = data.dataset
    methods = {card.method for card in data.cards}
    attributes = {card.attribute for card in data.cards if not card.aimless}
    note = f"{len(methods)} methods, {len(attributes)} attributes"
    pixels = f"{facts.image_size or facts.resolution} px"
    found = [
        Tile(numbers.whole(len(data.cards)), "directions", note),
        Tile(numbers.whole(facts.rows), "images measured", pixels),
    ]
    if facts.rows:
        share = numbers.percent(1 - facts.usable / facts.rows)
        note = f"{numbers.whole(facts.rows - facts.usable)} with a reason"
        found.append(Tile(share, "rejected", note))
    return found


def _qualities(data: ReportData, matrix: RescoringMatrix) -> list[Tile]:
    found = []
    if matrix.judged:
        note = f"of {matrix.judged} directions move their own attribute most"
        found.append(Tile(numbers.percent(matrix.diagonality, 0), "diagonality", note))
    cosines = _known(card.truth_cosine for card in data.cards)
    if cosines:
        middle, note = numbers.fixed(_median(cosines), 2), f"best {numbers.fixed(max(cosines), 3)}"
        found.append(Tile(middle, "median cosine to the truth", note))
    halves = _known(card.stability for card in data.cards)
    if halves:
        note = f"cosine of two halves, {len(halves)} measured"
        found.append(Tile(numbers.fixed(_median(halves), 2), "median stability", note))
    costs = _known(card.identity_cost for card in data.cards)
    if costs:
        middle = numbers.fixed(_median(costs), 2)
        found.append(Tile(middle, "median identity cost", "descriptor distance at one σ"))
    return found


def _time(data: ReportData) -> list[Tile]:
    if not data.stages:
        return []
    seconds = sum(stage.seconds for stage in data.stages)
    return [Tile(numbers.duration(seconds), "run time", f"{len(data.stages)} stages")]


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _median(values: list[float]) -> float:
    return float(np.median(values))

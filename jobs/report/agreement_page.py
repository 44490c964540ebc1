"""Render how backends agree as one self-contained HTML page, in the look of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobs.agreement import MARK, Advice, Agreement, Pictures, Quantity
from jobs.report import numbers
from jobs.report.agreement_charts import Scatter
from jobs.report.page import BASIS, environment
from jobs.report.tiles import Tile
from jobs.versions import code_version
from mining.evaluation.agreement import Comparison, Estimate


@dataclass(frozen=True)
class Cell:
    """One cell of a correlation matrix or of the failures."""

    text: str
    strength: float  # 0..1, how strongly the cell is coloured
    hue: str  # a colour of page.css
    title: str


@dataclass(frozen=True)
class Matrix:
    """Correlations of all sources of one quantity."""

    names: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def render_agreement(found: Agreement, pictures: Pictures) -> str:
    """The page as HTML: every text is escaped, nothing is fetched, the same in is the same out."""
    made = environment()
    for function in (estimate, kept, difference):
        made.filters[function.__name__] = function
    return made.get_template("agreement.html.j2").render(
        found=found,
        mark=f"{MARK} {found.dataset_id}",
        code_version=code_version(),
        tiles=_tiles(found),
        shown=[(one, matrix(one), _drawn(one, pictures)) for one in found.quantities],
        failures=_failures(found),
        angles=[_angles(one.low, one.high) for one in found.failures],
        advice=[
            Advice(one.name, one.trust.basis, one.trust.backends, one.trust.reason)
            for one in found.quantities
        ],
        basis=BASIS,
    )


def matrix(quantity: Quantity) -> Matrix:
    """Pearson's r of every source with every other."""
    names = tuple(quantity.read)
    found = {(pair.first, pair.second): pair for pair in quantity.comparisons}
    rows = tuple(
        tuple(_correlation(found.get((one, two)) or found.get((two, one))) for two in names)
        for one in names
    )
    return Matrix(names, rows)


def _correlation(pair: Comparison | None) -> Cell:
    if pair is None:
        return Cell("", 0.0, "raised", "the same source")
    r = pair.pearson.value
    strength = r * r if math.isfinite(r) else 0.0
    title = f"{pair.first} and {pair.second}: {kept(pair.pearson)} over {pair.rows:,} rows"
    return Cell(numbers.fixed(r, 3), round(strength, 3), "neg" if r < 0 else "good", title)


def estimate(found: Estimate, decimals: int = 3) -> str:
    """A number with its interval behind it: "0.981 (0.979 to 0.983)"."""
    return f"{numbers.fixed(found.value, decimals)}{_interval(found, decimals)}"


def kept(found: Estimate) -> str:
    """As `estimate`, for a correlation in a sentence."""
    return f"r {estimate(found)}"


def difference(value: float, pair: Comparison) -> str:
    """A signed difference in the pair's common unit; a dash where there is none."""
    return f"{numbers.fixed(value, 2, sign=True)}{numbers.unit(pair.unit)}" if pair.unit else "–"


def _interval(found: Estimate, decimals: int) -> str:
    if not math.isfinite(found.low):
        return ""
    return f" ({numbers.fixed(found.low, decimals)} to {numbers.fixed(found.high, decimals)})"


def _drawn(quantity: Quantity, pictures: Pictures) -> list[tuple[Comparison, Scatter]]:
    pairs = [(pair, pictures.get((quantity.name, pair.first, pair.second)))
             for pair in quantity.comparisons]  # fmt: skip
    return [(pair, drawn) for pair, drawn in pairs if drawn is not None]


def _angles(low: float, high: float) -> str:
    return f"{low:g}° to {high:g}°" if math.isfinite(high) else f"{low:g}° and more"


def _failures(found: Agreement) -> list[tuple[str, list[Cell]]]:
    """A row per backend, a cell per bin of |yaw|."""
    most = max(
        (share.value for part in found.failures for share in part.failed.values()), default=0.0
    )
    return [
        (
            made.name,
            [
                Cell(
                    numbers.percent(part.failed[made.name].value),
                    round(part.failed[made.name].value / most, 3) if most else 0.0,
                    "pos",
                    f"95 %: {numbers.percent(part.failed[made.name].low)} to "
                    f"{numbers.percent(part.failed[made.name].high)} of {part.rows:,} rows",
                )
                for part in found.failures
            ],
        )
        for made in found.backends
    ]


def _count(count: int, one: str, several: str) -> Tile:
    return Tile(numbers.whole(count), one if count == 1 else several)


def _tiles(found: Agreement) -> list[Tile]:
    judged = [one for one in found.quantities if one.trust.basis in ("truth", "camera")]
    tied: Sequence[Any] = [one for one in found.quantities if len(one.trust.backends) > 1]
    tiles = [
        _count(len(found.backends), "backend", "backends"),
        _count(found.rows, "image", "images"),
        Tile(
            numbers.whole(len(found.quantities)),
            "quantity compared" if len(found.quantities) == 1 else "quantities compared",
            f"{len(judged)} against the {found.reference}" if found.reference else "no truth known",
        ),
        _count(len(tied), "tie", "ties"),
    ]
    pairs = [pair for one in found.quantities for pair in one.comparisons]
    alone = [pair.pearson.value for pair in pairs if math.isfinite(pair.pearson.value)]
    if alone:
        middle = sorted(abs(value) for value in alone)[len(alone) // 2]
        tiles.append(Tile(numbers.fixed(middle, 2), "median |r| of all pairs"))
    return tiles

"""How `lode catalog` prints: directions in a list, and one card in full."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from jobs.cli_catalog_records import record, to_csv, to_json

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from jobs.cli_catalog_options import Output
    from schemas.directions import DirectionCard

WIDTH = 100  # columns of a table that does not go to a terminal
SHORT = 10  # digits of a direction id in tables, enough for `show`

_NAMES = {
    **{"version": "v", "truth_cosine": "truth", "identity_cost": "identity"},
    **{"direction_id": "direction", "created_at": "published"},
}
_LISTED = ("direction_id", "attribute", "space", "method", "generator")
_MEASURED = ("version", "truth_cosine", "effect", "leak", "identity_cost")


def show(*tables: RenderableType) -> None:
    """Print to the terminal, or WIDTH columns wide; what cards say is not markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    for table in tables:
        console.print(table)


def tell(
    told: Sequence[Mapping[str, Any]],
    fields: Sequence[str],
    output: Output,
    more: Sequence[str] = (),
    without: Sequence[str] = (),
    nothing: str = "No direction matches all of that.",
) -> None:
    """Print records of directions.

    Args:
        told: `cli_catalog_records.record` and perhaps more.
        fields: what JSON and CSV hold of them.
        output: how.
        more: fields that stand before the others in a table.
        without: fields that are not in the table.
        nothing: said in place of an empty table.
    """
    if output == "json":
        typer.echo(to_json([{name: each[name] for name in fields} for each in told]))
    elif output == "csv":
        typer.echo(to_csv(fields, told), nl=False)
    else:
        show(listing(told, more, without) if told else nothing)


def listing(
    records: Sequence[Mapping[str, Any]], more: Sequence[str] = (), without: Sequence[str] = ()
) -> Table:
    """Directions, one per line; `tell` says of what."""
    tags = ["tags"] if any(each.get("tags") for each in records) else []
    names = [n for n in (*more, *_LISTED, *_MEASURED, *tags) if n not in without]
    right = {*more, *_MEASURED}
    table = columns({_NAMES.get(n, n): n in right for n in names}, kept={"direction"})
    for each in records:
        table.add_row(*(_cell(each, name) for name in names))
    return table


def columns(names: Mapping[str, bool], kept: Iterable[str] = ()) -> Table:
    """An empty table of plain columns: name -> whether numbers, on the right.

    Args:
        names: in their order.
        kept: those that are never broken into lines; numbers are not either.
    """
    from rich.table import Table

    table, whole = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0)), set(kept)
    for name, right in names.items():
        justify, no_wrap = ("right" if right else "left"), right or name in whole
        table.add_column(name, justify=justify, overflow="fold", no_wrap=no_wrap)
    return table


def facts(pairs: Iterable[tuple[str, str]]) -> Table:
    """Names on the left, what they are on the right."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, value)
    return table


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits; a dash where it was not measured."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def card_tables(card: DirectionCard) -> list[RenderableType]:
    """All of a card but its vector."""
    about = facts(_facts(card))
    if not card.responses:
        return [about]
    responses = columns(
        {"attribute": False, "change": True, "95 % interval": True, "in spreads": True}
    )
    responses.title, responses.title_justify = "What one step of norm 1 moves", "left"
    responses.add_column("unit")
    for moved in card.responses:
        cells = (number(moved.per_step), _interval(moved.low, moved.high), number(moved.relative))
        responses.add_row(moved.attribute, *cells, moved.unit)
    return [about, "", responses]


def _cell(told: Mapping[str, Any], name: str) -> str:
    value = told[name]
    if name == "direction_id":
        return value[:SHORT]
    if name == "effect":
        return _effect(told)
    if name == "created_at":
        return value[:16].replace("T", " ")
    if name == "tags":
        return " ".join(value)
    return number(value) if isinstance(value, float) or value is None else str(value)


def _effect(told: Mapping[str, Any]) -> str:
    """With its unit; and of a direction mined without an attribute, what it is an effect on."""
    if told["effect"] is None:
        return "-"
    unit = "" if told["unit"] == "1" else f" {told['unit']}"
    own = told["effect_on"] in (None, told["attribute"])
    return f"{number(told['effect'])}{unit}{'' if own else ' on ' + told['effect_on']}"


def _interval(low: float, high: float) -> str:
    return f"{number(low)} .. {number(high)}"


def _with(value: float, low: float, high: float, what: str = "95 %") -> str:
    """A number and the interval beside it, where there is one."""
    beside = "" if math.isnan(low) and math.isnan(high) else f" ({what}: {_interval(low, high)})"
    return f"{number(value)}{beside}"


def _facts(card: DirectionCard) -> list[tuple[str, str]]:
    made = card.provenance
    aim = "mined without an attribute" if card.aimless else f"in {card.unit}"
    interval = f"(95 %: {_interval(card.effect_low, card.effect_high)})"
    cost = (card.identity_cost, card.identity_cost_low, card.identity_cost_high)
    held = (card.stability, card.stability_low, card.stability_high)
    found = [
        ("direction", card.direction_id),
        ("attribute", f"{card.attribute}, {aim}"),
        ("method", card.method),
        ("space", f"{card.space}, {_shape(card)}"),
        ("layers", " ".join(map(str, card.layers)) or "all"),
        ("version", str(card.version)),
        ("tags", " ".join(card.tags)),
        ("effect", f"{_effect(record(card))} per step of norm 1 {interval}"),
        ("calibration", _calibration(card)),
        ("slope as fitted", number(card.slope)),
        ("sigma", number(card.sigma)),
        ("leak", _with(card.leak, card.leak_low, card.leak_high)),
        ("identity cost", _with(*cost)),
        ("stability", _with(*held, "halves")),
        ("cosine to truth", number(card.truth_cosine, 4)),
        ("generator", f"{card.generator}, {card.generator_licence}"),
        ("fingerprint", card.generator_fingerprint),
        ("dataset", f"{made.dataset_id}, seed {made.seed}"),
        ("settings", made.settings),
        ("code", made.code_version),
        ("source", card.source),
        ("licence", card.licence),
        ("published", f"{made.created_at:%Y-%m-%d %H:%M:%S} UTC in {card.publication_id}"),
    ]
    found += [(name, number(value, 4)) for name, value in card.evidence.items()]
    found += [("notes", card.notes)]
    return [(name, value) for name, value in found if value]


def _shape(card: DirectionCard) -> str:
    kept = card.artefact
    if kept is not None:
        return f"{kept.kind} of {kept.bytes:,} bytes, artefact {kept.sha256}"
    return " x ".join(map(str, card.vector.shape))


def _calibration(card: DirectionCard) -> str:
    found, unit = card.calibration, "" if card.unit == "1" else f" {card.unit}"
    if found is None:
        return ""
    holds = f"holds from {number(found.low)} to {number(found.high)}{unit}"
    off = f", off by {found.error:.0%} on average" if math.isfinite(found.error) else ""
    return f"{number(found.step)} steps of norm 1 for 1{unit}, {holds}{off}"

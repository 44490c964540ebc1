"""`lode catalog`: list, show and choose directions of a catalogue.

Programs call it with `--output json`; from Python, `storage.catalog.Catalog` gives the same cards.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from storage.catalog import CATALOG_VARIABLE, DEFAULT_CATALOG, Catalog
from storage.ranking import CRITERIA

if TYPE_CHECKING:
    from rich.console import RenderableType

    from schemas.directions import DirectionCard

Output = Literal["table", "json", "csv"]

WIDTH = 100  # columns of a table that does not go to a terminal
_SHORT = 10  # digits of a direction id in tables, enough for `show`

FIELDS = (  # of a record, of the card or its provenance
    *("direction_id", "attribute", "unit", "method", "space", "version", "truth_cosine"),
    *(
        "effect_on",
        "effect",
        "effect_low",
        "effect_high",
        "effect_relative",
        "leak",
        "identity_cost",
    ),
    *("slope", "sigma", "layers", "shape", "generator", "generator_fingerprint"),
    *("generator_licence", "dataset_id", "seed", "code_version", "publication_id", "created_at"),
)

catalog_app = typer.Typer(
    help="Query the catalogue of directions.", no_args_is_help=True, rich_markup_mode=None
)

CatalogOption = Annotated[
    str | None,
    typer.Option(
        "--catalog",
        envvar=CATALOG_VARIABLE,
        metavar="URL",
        help=f"Folder or URL of the catalogue; {DEFAULT_CATALOG} unless named.",
        show_default=False,
    ),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]
MethodOption = Annotated[str | None, typer.Option(help="Only this method.")]
SpaceOption = Annotated[str | None, typer.Option(help="Only this space: z, w, w+ or s.")]
GeneratorOption = Annotated[
    str | None, typer.Option(help="Only this generator: its name or fingerprint (8 digits on).")
]


@catalog_app.command("list")
def list_(
    catalog: CatalogOption = None,
    attribute: Annotated[str | None, typer.Option(help="Only this attribute.")] = None,
    method: MethodOption = None,
    space: SpaceOption = None,
    generator: GeneratorOption = None,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="Also versions that were replaced.")
    ] = False,
    output: OutputOption = "table",
) -> None:
    """List the newest version of every direction, by attribute."""
    cards = Catalog(catalog).cards(attribute, method, space, generator, all_versions)
    cards.sort(key=lambda c: (c.attribute, c.generator, c.space, c.method, c.version or 0))
    if output == "json":
        typer.echo(_json([record(card) for card in cards]))
    elif output == "csv":
        typer.echo(_csv(cards), nl=False)
    else:
        _print(_listing(cards) if cards else "No direction matches all of that.")


@catalog_app.command()
def show(
    direction_id: Annotated[str, typer.Argument(help="Its id, or the first digits of it.")],
    catalog: CatalogOption = None,
    output: OutputOption = "table",
) -> None:
    """Print the card of one direction; its vector too with --output json."""
    card = Catalog(catalog).get(direction_id)
    _print_card(card, output, {"vector": card.vector.tolist()})


@catalog_app.command()
def best(
    attribute: Annotated[str, typer.Option(help="The attribute to move.")],
    catalog: CatalogOption = None,
    space: SpaceOption = None,
    method: MethodOption = None,
    generator: GeneratorOption = None,
    by: Annotated[
        str, typer.Option(metavar="CRITERION", help=f"One of {', '.join(CRITERIA)}.")
    ] = "score",
    output: OutputOption = "table",
) -> None:
    """Print the card of the best direction for an attribute.

    By default the one with the largest cosine to the truth, where that is known; else with the
    largest |effect_relative| * sigma / (1 + leak).
    """
    card = Catalog(catalog).best(attribute, space, by, method, generator)
    _print_card(card, output, {})


def record(card: DirectionCard) -> dict[str, Any]:
    """What `list` tells about a card: one flat object, None for what was not measured."""
    values = {
        name: getattr(card if hasattr(card, name) else card.provenance, name, None)
        for name in FIELDS
    }
    values["shape"] = card.vector.shape
    return {name: _plain(value) for name, value in values.items()}


def full_record(card: DirectionCard) -> dict[str, Any]:
    """`record` and the responses, evidence, settings, packages and notes; not the vector."""
    names = ("attribute", "unit", "per_step", "low", "high", "spread", "relative")
    responses = [{k: _plain(getattr(moved, k)) for k in names} for moved in card.responses]
    return record(card) | {
        "responses": responses,
        "evidence": {name: _plain(value) for name, value in card.evidence.items()},
        "settings": card.provenance.settings,
        "packages": dict(card.provenance.packages),
        "notes": card.notes,
    }


def _plain(value: Any) -> Any:
    """As JSON has it: neither NaN nor infinity, no tuples, times as ISO 8601."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, tuple):
        return list(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)


def _csv(cards: Sequence[DirectionCard]) -> str:
    """One line per card under a header; empty where not measured, lists separated by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for cells in (record(card).values() for card in cards):
        writer.writerow([" ".join(map(str, c)) if isinstance(c, list) else c for c in cells])
    return text.getvalue()


def _print_card(card: DirectionCard, output: Output, more: Mapping[str, Any]) -> None:
    if output == "json":
        typer.echo(_json(full_record(card) | dict(more)))
    elif output == "csv":
        typer.echo(_csv([card]), nl=False)
    else:
        _print(*_card_tables(card))


def _print(*tables: RenderableType) -> None:
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    for table in tables:
        console.print(table)


def _number(value: float | None, digits: int = 3) -> str:
    """Three significant digits; a dash where it was not measured."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def _effect(card: DirectionCard) -> str:
    """With its unit; and of an aimless direction, what it is an effect on."""
    if math.isnan(card.effect):
        return "-"
    unit = "" if card.unit == "1" else f" {card.unit}"
    return f"{_number(card.effect)}{unit}{f' on {card.effect_on}' if card.aimless else ''}"


def _listing(cards: Sequence[DirectionCard]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("direction", "attribute", "space", "method", "generator"):
        table.add_column(name, overflow="fold", no_wrap=name == "direction")
    for name in ("v", "truth", "effect", "leak", "identity"):
        table.add_column(name, justify="right", no_wrap=True)
    for card in cards:
        table.add_row(
            card.direction_id[:_SHORT],
            card.attribute,
            card.space,
            card.method,
            card.generator,
            str(card.version),
            _number(card.truth_cosine),
            _effect(card),
            _number(card.leak),
            _number(card.identity_cost),
        )
    return table


def _card_tables(card: DirectionCard) -> list[RenderableType]:
    from rich.table import Table

    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(card):
        facts.add_row(name, value)
    if not card.responses:
        return [facts]
    responses = Table(
        title="What one step of norm 1 moves", title_justify="left", box=None, pad_edge=False
    )
    for name in ("attribute", "change", "95 % interval", "in spreads"):
        responses.add_column(name, justify="left" if name == "attribute" else "right")
    responses.add_column("unit")
    for moved in card.responses:
        interval = f"{_number(moved.low)} .. {_number(moved.high)}"
        cells = (_number(moved.per_step), interval, _number(moved.relative))
        responses.add_row(moved.attribute, *cells, moved.unit)
    return [facts, "", responses]


def _facts(card: DirectionCard) -> list[tuple[str, str]]:
    made = card.provenance
    interval = f"{_number(card.effect_low)} .. {_number(card.effect_high)}"
    shape = " x ".join(map(str, card.vector.shape))
    aim = "mined without an attribute" if card.aimless else f"in {card.unit}"
    facts = [
        ("direction", card.direction_id),
        ("attribute", f"{card.attribute}, {aim}"),
        ("method", card.method),
        ("space", f"{card.space}, {shape}"),
        ("layers", " ".join(map(str, card.layers)) or "all"),
        ("version", str(card.version)),
        ("effect", f"{_effect(card)} per step of norm 1 (95 %: {interval})"),
        ("slope as fitted", _number(card.slope)),
        ("sigma", _number(card.sigma)),
        ("leak", _number(card.leak)),
        ("identity cost", _number(card.identity_cost)),
        ("cosine to truth", _number(card.truth_cosine, 4)),
        ("generator", f"{card.generator}, {card.generator_licence}"),
        ("fingerprint", card.generator_fingerprint),
        ("dataset", f"{made.dataset_id}, seed {made.seed}"),
        ("settings", made.settings),
        ("code", made.code_version),
        ("published", f"{made.created_at:%Y-%m-%d %H:%M:%S} UTC in {card.publication_id}"),
    ]
    facts += [(name, _number(value, 4)) for name, value in card.evidence.items()]
    return [*facts, ("notes", card.notes)] if card.notes else facts

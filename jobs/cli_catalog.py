"""`lode catalog`: list, choose, compare and tag the directions of a catalogue.

Programs call it with `--output json`; from Python, `storage.catalog.Catalog` gives the same cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli_catalog_change import tag, untag
from jobs.cli_catalog_diff import diff
from jobs.cli_catalog_options import (
    AsOfOption,
    AttributeOption,
    CatalogOption,
    DescendingOption,
    DirectionArgument,
    GeneratorOption,
    LimitOption,
    MethodOption,
    OrderOption,
    Output,
    OutputOption,
    SpaceOption,
    VersionsOption,
    WhereOption,
)
from jobs.cli_catalog_query import history, nearest, tags
from jobs.cli_catalog_records import FIELDS, full_record, record, records, to_csv, to_json
from jobs.cli_catalog_stats import stats
from jobs.cli_catalog_tables import card_tables, tell
from jobs.cli_catalog_tables import show as show_tables
from jobs.cli_exchange import import_
from jobs.cli_export import export
from schemas.errors import InputError
from storage.catalog import Catalog
from storage.ranking import CRITERIA

if TYPE_CHECKING:
    import pyarrow as pa

    from schemas.directions import DirectionCard

SHOWN = 100  # directions of a table without --limit
_ORDER = ("attribute", "generator", "space", "method", "version")  # of a list

catalog_app = typer.Typer(
    help="Query and tag the catalogue of directions.", no_args_is_help=True, rich_markup_mode=None
)


@catalog_app.command("list")
def list_(
    catalog: CatalogOption = None,
    attribute: AttributeOption = None,
    method: MethodOption = None,
    space: SpaceOption = None,
    generator: GeneratorOption = None,
    where: WhereOption = None,
    order_by: OrderOption = None,
    descending: DescendingOption = False,
    limit: LimitOption = None,
    all_versions: VersionsOption = False,
    as_of: AsOfOption = None,
    output: OutputOption = "table",
) -> None:
    """List the newest version of every direction, by attribute.

    A table shows the first hundred unless --limit says otherwise; JSON and CSV hold all.
    """
    filters = dict(attribute=attribute, method=method, space=space, generator=generator)
    opened = Catalog(catalog, as_of)
    _list(opened, where, order_by, descending, limit, filters, all_versions, output)


@catalog_app.command()
def find(
    where: Annotated[
        str, typer.Argument(metavar="CONDITION", help="As 'smile >= 0.4, |age leak| <= 0.02'.")
    ],
    catalog: CatalogOption = None,
    attribute: AttributeOption = None,
    method: MethodOption = None,
    space: SpaceOption = None,
    generator: GeneratorOption = None,
    order_by: OrderOption = None,
    descending: DescendingOption = False,
    limit: LimitOption = None,
    all_versions: VersionsOption = False,
    as_of: AsOfOption = None,
    output: OutputOption = "table",
) -> None:
    """List the directions for which a condition is true.

    Its names are columns of the catalogue (leak, method, version ...), attributes (population
    spreads that one natural step moves) and "ATTRIBUTE leak" (for each spread of the own one).
    """
    filters = dict(attribute=attribute, method=method, space=space, generator=generator)
    opened = Catalog(catalog, as_of)
    _list(opened, where, order_by, descending, limit, filters, all_versions, output)


@catalog_app.command()
def show(
    direction_id: DirectionArgument,
    catalog: CatalogOption = None,
    as_of: AsOfOption = None,
    output: OutputOption = "table",
) -> None:
    """Print the card of one direction; its vector too with --output json."""
    card = Catalog(catalog, as_of).get(direction_id)
    _print_card(card, output, {"vector": card.vector.tolist()})


@catalog_app.command()
def best(
    attribute: Annotated[str, typer.Option(help="The attribute to move.")],
    catalog: CatalogOption = None,
    space: SpaceOption = None,
    method: MethodOption = None,
    generator: GeneratorOption = None,
    where: WhereOption = None,
    by: Annotated[
        str, typer.Option(metavar="CRITERION", help=f"One of {', '.join(CRITERIA)}.")
    ] = "score",
    as_of: AsOfOption = None,
    output: OutputOption = "table",
) -> None:
    """Print the card of the best direction for an attribute.

    By default the one with the largest cosine to the truth, where that is known; else with the
    largest |effect_relative| * sigma / (1 + leak).
    """
    card = Catalog(catalog, as_of).best(attribute, space, by, method, generator, where)
    _print_card(card, output, {})


for command in (history, diff, nearest, tag, untag, tags, stats, export):
    catalog_app.command()(command)
catalog_app.command("import")(import_)


def _list(
    catalog: Catalog,
    where: str | None,
    order_by: str | None,
    descending: bool,
    limit: int | None,
    filters: Mapping[str, Any],
    all_versions: bool,
    output: Output,
) -> None:
    if descending and order_by is None:
        raise InputError("--descending came without --order-by; expected both.")
    found = catalog.find(where, order_by, descending, **filters, all_versions=all_versions)
    rows, shown = found.table(), limit or (SHOWN if output == "table" else len(found))
    rows = (_in_order(rows) if order_by is None else rows).slice(0, shown)
    tell(records(rows, catalog.tags()), FIELDS, output)
    if output == "table" and (more := len(found) - len(rows)):
        typer.echo(f"{more:,} more; --limit, --where and --output json or csv show others.")


def _in_order(rows: pa.Table) -> pa.Table:
    return rows.sort_by([(name, "ascending") for name in _ORDER])


def _print_card(card: DirectionCard, output: Output, more: Mapping[str, Any]) -> None:
    if output == "json":
        typer.echo(to_json(full_record(card) | dict(more)))
    elif output == "csv":
        typer.echo(to_csv(FIELDS, [record(card)]), nl=False)
    else:
        show_tables(*card_tables(card))

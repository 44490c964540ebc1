"""`lode catalog history | nearest | tags`: what a direction was, is like, and is called.

`jobs.cli_catalog` makes commands of these functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli_catalog_change import TAG_FIELDS, spelled, tag_record
from jobs.cli_catalog_options import (
    AsOfOption,
    CatalogOption,
    DirectionArgument,
    OutputOption,
    VersionsOption,
)
from jobs.cli_catalog_records import FIELDS, plain, record, records, to_csv, to_json
from jobs.cli_catalog_tables import SHORT, columns, show, tell
from schemas.registry import unknown
from storage.catalog import Catalog

if TYPE_CHECKING:
    from rich.console import RenderableType

    from storage.cards import Cards
    from storage.tag_table import Tag


def history(
    direction_id: DirectionArgument,
    catalog: CatalogOption = None,
    as_of: AsOfOption = None,
    output: OutputOption = "table",
) -> None:
    """List every version of a direction's lineage, oldest first."""
    opened = Catalog(catalog, as_of)
    rows = opened.history(direction_id).table()
    each = zip(rows["commit"].to_pylist(), records(rows, opened.tags()), strict=True)
    told = [{"commit": commit, **found} for commit, found in each]
    same = ("attribute", "space", "method", "generator")
    if output == "table":
        show("Versions of " + ", ".join(told[0][name] for name in same))
    tell(told, ("commit", *FIELDS), output, ("commit", "created_at"), same)


def nearest(
    direction_id: DirectionArgument,
    catalog: CatalogOption = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="So many.")] = 10,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="By |cosine|: backwards is as near.")
    ] = False,
    all_versions: VersionsOption = False,
    as_of: AsOfOption = None,
    output: OutputOption = "table",
) -> None:
    """List the directions nearest to one, by the cosine, of the same generator and space."""
    opened = Catalog(catalog, as_of)
    found = opened.nearest(direction_id, limit, absolute=absolute, all_versions=all_versions)
    told = [{"cosine": plain(cosine), **record(card)} for card, cosine in found]
    nothing = "No other direction of its generator, space and shape."
    tell(told, ("cosine", *FIELDS), output, ("cosine",), nothing=nothing)


def tags(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Only this tag.", show_default=False)
    ] = None,
    catalog: CatalogOption = None,
    moves: Annotated[
        bool, typer.Option("--history", help="Every change, oldest first, removals too.")
    ] = False,
    as_of: AsOfOption = None,
    output: OutputOption = "table",
) -> None:
    """List the tags and where they point."""
    from storage.tags import changes

    opened = Catalog(catalog, as_of)
    cards = opened.cards(all_versions=True)  # an error where there is no catalogue
    now = opened.tags()
    found = changes(opened.url, as_of=opened.as_of) if moves else tuple(now.values())
    if name is not None:
        known = {tag.name for tag in found}
        if name not in known:
            raise unknown("tag", name, known)
        found = tuple(tag for tag in found if tag.name == name)
    if output == "json":
        typer.echo(to_json([tag_record(tag) for tag in found]))
    elif output == "csv":
        typer.echo(to_csv(TAG_FIELDS, map(tag_record, found)), nl=False)
    elif not found:
        show("No tags; `lode catalog tag NAME DIRECTION` makes one.")
    else:
        show(_moves(found) if moves else _pointing(found, cards))


def _pointing(found: Sequence[Tag], cards: Cards) -> RenderableType:
    """Where tags point, and what is there."""
    ids = {tag.target.direction_id for tag in found if tag.target is not None}
    known = cards.table()
    tagged = [name in ids for name in known["direction_id"].to_pylist()]
    rows = {(row["direction_id"], row["version"]): row for row in known.filter(tagged).to_pylist()}
    names = ("attribute", "space", "method", "generator")
    heads = dict.fromkeys(("tag", "direction", "v", *names, "since"), False) | {"v": True}
    table = columns(heads, kept=("direction", "since"))
    for tag in found:
        if tag.target is not None:
            row = rows.get(tag.target, dict.fromkeys(names, "-"))
            here = (tag.target.direction_id[:SHORT], str(tag.target.version))
            about = (str(row[name]) for name in names)
            table.add_row(tag.name, *here, *about, f"{tag.moved_at:%Y-%m-%d %H:%M}")
    return table


def _moves(found: Sequence[Tag]) -> RenderableType:
    """What was done with tags."""
    table = columns(dict.fromkeys(("moved", "tag", "from", "to"), False), kept=("moved",))
    for tag in found:
        ends = (_short(spelled(target)) for target in (tag.previous, tag.target))
        table.add_row(f"{tag.moved_at:%Y-%m-%d %H:%M:%S}", tag.name, *ends)
    return table


def _short(target: str) -> str:
    direction, at, version = target.partition("@")
    return f"{direction[:SHORT]}{at}{version}"

"""`lode catalog tag | untag`: names that point at a version of a direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli_catalog_options import CatalogOption, DirectionArgument, Output, OutputOption
from jobs.cli_catalog_records import plain, to_csv, to_json
from storage.catalog import Catalog

if TYPE_CHECKING:
    from storage.tag_table import Tag, Target

TAG_FIELDS = (
    *("tag", "direction_id", "version", "previous_direction_id", "previous_version"),
    *("moved_at", "commit"),
)

NameArgument = Annotated[str, typer.Argument(help="Of the tag, as production.")]
ExpectedOption = Annotated[
    str | None,
    typer.Option(
        metavar="ID[@VERSION]|nothing",
        help="Where it points now; refused where it does not. Unless set: where it is seen to.",
    ),
]


def tag(
    name: NameArgument,
    direction_id: DirectionArgument,
    version: Annotated[
        int | None, typer.Option(help="Of the direction; its newest unless set.")
    ] = None,
    expected: ExpectedOption = None,
    catalog: CatalogOption = None,
    output: OutputOption = "table",
) -> None:
    """Let a tag point at a direction; it is made, or moved there.

    Of two that move one tag at once, one is told that it lost, and exits with status 2.
    """
    _print(Catalog(catalog).tag(name, direction_id, version, expected), output)


def untag(
    name: NameArgument,
    expected: ExpectedOption = None,
    catalog: CatalogOption = None,
    output: OutputOption = "table",
) -> None:
    """Remove a tag. Where it pointed can still be looked up: `lode catalog tags --history`."""
    _print(Catalog(catalog).untag(name, expected), output)


def tag_record(change: Tag) -> dict[str, Any]:
    """A change of a tag as a flat object; None where it pointed nowhere."""
    target, previous = change.target or (None, None), change.previous or (None, None)
    values = (change.name, *target, *previous, change.moved_at, change.commit)
    return {name: plain(value) for name, value in zip(TAG_FIELDS, values, strict=True)}


def spelled(target: Target | None) -> str:
    """As `--expected` takes it."""
    return str(target) if target else "nothing"


def _print(change: Tag, output: Output) -> None:
    if output == "json":
        typer.echo(to_json(tag_record(change)))
    elif output == "csv":
        typer.echo(to_csv(TAG_FIELDS, [tag_record(change)]), nl=False)
    else:
        typer.echo(f"{change.name}: {spelled(change.target)}, was {spelled(change.previous)}")

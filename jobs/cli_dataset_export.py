"""`lode dataset export`: a dataset card and croissant.json, in place or with rows elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli_head import (
    ColumnsOption,
    SampleOption,
    SeedOption,
    UrlArgument,
    WhereOption,
    check_seed,
    names_of,
)
from schemas.errors import InputError

if TYPE_CHECKING:
    from storage.exported import Exported


def export(
    url: UrlArgument,
    out: Annotated[
        str,
        typer.Option(metavar="URL", help="Another folder or URL; the dataset's own unless set."),
    ] = "",
    where: WhereOption = "",
    columns: ColumnsOption = "",
    sample: SampleOption = None,
    seed: SeedOption = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also a dataset that lacks shards.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over an earlier export.")] = False,
    creator: Annotated[str, typer.Option(help="Who publishes it, for croissant.json.")] = "",
    homepage: Annotated[str, typer.Option(metavar="URL", help="Its page on the web.")] = "",
    date: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="Of publication; the last run's unless set.")
    ] = "",
) -> None:
    """Write README.md, a dataset card for Hugging Face, and croissant.json beside the shards.

    With --out the chosen rows and columns are written as Parquet into another folder, with both
    files. The folder loads with pandas, DuckDB, Polars, datasets, Ray Data and pyarrow.
    """
    from storage.dataset import Dataset
    from storage.dataset_export import ExportConfig, export_here, export_to
    from storage.files import absolute

    check_seed(sample, seed)
    dataset = Dataset(absolute(url))
    config = ExportConfig(partial, force, creator, homepage, date)
    if out:
        made = export_to(dataset, out, where or None, names_of(columns), sample, seed or 0, config)
    else:
        given = {"--where": where, "--columns": columns, "--sample": sample}
        if chosen := [option for option, value in given.items() if value]:
            raise InputError(
                f"export: {chosen[0]} came without --out; in place the shards are exported as "
                "they stand. Name another folder with --out."
            )
        made = export_here(dataset, config)
    for line in lines(made, absolute(out or url)):
        typer.echo(line)


def lines(made: Exported, url: str) -> list[str]:
    """What was written, for people."""
    licence = made.licence
    told = ", ".join(licence.identifiers) or f"other ({licence.name})"
    facts = [
        ("export", url),
        ("rows", f"{made.rows:,}"),
        ("files", f"{len(made.files):,} of Parquet, {made.bytes:,} bytes"),
        ("licence", told),
    ]
    if made.chosen is not None:
        facts.append(("chosen", made.chosen.told()))
    if made.missing:
        facts.append(("missing", f"{made.missing:,} of {made.manifest.shards:,} shards"))
    return [f"{name:<8}  {value}" for name, value in facts]

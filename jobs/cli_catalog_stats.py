"""`lode catalog stats`: a catalogue in numbers, and what is in it twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli_catalog_options import AsOfOption, CatalogOption, OutputOption
from jobs.cli_catalog_records import plain, to_csv, to_json
from jobs.cli_catalog_tables import SHORT, columns, facts, show
from storage.catalog import NEAR, Catalog

if TYPE_CHECKING:
    from rich.console import RenderableType

    from storage.catalog_stats import Stats
    from storage.duplicates import Duplicates

_NAMED = 8  # of what is counted, in a table
_PAIRS = 10  # near-duplicates, in a table


def stats(
    catalog: CatalogOption = None,
    near: Annotated[
        float,
        typer.Option(
            min=0, max=1, metavar="COSINE", help="|cosine| of near-duplicates; 1 not to look."
        ),
    ] = NEAR,
    as_of: AsOfOption = None,
    output: OutputOption = "table",
) -> None:
    """Count what a catalogue holds and what was not measured, and list near-duplicates."""
    found = Catalog(catalog, as_of).stats(near if near < 1 else None)
    if output == "json":
        typer.echo(to_json(stats_record(found)))
    elif output == "csv":
        pairs = _flat(stats_record(found))
        typer.echo(to_csv(("name", "value"), [{"name": n, "value": v} for n, v in pairs]), nl=False)
    else:
        show(*_tables(found))


def stats_record(found: Stats) -> dict[str, Any]:
    """The numbers as JSON has them; a tag as DIRECTION@VERSION."""
    values = {field.name: plain(getattr(found, field.name)) for field in fields(found)}
    values["tags"] = {name: str(tag.target) for name, tag in found.tags.items()}
    if found.duplicates is not None:
        pairs = [pair._asdict() for pair in found.duplicates.pairs]
        about = {"limit": found.duplicates.limit, "count": found.duplicates.count}
        values["duplicates"] = about | {"pairs": pairs}
    return values


def _flat(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """One name and one value in a line; the pairs of near-duplicates are left to JSON."""
    found = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += [(f"{name}.{key}", each) for key, each in value.items() if key != "pairs"]
        elif value is not None:
            found.append((name, value))
    return found


def _tables(found: Stats) -> list[RenderableType]:
    return [facts(_facts(found)), *_near(found.duplicates)]


def _facts(found: Stats) -> list[tuple[str, str]]:
    kept = f" and {found.artefact_bytes:,} of artefacts" if found.artefact_bytes else ""
    lacking = {
        "responses": found.without_responses,
        "stability": found.without_stability,
        "calibration": found.without_calibration,
    }
    lines = [
        ("catalogue", found.url),
        ("directions", f"{found.lineages:,} lineages with {found.versions:,} versions"),
        ("published", f"{found.publications:,} publications, the newest commit is {found.commit}"),
        ("", f"{found.first:%Y-%m-%d %H:%M} to {found.last:%Y-%m-%d %H:%M} UTC"),
        ("size", f"{found.bytes:,} bytes{kept}"),
        ("generators", f"{_counts(found.generators)}; {found.fingerprints} fingerprints"),
        ("spaces", _counts(found.spaces)),
        ("methods", _counts(found.methods)),
        ("attributes", _counts(found.attributes)),
        ("artefacts", f"{found.artefacts:,}"),
        ("without", ", ".join(f"{name} {count:,}" for name, count in lacking.items())),
        ("tags", " ".join(found.tags) or "none"),
    ]
    if found.duplicates is not None:
        count, limit = found.duplicates.count, found.duplicates.limit
        pairs = f"{count:,} pair{'' if count == 1 else 's'} of |cosine| > {limit:g}"
        lines.append(("near-duplicates", pairs))
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    shown = [f"{name} {count:,}" for name, count in [*counts.items()][:_NAMED]]
    rest = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {rest:,} others" if rest else "")


def _near(duplicates: Duplicates | None) -> list[RenderableType]:
    if duplicates is None or not duplicates.pairs:
        return []
    table = columns({"direction": False, "all but": False, "cosine": True})
    for pair in duplicates.pairs[:_PAIRS]:
        table.add_row(pair.direction_id[:SHORT], pair.other[:SHORT], f"{pair.cosine:.5f}")
    return ["", table]

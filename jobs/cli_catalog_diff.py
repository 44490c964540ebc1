"""`lode catalog diff`: what was published between two commits or times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli_catalog_options import AsOfOption, CatalogOption, OutputOption
from jobs.cli_catalog_records import FIELDS, records, to_csv, to_json
from jobs.cli_catalog_tables import SHORT, columns, listing, number, show
from storage.catalog import Catalog

if TYPE_CHECKING:
    from rich.console import RenderableType

    from storage.differences import Difference, Replaced

_LINEAGE = ("generator_fingerprint", "space", "attribute", "method")
_IDS = ("change", "direction_id", "old_id", "version", "old_version", *_LINEAGE)
_SHOWN = {  # columns of a table, of the numbers that are compared
    **{"effect": "effect", "leak": "leak", "identity_cost": "identity"},
    **{"stability": "stability", "truth_cosine": "truth"},
}
_MOST = 100  # lines of each table


def diff(
    before: Annotated[
        str, typer.Argument(metavar="COMMIT|TIME", help="The other one, as for --as-of.")
    ],
    catalog: CatalogOption = None,
    as_of: AsOfOption = None,
    output: OutputOption = "table",
) -> None:
    """List what came since a commit or time: new directions, and those with a newer version.

    With --as-of, what came between the two. In CSV every number has a column for before as well.
    """
    opened = Catalog(catalog, as_of)
    found = opened.diff(before)
    added = records(found.added.table(), opened.tags())
    replaced = [_replaced(each) for each in found.replaced]
    if output == "json":
        head = {"before": found.before, "after": found.after, "published": found.published}
        typer.echo(to_json(head | {"added": added, "replaced": replaced}))
    elif output == "csv":
        typer.echo(_csv(added, replaced), nl=False)
    else:
        show(*_tables(found, added))


def _replaced(each: Replaced) -> dict[str, Any]:
    """A newer version as JSON has it; numbers as [before, now]."""
    return {
        **{"direction_id": each.new_id, "old_id": each.old_id},
        **{"version": each.new_version, "old_version": each.old_version},
        **dict(zip(_LINEAGE, each.lineage, strict=True)),
        "numbers": {name: list(pair) for name, pair in each.numbers.items()},
    }


def _csv(added: list[dict[str, Any]], replaced: list[dict[str, Any]]) -> str:
    from storage.differences import NUMBERS

    fields = (*_IDS, *(side + name for name in NUMBERS for side in ("old_", "")))
    rows = [dict.fromkeys(fields) | {"change": "added"} | _known(each, fields) for each in added]
    for each in replaced:
        pairs = each["numbers"].items()
        numbers = {f"old_{name}": old for name, (old, _) in pairs}
        numbers |= {name: new for name, (_, new) in pairs}
        ids = {name: each[name] for name in _IDS[1:]}
        rows.append(dict.fromkeys(fields) | {"change": "replaced"} | ids | numbers)
    return to_csv(fields, rows)


def _known(each: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: each[name] for name in FIELDS if name in fields}


def _tables(found: Difference, added: list[dict[str, Any]]) -> list[RenderableType]:
    versions = f"{found.published:,} version{'' if found.published == 1 else 's'}"
    tables: list[RenderableType] = [
        f"Commits {found.before} to {found.after}: {versions} published."
    ]
    if added:
        tables += ["", f"New: {len(added):,}", listing(added[:_MOST]), *_rest(len(added))]
    if found.replaced:
        tables += ["", f"With a newer version: {len(found.replaced):,}"]
        tables += [_changes(found.replaced[:_MOST]), *_rest(len(found.replaced))]
    return tables


def _rest(count: int) -> list[RenderableType]:
    return [f"{count - _MOST:,} more; --output json or csv show them."] if count > _MOST else []


def _changes(replaced: tuple[Replaced, ...]) -> RenderableType:
    shown = [n for n in _SHOWN if any(n in each.numbers for each in replaced)]
    heads = dict.fromkeys(("direction", "attribute", "space", "method"), False)
    heads |= dict.fromkeys(("v", *(_SHOWN[name] for name in shown)), True)
    table = columns(heads, kept=("direction",))
    for each in replaced:
        _, space, attribute, method = each.lineage
        cells = [_both(*each.numbers.get(name, (None, None))) for name in shown]
        versions = f"{each.old_version} > {each.new_version}"
        table.add_row(each.new_id[:SHORT], attribute, space, method, versions, *cells)
    return table


def _both(old: float | None, new: float | None) -> str:
    """One number where it is the same as before."""
    return number(new) if old == new else f"{number(old)} > {number(new)}"

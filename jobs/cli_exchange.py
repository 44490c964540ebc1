"""`lode catalog import`: directions that others made, into a catalogue.

`jobs.cli` adds `import` to the commands of `lode catalog`; from Python,
`storage.exchange.importing.import_cards` does the same.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jobs.cli_catalog_options import CatalogOption
from schemas.errors import InputError

if TYPE_CHECKING:
    from storage.exchange.importing import Imported

_MOST_LAYER = 255
_SHOWN = 20  # skipped files that a table names; JSON names all

PathArgument = Annotated[str, typer.Argument(metavar="PATH", help="A file, or a folder of files.")]
GeneratorOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="The generator that they are for.")
]
FingerprintOption = Annotated[
    str | None, typer.Option(metavar="HEX", help="Its fingerprint, as in its datasets.")
]
CheckpointOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|URL|NAME",
        help="Its checkpoint, from which name, licence, fingerprint follow.",
    ),
]
SpaceOption = Annotated[str | None, typer.Option(help="Their space: z, w, w+ or s.")]
AttributeOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="What a single direction moves.")
]
UnitOption = Annotated[str | None, typer.Option(help="The attribute's unit; 1 unless named.")]
MethodOption = Annotated[str | None, typer.Option(metavar="NAME", help="How they were found.")]
LicenceOption = Annotated[str | None, typer.Option(help="Of the directions themselves.")]
SourceOption = Annotated[
    str | None, typer.Option(metavar="URL", help="The repository or paper that they come from.")
]
LayersOption = Annotated[
    str | None, typer.Option(metavar="0-7", help="Rows of W+ that they move: 0-7 or 0,1,4-6.")
]


def import_(
    path: PathArgument,
    catalog: CatalogOption = None,
    generator: GeneratorOption = None,
    fingerprint: FingerprintOption = None,
    checkpoint: CheckpointOption = None,
    space: SpaceOption = None,
    attribute: AttributeOption = None,
    unit: UnitOption = None,
    method: MethodOption = None,
    licence: LicenceOption = None,
    source: SourceOption = None,
    layers: LayersOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be imported, and publish nothing.")
    ] = False,
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", help="How to print.")
    ] = "table",
) -> None:
    """Import directions of InterFaceGAN, e4e, PTI, GANSpace, micromotion and others, or a bundle.

    A folder is one commit. Nothing of a file is executed. What looks like no direction is said on
    stderr and in the card's notes; files that are none are listed with the reason.
    """
    from jobs.versions import code_version
    from storage.catalog import Catalog
    from storage.exchange.importing import import_cards

    if fingerprint and checkpoint:
        raise InputError("import: a fingerprint and a checkpoint came; expected one of the two.")
    rows = parse_layers(layers)
    about = _of_checkpoint(checkpoint) if checkpoint else {}
    opened = Catalog(catalog)
    imported = import_cards(
        opened,
        path,
        generator=generator or about.get("name"),
        fingerprint=fingerprint or about.get("fingerprint"),
        generator_licence=about.get("licence"),
        space=space,
        attribute=attribute,
        unit=unit,
        method=method,
        licence=licence,
        source=source,
        layers=rows,
        code_version=code_version(),
        dry_run=dry_run,
    )
    for file, said in imported.warnings:
        typer.echo(f"warning: {file}: {said}." if file else f"warning: {said}.", err=True)
    if output == "json":
        typer.echo(json.dumps(record(imported, opened.url, dry_run), indent=2, ensure_ascii=False))
    else:
        _tell(imported, opened.url, dry_run)


def parse_layers(text: str | None) -> tuple[int, ...]:
    """Rows of W+ from "0-7" or "0,1,4-6", ascending.

    Raises:
        InputError: it is something else, or a row is above 255.
    """
    if text is None:
        return ()
    rows: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,3})\s*(?:-\s*(\d{1,3})\s*)?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last <= _MOST_LAYER:
            raise InputError(
                f"import: layers {text!r} came; expected rows of W+ up to {_MOST_LAYER}, such as "
                "0-7 or 0,1,4-6."
            )
        rows.update(range(first, last + 1))
    return tuple(sorted(rows))


def record(imported: Imported, url: str, dry_run: bool) -> dict[str, Any]:
    """What an import did, as plain JSON."""
    new, published = set(imported.new), imported.publication
    return {
        "catalog": url,
        "dry_run": dry_run,
        "publication_id": published.publication_id if published else None,
        "commit": published.commit if published else None,
        "directions": [
            {
                "file": draft.file,
                "direction_id": draft.card.direction_id,
                "new": draft.card.direction_id in new,
                **{
                    name: getattr(draft.card, name)
                    for name in ("attribute", "method", "space", "generator", "licence", "source")
                },
                "generator_fingerprint": draft.card.generator_fingerprint,
                "shape": list(draft.card.vector.shape),
                "layers": list(draft.card.layers),
                "norm": draft.card.evidence.get("norm"),
                "warnings": list(draft.warnings),
            }
            for draft in imported.drafts
        ],
        "skipped": [{"file": each.file, "reason": each.reason} for each in imported.skipped],
        "warnings": [{"file": file, "warning": said} for file, said in imported.warnings],
    }


def _of_checkpoint(source: str) -> dict[str, str]:
    """The name, fingerprint and licence of the generator that a checkpoint makes on the CPU."""
    from mining.generators.checkpoints import read_checkpoint
    from mining.generators.registry import make_generator

    architecture = read_checkpoint(source).architecture
    made = make_generator(architecture, checkpoint=source, device="cpu")
    return {"name": made.name, "fingerprint": made.fingerprint(), "licence": made.licence}


def _tell(imported: Imported, url: str, dry_run: bool) -> None:
    """What was imported, file by file; then what was not."""
    from storage.exchange.found import text

    new = set(imported.new)
    files: dict[str, list[str]] = {}
    for draft in imported.drafts:
        card = draft.card
        state = "" if card.direction_id in new else ", there already"
        what = ", ".join(text(part, 80) for part in (card.attribute, card.space, card.method))
        line = f"{card.direction_id[:10]}  {what}{state}"
        files.setdefault(draft.file, []).append(line)
    for file, lines in files.items():
        typer.echo(file)
        shown = lines if len(lines) <= 4 else [*lines[:3], f"... {len(lines) - 3} more"]
        typer.echo("\n".join(f"  {line}" for line in shown))
    if imported.skipped:
        typer.echo(f"{len(imported.skipped)} not imported:")
        for each in imported.skipped[:_SHOWN]:
            typer.echo(f"  {each.file}: {each.reason}")
        if len(imported.skipped) > _SHOWN:
            typer.echo(f"  and {len(imported.skipped) - _SHOWN} more; --output json names all")
    there = len(imported.drafts) - len(new)
    did = "would be imported into" if dry_run else "imported into"
    commit = imported.publication.commit if imported.publication else None
    where = f"{url}, commit {commit}" if commit is not None else url
    count = f"{len(new)} direction{'' if len(new) == 1 else 's'}"
    typer.echo(f"{count} {did} {where}; {there} {'was' if there == 1 else 'were'} there already.")

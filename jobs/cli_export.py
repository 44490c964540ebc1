"""`lode catalog export`: directions as files that other tools read.

`jobs.cli` adds `export` to the commands of `lode catalog`; from Python,
`storage.exchange.exporting.export_cards` writes the same files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.cli_catalog_options import (
    AsOfOption,
    AttributeOption,
    CatalogOption,
    GeneratorOption,
    MethodOption,
    SpaceOption,
    VersionsOption,
    WhereOption,
)
from schemas.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from schemas.directions import DirectionCard
    from storage.catalog import Catalog
    from storage.exchange.bundle import Pictures
    from storage.exchange.exporting import Exported

Format = Literal["npy", "pt", "safetensors", "ganspace", "json", "bundle"]
LayoutName = Literal["interfacegan", "e4e", "stylegan3-editing", "ganspace"]
Scale = Literal["unit", "sigma", "calibration"]

_MOST_MEAN = 1 << 20  # bytes of a file with one latent

DirectionsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID|TAG]...",
        help="Ids, their first digits, or tags; none for all that match.",
        show_default=False,
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", help="What to write.")]
OutOption = Annotated[
    str, typer.Option("--out", metavar="PATH", help="Folder or URL; or the name of a single file.")
]
LayoutOption = Annotated[
    LayoutName | None,
    typer.Option(help="Check that this tool reads it; e4e is PTI's too.", show_default=False),
]
ScaleOption = Annotated[
    Scale, typer.Option(help="Length: norm 1, one natural step, or one unit of the attribute.")
]
RowsOption = Annotated[
    int | None, typer.Option(help="Repeat vectors of W to so many rows of W+; 18 at 1024 pixels.")
]
MeanOption = Annotated[
    str | None,
    typer.Option(metavar="FILE.npy", help="The generator's w_avg, for GANSpace's files."),
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", metavar="RUN", help="Take pictures for a bundle from this run's report."),
]


def export(
    form: FormatOption,
    out: OutOption,
    directions: DirectionsArgument = None,
    catalog: CatalogOption = None,
    attribute: AttributeOption = None,
    method: MethodOption = None,
    space: SpaceOption = None,
    generator: GeneratorOption = None,
    where: WhereOption = None,
    all_versions: VersionsOption = False,
    as_of: AsOfOption = None,
    layout: LayoutOption = None,
    scale: ScaleOption = "unit",
    rows: RowsOption = None,
    mean: MeanOption = None,
    run: RunOption = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files.")] = False,
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", help="How to print.")
    ] = "table",
) -> None:
    """Write directions as files for InterFaceGAN, e4e, PTI, stylegan3-editing, GANSpace or others.

    npy, pt and safetensors write a file for each direction; ganspace, json and bundle one for all.
    README.txt beside them says where they go in which tool, licences.json whose they are.
    """
    from storage import artefacts
    from storage.catalog import Catalog
    from storage.exchange.exporting import Options, export_cards

    if run is not None and form != "bundle":
        raise InputError(
            "export: pictures are part of a bundle; leave --run out, or --format bundle."
        )
    filters = {"attribute": attribute, "method": method, "space": space, "generator": generator}
    moment = int(as_of) if as_of is not None and as_of.isdecimal() else as_of
    found = Catalog(catalog, as_of=moment)
    cards = _chosen(found, directions or [], filters, where, all_versions)
    written = export_cards(
        cards,
        out,
        form,
        Options(layout, scale, rows, _mean(mean) if mean else None),
        force=force,
        artefact=lambda item: artefacts.read(found.url, item.sha256),
        pictures=_pictures(run, cards) if run else (),
    )
    _tell(written, len(cards), output)


def _chosen(
    catalog: Catalog,
    names: Sequence[str],
    filters: dict[str, str | None],
    where: str | None,
    all_versions: bool,
) -> list[DirectionCard]:
    """The named directions, or those that match; never none."""
    asked = [f"--{name}" for name, value in filters.items() if value is not None]
    asked += ["--where"] * (where is not None) + ["--all-versions"] * all_versions
    if names and asked:
        raise InputError(
            f"export: directions are named and also chosen by {', '.join(asked)}; expected one of "
            "the two."
        )
    if names:
        named = [catalog.get(name) for name in names]
        return list({(card.direction_id, card.version): card for card in named}.values())
    found = catalog.find(
        where,
        attribute=filters["attribute"],
        method=filters["method"],
        space=filters["space"],
        generator=filters["generator"],
        all_versions=all_versions,
    )
    if not found:
        raise InputError(f"export: no direction of {catalog.url} matches all of that.")
    return list(found)


def _pictures(run: str, cards: Sequence[DirectionCard]) -> list[Pictures]:
    """The strips of these directions in a run's report."""
    from jobs.report.files import load
    from storage.exchange.bundle import Pictures
    from storage.files import absolute

    ids = {card.direction_id for card in cards}
    found = [
        Pictures(
            strip.direction_id,
            strip.steps,
            tuple(tuple(picture.jpeg for picture in row) for row in strip.rows),
        )
        for strip in load(f"{absolute(run)}/results").strips
        if strip.direction_id in ids
    ]
    if not found:
        raise InputError(
            f"export: the report of {run} shows none of these directions; expected the run that "
            "published them. Name another, or leave --run out."
        )
    return found


def _mean(path: str) -> NDArray[np.float32]:
    """One latent from a .npy file, which may hold no pickle."""
    import numpy as np

    try:
        if Path(path).stat().st_size > _MOST_MEAN:
            raise InputError(f"export: {path} holds more than one latent; expected (D,).")
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"export: the mean {path} cannot be read: {error}.") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
        raise InputError(f"export: the mean {path} is no .npy file of floats; expected (D,).")
    return found.astype(np.float32)


def _tell(written: Exported, count: int, output: str) -> None:
    if output == "json":
        told = {name: getattr(written, name) for name in ("url", "files", "notes", "licences")}
        typer.echo(json.dumps(told | {"directions": count}, indent=2, ensure_ascii=False))
        return
    for name in written.files:
        typer.echo(f"{written.url}/{name}")
    typer.echo(f"{count} direction{'' if count == 1 else 's'} exported.")
    for line in written.notes:
        typer.echo(f"note: {line}")
    for line in written.licences:
        typer.echo(f"licence: {line}")

"""The options that the commands of `lode catalog` have in common."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from schemas.errors import InputError
from storage.catalog import CATALOG_VARIABLE, DEFAULT_CATALOG

Output = Literal["table", "json", "csv"]

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
AttributeOption = Annotated[str | None, typer.Option(help="Only this attribute.")]
MethodOption = Annotated[str | None, typer.Option(help="Only this method.")]
SpaceOption = Annotated[str | None, typer.Option(help="Only this space: z, w, w+ or s.")]
GeneratorOption = Annotated[
    str | None, typer.Option(help="Only this generator: its name or fingerprint (8 digits on).")
]
VersionsOption = Annotated[
    bool, typer.Option("--all-versions", help="Also versions that were replaced.")
]
AsOfOption = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="COMMIT|TIME",
        help="As it was after this commit, or at this time (ISO 8601; UTC unless it says).",
    ),
]
WhereOption = Annotated[
    str | None,
    typer.Option(metavar="CONDITION", help="Only those: 'smile >= 0.4, |age leak| <= 0.02'."),
]
OrderOption = Annotated[
    str | None,
    typer.Option(
        "--order-by", metavar="EXPRESSION", help="By this, the smallest first: 'leak', '|smile|'."
    ),
]
DescendingOption = Annotated[
    bool, typer.Option("--descending", help="With --order-by: the largest first.")
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="So many of them, the first.")
]


def _named(direction_id: str) -> str:
    if not direction_id.strip():
        raise InputError(
            "direction: the id is empty; expected the first digits of one. `lode catalog list` "
            "shows them."
        )
    return direction_id


DirectionArgument = Annotated[
    str, typer.Argument(help="Its id, the first digits of it, or a tag.", callback=_named)
]

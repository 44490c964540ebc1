"""What the commands of `lode edit` share: options, and how an edit is set up and written."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from jobs.cli_edit_checks import needed
from schemas.errors import InputError

if TYPE_CHECKING:
    from jobs.editing_images import Edited, Look
    from jobs.editing_latents import Given
    from jobs.editing_output import Target
    from jobs.editing_run import Studio

Output = Literal["table", "json"]
Method = Literal["analytic", "gradient"]
Hold = Literal["identity"]

RunOption = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="The run's folder or URL: its --out.")
]
OutOption = Annotated[
    str | None,
    typer.Option(
        "--out",
        metavar="FILE|FOLDER",
        help="A .png or .jpg strip, a .gif, a .mp4, or a folder of frames; a .json goes beside it.",
    ),
]
ControlOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="A control model, in place of the run's own.")
]
FramesOption = Annotated[
    int | None, typer.Option(min=2, help="Images of a row; the first is unedited but of a sweep.")
]
SizeOption = Annotated[int | None, typer.Option(min=8, help="Pixels of an image.")]
MethodOption = Annotated[
    Method, typer.Option(help="analytic: re-linearised steps; gradient: equation (15).")
]
HoldOption = Annotated[
    Hold | None, typer.Option(help="identity: hold what the trained face embedding reads.")
]
MeasureOption = Annotated[
    bool, typer.Option("--measure", help="Measure the first and the last image of each row.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what --out names.")]
AnotherOption = Annotated[
    bool,
    typer.Option(
        "--another-generator", help="Go on where the generator here is another than the run's."
    ),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]


class RunFirst(TyperGroup):
    """`lode edit RUN ...` is `lode edit --run RUN ...`, where RUN is no command's name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_run(args, self.commands))


class RunFirstCommand(TyperCommand):
    """`lode edit matrix RUN ...` is `lode edit matrix --run RUN ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_run(args, ()))


def _with_run(args: list[str], commands: Collection[str]) -> list[str]:
    first = args[0] if args else "-"
    named = first.startswith("-") or first in commands or "--run" in args
    return args if named else ["--run", *args]


def chosen_target(out: str | None, force: bool) -> Target:
    """What --out names."""
    from jobs.editing_output import target_of

    return target_of(needed("--out FILE", out), force)


def chosen_look(
    studio: Studio,
    target: Target,
    frames: int | None,
    size: int | None,
    method: Method,
    hold: str | None,
) -> Look:
    """The frames and the size that fit the file, unless asked for."""
    from jobs.editing_images import Look
    from jobs.editing_output import FRAMES, WIDEST

    most = studio.generator.resolution
    if size is not None and size > most:
        raise InputError(
            f"lode edit: --size {size} came; the generator makes images of {most} pixels, and they "
            "are never enlarged."
        )
    chosen = size or min(most, WIDEST[target.kind])
    return Look(frames or FRAMES[target.kind], chosen, method, hold is not None)


def chosen_latents(studio: Studio, seeds: Sequence[int] | None, latent: str | None) -> Given:
    """The latents to edit, of a file or of seeds."""
    from jobs.editing_latents import of_file, of_seeds

    if latent is not None:
        return of_file(studio.generator, studio.manifest, latent)
    return of_seeds(studio.generator, studio.manifest, seeds or ())


def finish(
    studio: Studio, given: Given, edited: Edited, target: Target, measure: bool, output: Output
) -> None:
    """Write the files and print what they are."""
    from jobs.editing_images import measure_ends
    from jobs.editing_output import write
    from jobs.editing_words import measured_line, row_line

    rows = [dict(row) for row in edited.rows]
    if measure:
        for row, found in zip(rows, measure_ends(studio, given, edited), strict=True):
            row["measured"] = found
    about = {
        "run": studio.url,
        "generator": studio.generator.name,
        "generator_fingerprint": studio.generator.fingerprint(),
        "licence": studio.generator.licence,
        **edited.about,
        "notes": list(edited.notes),
    }
    files = write(target, edited, {**about, "rows": rows})
    said = {"out": target.url, "record": files[-1], **about}
    for alarm in edited.alarms:
        typer.echo(f"warning: {alarm}", err=True)
    if output == "json":
        brief = [_brief(row) for row in rows]
        told = {**said, "rows": brief}
        typer.echo(json.dumps(told, indent=1, allow_nan=False, ensure_ascii=False))
        return
    for name in ("out", "record"):
        typer.echo(f"{name:<9} {said[name]}")
    for title, row in zip(edited.titles, rows, strict=True):
        typer.echo(row_line(title, row))
        for name, ends in row.get("measured", {}).items():
            typer.echo(measured_line(name, *ends))
    for note in [note for note in edited.notes if note not in edited.alarms]:
        typer.echo(f"note: {note}")


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    """A row's record as it is printed: no landmarks, codes and parameters of both ends alone."""
    ways = {name: row[name] for name in ("codes", "parameters") if name in row}
    ends = {name: [way[0], way[-1]] for name, way in ways.items()}
    return {**{name: told for name, told in row.items() if name != "landmarks"}, **ends}

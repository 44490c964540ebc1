"""`lode edit`: pictures of a generator's images edited by codes, or along a direction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from jobs.cli_edit_checks import check_by, check_from, check_one, check_way, ends_of, needed
from schemas.errors import InputError

if TYPE_CHECKING:
    from jobs.editing_images import Edited, Look
    from jobs.editing_latents import Given
    from jobs.editing_output import Target
    from jobs.editing_run import Studio

Output = Literal["table", "json"]
Method = Literal["analytic", "gradient"]
Unit = Literal["norm", "sigma", "attribute"]
Hold = Literal["identity"]
Codes = Literal["regressor", "landmarks"]


class RunFirst(TyperGroup):
    """`lode edit RUN ...` is `lode edit --run RUN ...`, where RUN is no command's name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else "-"
        if not first.startswith("-") and first not in self.commands and "--run" not in args:
            args = ["--run", *args]
        return super().parse_args(ctx, args)


edit_app = typer.Typer(cls=RunFirst, invoke_without_command=True, rich_markup_mode=None)

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


@edit_app.callback()
def edit(
    context: typer.Context,
    run: RunOption = None,
    q: Annotated[
        str | None,
        typer.Option(
            "--q", metavar="CHANGES", help="Codes: 'yaw=20, pitch+=5, alpha_3=-2..2s'; see above."
        ),
    ] = None,
    attribute: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --by: what is moved, by its best direction."),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="AMOUNT|RANGE", help="How far: 10deg, -5deg..5deg, 0.1, 1.5s."),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=0, max=20, help="With --by: measurements of an end; 0 for none."),
    ] = None,
    direction: Annotated[
        str | None,
        typer.Option(metavar="ID|TAG|ATTRIBUTE", help="Of the catalogue: the best, by attribute."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="END|START,END", help='With --direction: how far, "2" or "-2,2".'),
    ] = None,
    unit: Annotated[
        Unit | None,
        typer.Option(help="What --to counts: natural steps (sigma), norms, or the attribute."),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="An image; may be repeated.")] = None,
    latent: Annotated[
        str | None, typer.Option(metavar="FILE.npy", help="Latents of W or W+, for --seed.")
    ] = None,
    out: OutOption = None,
    frames: FramesOption = None,
    size: SizeOption = None,
    method: MethodOption = "analytic",
    hold: HoldOption = None,
    control: ControlOption = None,
    catalog: Annotated[
        str | None, typer.Option(metavar="URL", help="A catalogue, in place of the run's own.")
    ] = None,
    measure: MeasureOption = False,
    another_generator: AnotherOption = False,
    force: ForceOption = False,
    output: OutputOption = "table",
) -> None:
    """Edit images of a run's generator: by codes, along a direction, or from one to another.

    --attribute yaw --by 10deg changes an attribute by an amount in its own unit: deg for degrees,
    s for the attribute's spreads, or none; -20deg..20deg is a sweep. What comes of it is measured
    and the step corrected, for each image by itself.

    --q: codes are pitch, yaw and roll in degrees, t_x and t_y in fractions of the image, alpha_0,
    alpha_1 ... and k11, k12, k22. = says what a code becomes, += and -= change it; a value such
    as 2s counts the code's spreads, from its mean after =. A range such as yaw=-20..20 is a sweep:
    the frames go from the one to the other.
    """
    if context.invoked_subcommand is not None:
        return
    from jobs.editing import edit_along, edit_codes
    from jobs.editing_by import ROUNDS, edit_by
    from jobs.editing_run import open_studio
    from mining.editing.amount import parse_amount
    from mining.editing.request import parse_request

    check_way(q, direction, attribute)
    check_by(by, attribute, q, to, unit, rounds)
    request = None if q is None else parse_request(q)
    amount = None if by is None else parse_amount(by)
    ends = ends_of(to, direction or attribute, unit, method, hold)
    target = _target(out, force)
    check_one(seed, latent)
    studio = open_studio(needed("--run RUN", run), control, catalog, another_generator)
    look = _look(studio, target, frames, size, method, hold)
    given, named = _given(studio, seed, latent), str(attribute or direction)
    if request is not None:
        edited = edit_codes(studio, given, request, look)
    elif amount is not None:
        card = studio.calibrated(named)
        times = ROUNDS if rounds is None else rounds
        edited = edit_by(studio, given, card, amount.ends(card), look, times, another_generator)
    else:
        card = studio.direction(named)
        edited = edit_along(studio, given, card, ends, unit or "sigma", look, another_generator)
    _finish(studio, given, edited, target, measure, output)


@edit_app.command()
def transfer(
    run: RunOption = None,
    from_: Annotated[
        int | None, typer.Option("--from", metavar="SEED", help="Whose attributes are copied.")
    ] = None,
    from_image: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A photo, .jpg or .png, whose attributes are copied."),
    ] = None,
    to: Annotated[
        list[int] | None, typer.Option(metavar="SEED", help="Who gets them; may be repeated.")
    ] = None,
    parts: Annotated[
        str, typer.Option(metavar="A,B", help="Of pose, shape, place and camera.")
    ] = "pose,shape",
    codes: Annotated[
        Codes | None,
        typer.Option(
            help="The copied codes: of the latent, or fitted to its image's landmarks, as a "
            "photo's always are.",
            show_default="regressor",
        ),
    ] = None,
    out: OutOption = None,
    frames: FramesOption = None,
    size: SizeOption = None,
    method: MethodOption = "analytic",
    hold: HoldOption = None,
    control: ControlOption = None,
    measure: MeasureOption = False,
    another_generator: AnotherOption = False,
    force: ForceOption = False,
    output: OutputOption = "table",
) -> None:
    """Give images the pose, the shape, the place or the camera of another one, the last column."""
    from jobs.editing import transfer_codes
    from jobs.editing_run import open_studio
    from jobs.editing_sources import source_of_latent, source_of_photo
    from mining.editing.transfer import asked_of

    named = [part.strip() for part in parts.split(",") if part.strip()]
    asked_of(named, 8)
    check_from(from_, from_image, to, codes)
    target = _target(out, force)
    studio = open_studio(needed("--run RUN", run), control, None, another_generator)
    look, model = _look(studio, target, frames, size, method, hold), studio.control()
    given = _given(studio, to, None)
    if from_image is not None:
        source = source_of_photo(studio, model, from_image, look.size)
    else:
        other = _given(studio, [from_ or 0], None)
        source = source_of_latent(studio, model, other, look.size, codes == "landmarks")
    edited = transfer_codes(studio, model, given, source, named, look)
    _finish(studio, given, edited, target, measure, output)


def _target(out: str | None, force: bool) -> Target:
    from jobs.editing_output import target_of

    return target_of(needed("--out FILE", out), force)


def _look(
    studio: Studio,
    target: Target,
    frames: int | None,
    size: int | None,
    method: Method,
    hold: str | None,
) -> Look:
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


def _given(studio: Studio, seeds: Sequence[int] | None, latent: str | None) -> Given:
    from jobs.editing_latents import of_file, of_seeds

    if latent is not None:
        return of_file(studio.generator, studio.manifest, latent)
    return of_seeds(studio.generator, studio.manifest, seeds or ())


def _finish(
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
        brief = [{k: v for k, v in row.items() if k not in ("landmarks", "codes")} for row in rows]
        ends = [row["codes"][:: len(row["codes"]) - 1] if "codes" in row else [] for row in rows]
        brief = [{**row, "codes": end} for row, end in zip(brief, ends, strict=True)]
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

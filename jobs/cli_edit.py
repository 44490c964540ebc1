"""`lode edit`: pictures of a generator's images edited by codes, or along a direction."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from jobs.cli_edit_checks import check_by, check_from, check_one, check_way, ends_of, needed
from jobs.cli_edit_matrix import matrix
from jobs.cli_edit_options import (
    AnotherOption,
    ControlOption,
    ForceOption,
    FramesOption,
    HoldOption,
    MeasureOption,
    MethodOption,
    OutOption,
    OutputOption,
    RunFirst,
    RunFirstCommand,
    RunOption,
    SizeOption,
    chosen_latents,
    chosen_look,
    chosen_target,
    finish,
)

Unit = Literal["norm", "sigma", "attribute"]
Codes = Literal["regressor", "landmarks"]

edit_app = typer.Typer(cls=RunFirst, invoke_without_command=True, rich_markup_mode=None)
edit_app.command(cls=RunFirstCommand)(matrix)


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
    target = chosen_target(out, force)
    check_one(seed, latent)
    studio = open_studio(needed("--run RUN", run), control, catalog, another_generator)
    look = chosen_look(studio, target, frames, size, method, hold)
    given, named = chosen_latents(studio, seed, latent), str(attribute or direction)
    if request is not None:
        edited = edit_codes(studio, given, request, look)
    elif amount is not None:
        card = studio.calibrated(named)
        times = ROUNDS if rounds is None else rounds
        edited = edit_by(studio, given, card, amount.ends(card), look, times, another_generator)
    else:
        card = studio.direction(named)
        edited = edit_along(studio, given, card, ends, unit or "sigma", look, another_generator)
    finish(studio, given, edited, target, measure, output)


@edit_app.command(cls=RunFirstCommand)
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
    target = chosen_target(out, force)
    studio = open_studio(needed("--run RUN", run), control, None, another_generator)
    look, model = chosen_look(studio, target, frames, size, method, hold), studio.control()
    given = chosen_latents(studio, to, None)
    if from_image is not None:
        source = source_of_photo(studio, model, from_image, look.size)
    else:
        other = chosen_latents(studio, [from_ or 0], None)
        source = source_of_latent(studio, model, other, look.size, codes == "landmarks")
    edited = transfer_codes(studio, model, given, source, named, look)
    finish(studio, given, edited, target, measure, output)

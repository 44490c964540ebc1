"""`lode edit matrix`: pose and expression changed together, or taken from another latent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli_edit_checks import check_matrix, check_one, needed
from jobs.cli_edit_options import (
    AnotherOption,
    ForceOption,
    FramesOption,
    MeasureOption,
    OutOption,
    OutputOption,
    RunOption,
    SizeOption,
    chosen_latents,
    chosen_look,
    chosen_target,
    finish,
)
from schemas.errors import InputError

if TYPE_CHECKING:
    from jobs.editing_latents import Given
    from jobs.editing_run import Studio


def matrix(
    run: RunOption = None,
    change: Annotated[
        str | None,
        typer.Option(metavar="CHANGES", help="'yaw+=10, smile+=1.5', 'yaw=20' or 'yaw=-20..20'."),
    ] = None,
    from_seed: Annotated[
        int | None, typer.Option(metavar="SEED", help="Whose pose and expression are taken.")
    ] = None,
    from_latent: Annotated[
        str | None, typer.Option(metavar="FILE.npy", help="A latent of W or W+, in its place.")
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="What is taken: pose, expression, or parameters by name.",
            show_default="pose,expression",
        ),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="An image; may be repeated.")] = None,
    latent: Annotated[
        str | None, typer.Option(metavar="FILE.npy", help="Latents of W or W+, for --seed.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--matrix", metavar="FILE", help="A matrix, in place of the run's own."),
    ] = None,
    out: OutOption = None,
    frames: FramesOption = None,
    size: SizeOption = None,
    measure: MeasureOption = False,
    another_generator: AnotherOption = False,
    force: ForceOption = False,
    output: OutputOption = "table",
) -> None:
    """Change pose and expression by a direction matrix, several parameters in one step.

    --change: += and -= change a parameter, = says what it becomes as the matrix reads it; a range
    is a sweep. Angles are in degrees, expressions in the unit of the matrix. --from-seed and
    --from-latent take the parameters of another image, the last column.
    """
    from jobs.editing_learned import (
        PARTS,
        SYNTAX,
        check_request,
        edit_matrix,
        matrix_of_run,
        names_of,
        transfer_matrix,
    )
    from jobs.editing_run import open_studio
    from mining.editing.request import parse_request

    check_matrix(change, from_seed, from_latent, parts)
    request = None if change is None else parse_request(change, SYNTAX)
    named = [part.strip() for part in (parts or ",".join(PARTS)).split(",") if part.strip()]
    target = chosen_target(out, force)
    check_one(seed, latent)
    studio = open_studio(needed("--run RUN", run), None, None, another_generator)
    opened = matrix_of_run(studio, file)
    check_request(opened, request) if request else names_of(opened, named)
    look = chosen_look(studio, target, frames, size, "analytic", None)
    given = chosen_latents(studio, seed, latent)
    if request is not None:
        edited = edit_matrix(studio, opened, given, request, look)
    else:
        source = _source(studio, from_seed, from_latent)
        edited = transfer_matrix(studio, opened, given, source, named, look)
    finish(studio, given, edited, target, measure, output)


def _source(studio: Studio, seed: int | None, file: str | None) -> Given:
    """The one latent whose parameters are taken."""
    source = chosen_latents(studio, None if seed is None else [seed], file)
    if len(source) != 1:
        raise InputError(
            f"lode edit matrix: --from-latent {file} holds {len(source)} latents, expected one."
        )
    return source

"""`lode edit`: pictures of a generator's images edited by codes, or along a direction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

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
Source = Literal["regressor", "landmarks"]

edit_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

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
    int | None, typer.Option(min=2, help="Images of a row, the unedited one among them.")
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
            "--q", metavar="CHANGES", help="Codes: 'yaw=20, pitch+=5, alpha_3=2s'; see above."
        ),
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

    --q: codes are pitch, yaw and roll in degrees, t_x and t_y in fractions of the image, alpha_0,
    alpha_1 ... and k11, k12, k22. = says what a code becomes, += and -= change it; a value such
    as 2s counts the code's spreads, from its mean after =.
    """
    if context.invoked_subcommand is not None:
        return
    from jobs.editing import edit_along, edit_codes
    from jobs.editing_run import open_studio
    from mining.editing.request import parse_request

    if (q is None) == (direction is None):
        came = "both --q and --direction" if q is not None else "neither --q nor --direction"
        raise InputError(f"lode edit: {came} came; expected one of them. See `lode edit --help`.")
    request = None if q is None else parse_request(q)
    ends = _ends(to, direction, unit, method, hold)
    target = _target(out, force)
    _check_one(seed, latent)
    studio = open_studio(_needed("--run RUN", run), control, catalog, another_generator)
    look = _look(studio, target, frames, size, method, hold)
    given = _given(studio, seed, latent)
    if request is not None:
        edited = edit_codes(studio, given, request, look)
    else:
        card = studio.direction(str(direction))
        edited = edit_along(studio, given, card, ends, unit or "sigma", look, another_generator)
    _finish(studio, given, edited, target, measure, output)


@edit_app.command()
def transfer(
    run: RunOption = None,
    from_: Annotated[
        int | None, typer.Option("--from", metavar="SEED", help="Whose attributes are copied.")
    ] = None,
    to: Annotated[
        list[int] | None, typer.Option(metavar="SEED", help="Who gets them; may be repeated.")
    ] = None,
    parts: Annotated[
        str, typer.Option(metavar="A,B", help="Of pose, shape, place and camera.")
    ] = "pose,shape",
    codes: Annotated[
        Source,
        typer.Option(help="The copied codes: of the latent, or fitted to its image's landmarks."),
    ] = "regressor",
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
    from mining.editing.transfer import asked_of

    named = [part.strip() for part in parts.split(",") if part.strip()]
    asked_of(named, 8)
    if from_ is None or not to:
        missing = "--from SEED" if from_ is None else "--to SEED"
        raise InputError(f"lode edit transfer: no {missing} came; expected both of them.")
    target = _target(out, force)
    studio = open_studio(_needed("--run RUN", run), control, None, another_generator)
    look = _look(studio, target, frames, size, method, hold)
    source, given = _given(studio, [from_], None), _given(studio, to, None)
    edited = transfer_codes(studio, given, source, named, look, codes == "landmarks")
    _finish(studio, given, edited, target, measure, output)


def _needed(option: str, value: str | None) -> str:
    if not value:
        raise InputError(f"lode edit: no {option} came; see `lode edit --help`.")
    return value


def _check_one(seeds: Sequence[int] | None, latent: str | None) -> None:
    if bool(seeds) == (latent is not None):
        came = "both --seed and --latent" if seeds else "neither --seed nor --latent"
        raise InputError(f"lode edit: {came} came; expected one of them.")


def _ends(
    to: str | None, direction: str | None, unit: str | None, method: str, hold: str | None
) -> tuple[float, float]:
    """The first and the last step along a direction; what belongs to the other way is refused."""
    if direction is None:
        if to is not None or unit is not None:
            raise InputError("lode edit: --to and --unit belong to --direction; with --q, say it.")
        return 0.0, 0.0
    if method != "analytic" or hold is not None:
        raise InputError("lode edit: --method and --hold belong to --q, not to --direction.")
    words = ("2" if to is None else to).split(",")
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise InputError(f'lode edit: --to {to!r} came; expected such as "2" or "-2,2".')
    return (0.0, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _target(out: str | None, force: bool) -> Target:
    from jobs.editing_output import target_of

    return target_of(_needed("--out FILE", out), force)


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
        typer.echo(_line(title, row))
        for name, (first, last) in row.get("measured", {}).items():
            typer.echo(f"  measured {name:<24} {_number(first)} -> {_number(last)}")
    for note in edited.notes:
        typer.echo(f"note: {note}")


def _line(title: str, row: dict[str, Any]) -> str:
    """A row's title, and which of the other codes moved most by the way."""
    moved = row.get("moved_spreads", {})
    others = {name: by for name, by in moved.items() if name not in row["asked"]}
    if not others:
        return title
    most = sorted(others, key=lambda name: abs(others[name]), reverse=True)[:2]
    told = ", ".join(f"{name} {others[name]:+.2f}" for name in most)
    return f"{title}; of the rest most, in spreads: {told}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"

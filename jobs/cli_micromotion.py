"""`lode micromotion`: ablations of a run's micromotions, and anchors by text or by frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.cli_micromotion_cards import (
    CatalogOption,
    DecompositionOption,
    LayersOption,
    OutputOption,
    ReadingOption,
    RunArgument,
    SeedOption,
    VectorOption,
    check_places,
    finish,
    motion_of,
)
from jobs.cli_micromotion_text import templates, text
from schemas.errors import InputError

if TYPE_CHECKING:
    from mining.evaluation.micromotion_ablation import Ablation

Inverter = Literal["ridge", "optimise"]

micromotion_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Directions from one identity's anchors: ablations, and anchors by text or by frames.",
)

micromotion_app.command()(text)
micromotion_app.command()(templates)


@micromotion_app.command()
def ablation(
    run: RunArgument,
    attribute: Annotated[list[str], typer.Option(help="Measured; may be repeated.")],
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Folder or URL for ablation.html, .json and .csv.")
    ],
    anchors: Annotated[str, typer.Option(metavar="A-B|A,B", help="Anchors to try.")] = "1-16",
    identities: Annotated[str, typer.Option(metavar="A-B|A,B", help="And identities.")] = "1-10",
    repeats: Annotated[int, typer.Option(min=1, help="Draws of identities for a mean.")] = 5,
    damaged: Annotated[float, typer.Option(help="Share of anchors that are damaged.")] = 0.25,
    strength: Annotated[float, typer.Option(help="Of the damage, in longest moves.")] = 2.0,
    control: Annotated[
        str | None, typer.Option(metavar="FILE", help="A control model, not the run's own.")
    ] = None,
    seed: SeedOption = 0,
    output: OutputOption = "table",
) -> None:
    """Vary anchors, identities, decomposition and reading; write plots and numbers.

    Reads the run's dataset and its control model. What is measured is the cosine to the true
    direction where the generator knows it, else to what the most anchors give. Every setting is
    tried on the anchors as they are, and with some of them damaged.
    """
    from jobs.micromotion import run_ablations
    from jobs.micromotion_output import check_folder, document, write
    from jobs.micromotion_run import open_run, run_control
    from mining.evaluation.micromotion_ablation import AblationConfig
    from storage.files import absolute

    config = AblationConfig(
        counts_of("--anchors", anchors),
        counts_of("--identities", identities),
        repeats,
        damaged,
        strength,
        seed=seed,
    )
    folder = absolute(out)
    check_folder(folder)
    opened = open_run(run)
    model = run_control(opened, control)
    found = run_ablations(opened, model, list(dict.fromkeys(attribute)), config)
    places = write(found, config, opened.dataset, folder)
    if output == "json":
        typer.echo(json.dumps(document(found, config, opened.dataset), indent=1, allow_nan=False))
        return
    for line in [*summary(found), "", *places]:
        typer.echo(line)


@micromotion_app.command()
def frames(
    run: RunArgument,
    source: Annotated[
        list[str], typer.Option("--from", metavar="FILE|FOLDER", help="Images or films; repeat.")
    ],
    attribute: Annotated[str, typer.Option(help="Measured in each frame: its degree.")] = "yaw",
    most: Annotated[int, typer.Option(min=3, help="Frames of a film.")] = 16,
    inverter: Annotated[
        Inverter, typer.Option(help="ridge, from the dataset; optimise: StyleGAN2 and such.")
    ] = "ridge",
    decomposition: DecompositionOption = "robust_pca",
    reading: ReadingOption = "component",
    layers: LayersOption = "whole",
    seed: SeedOption = 0,
    catalog: CatalogOption = None,
    out: VectorOption = None,
    output: OutputOption = "table",
) -> None:
    """Mine a direction from frames of one person: each is inverted, and its degree measured."""
    from jobs.micromotion import mine_frames
    from jobs.micromotion_frames import read_frames
    from jobs.micromotion_run import open_run
    from mining.stored import seen_size

    motion = motion_of(decomposition, reading, layers, "matrix", seed)
    check_places(out, catalog)
    opened = open_run(run)
    opened.scores(attribute)
    images = read_frames(source, seen_size(opened.dataset.manifest), most)
    card = mine_frames(opened, images, attribute, motion, inverter)
    finish(card, catalog, out, output)


def counts_of(option: str, text: str) -> tuple[int, ...]:
    """The whole numbers of "1-16" or "1,2,4"."""
    found: list[int] = []
    try:
        for part in text.split(","):
            first, sign, last = part.partition("-")
            ends = int(first), int(last) if sign else int(first)
            if not 1 <= ends[0] <= ends[1] <= 100:
                raise ValueError
            found += range(ends[0], ends[1] + 1)
    except ValueError:
        raise InputError(
            f"lode micromotion: {option} {text[:80]!r} came; expected counts from 1 to 100, such "
            "as 1-16 or 1,4,16."
        ) from None
    return tuple(found)


def summary(found: Sequence[Ablation]) -> list[str]:
    """A table of cosines with the most anchors, and where more bring no more."""
    from jobs.report.ablation_page import saturation

    lines = []
    for each in found:
        lines += ["", f"{each.attribute}: cosine to {each.reference}"]
        for damaged in (False, True):
            mine = [point for point in each.points if point.damaged == damaged]
            tried = [point for point in mine if point.study == "anchors"]
            if not tried:
                continue
            most = max(point.anchors for point in tried)
            cosines = [
                f"{point.decomposition} {point.cosine:.3f}"
                for point in tried
                if point.anchors == most
            ]
            state = "damaged" if damaged else "clean"
            least = saturation(mine)
            lines.append(f"  {state:<8} {most} anchors: {', '.join(cosines)}; enough: {least}")
    return lines[1:]

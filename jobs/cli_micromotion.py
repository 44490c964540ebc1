"""`lode micromotion`: ablations of a run's micromotions, and anchors by text or by frames."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from schemas.errors import InputError

if TYPE_CHECKING:
    from mining.evaluation.micromotion_ablation import Ablation
    from mining.methods.anchor_motion import MotionConfig
    from schemas.directions import DirectionCard

Output = Literal["table", "json"]
Decomposition = Literal["robust_pca", "pca", "none"]
Reading = Literal["component", "regression", "last_minus_first"]
Layers = Literal["whole", "each"]
Pooling = Literal["matrix", "mean"]
Degrees = Literal["percent", "words"]
Inverter = Literal["ridge", "optimise"]

micromotion_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Directions from one identity's anchors: ablations, and anchors by text or by frames.",
)

RunArgument = Annotated[str, typer.Argument(help="The run's folder or URL (its --out).")]
DecompositionOption = Annotated[Decomposition, typer.Option(help="What cleans the anchors.")]
ReadingOption = Annotated[
    Reading, typer.Option(help="How the motion is read; last_minus_first: as released.")
]
LayersOption = Annotated[Layers, typer.Option(help="Of W+: one matrix, or each row its own.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**63 - 1)]
CatalogOption = Annotated[
    str | None, typer.Option(metavar="URL", help="Publish the direction there.")
]
VectorOption = Annotated[
    str | None, typer.Option(metavar="FILE.npy", help="Write the vector there.")
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]


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
    from jobs.micromotion import open_run, run_ablations, run_control
    from jobs.micromotion_output import check_folder, document, write
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
def text(
    run: RunArgument,
    clip: Annotated[
        str, typer.Option(metavar="FOLDER", help="A CLIP model as save_pretrained writes it.")
    ],
    attribute: Annotated[
        str, typer.Option(help="smile, angry, eyes_closed, ageing, or any with --template.")
    ],
    template: Annotated[
        str | None, typer.Option(help='A sentence with {}: "person with {} smile".')
    ] = None,
    degrees: Annotated[Degrees, typer.Option(help="no, 10% ... 100%; or no ... big.")] = "percent",
    identities: Annotated[int, typer.Option(min=1, help="1: the mean latent.")] = 1,
    space: Annotated[Literal["w", "w+"], typer.Option(help="Latents that are optimised.")] = "w+",
    steps: Annotated[int, typer.Option(min=1, help="Of the optimiser.")] = 40,
    compat: Annotated[
        bool, typer.Option("--compat", help="Anchors as released: the full degree is lost.")
    ] = False,
    device: Annotated[str, typer.Option(help="Of the CLIP model: cpu, cuda or auto.")] = "cpu",
    decomposition: DecompositionOption = "robust_pca",
    reading: ReadingOption = "component",
    layers: LayersOption = "each",
    pooling: Annotated[Pooling, typer.Option(help="Of several identities.")] = "matrix",
    seed: SeedOption = 0,
    catalog: CatalogOption = None,
    out: VectorOption = None,
    output: OutputOption = "table",
) -> None:
    """Mine a direction whose anchors are optimised until CLIP finds them to fit a sentence.

    Where no gradient passes the generator (head), an evolution strategy takes its place: expect
    some 700 images for an anchor.
    """
    from jobs.micromotion import mine_text, open_run
    from mining.methods.clip_scorer import ClipScorer
    from mining.methods.text_anchors import TEMPLATES, TextConfig, check_template
    from schemas.registry import unknown

    if template is None and attribute not in TEMPLATES:
        raise unknown("attribute with a sentence of its own (or give --template)", attribute,
                      TEMPLATES)  # fmt: skip
    sentence = template or TEMPLATES[attribute]
    check_template(sentence)
    config = TextConfig(degrees=degrees, steps=steps, compat=compat, seed=seed)
    motion = _motion(decomposition, reading, layers, pooling, seed)
    _check_place(out)
    opened = open_run(run)
    scorer = ClipScorer(clip, device)
    card = mine_text(opened, scorer, attribute, sentence, config, motion, identities, space)
    _finish(card, catalog, out, output)


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
    from jobs.micromotion import mine_frames, open_run
    from jobs.micromotion_frames import read_frames
    from mining.stored import seen_size

    motion = _motion(decomposition, reading, layers, "matrix", seed)
    _check_place(out)
    opened = open_run(run)
    opened.scores(attribute)
    images = read_frames(source, seen_size(opened.dataset.manifest), most)
    card = mine_frames(opened, images, attribute, motion, inverter)
    _finish(card, catalog, out, output)


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


def _motion(
    decomposition: Decomposition, reading: Reading, layers: Layers, pooling: Pooling, seed: int
) -> MotionConfig:
    from mining.methods.anchor_motion import MotionConfig

    return MotionConfig(decomposition, reading, layers, pooling, seed=seed)


def _check_place(out: str | None) -> None:
    from pathlib import Path

    if out is not None and (not out or Path(out).exists()):
        raise InputError(
            f"lode micromotion: --out {out!r} came; expected a new file, such as smile.npy."
        )


def _finish(card: DirectionCard, catalog: str | None, out: str | None, output: Output) -> None:
    """Publish, write and print."""
    publication = None
    if catalog:
        from storage.catalog import Catalog

        publication = Catalog(catalog).publish([card]).publication_id
    if out is not None:
        _write(card, out)
    said = _facts(card, out, publication)
    if output == "json":
        typer.echo(json.dumps(said, indent=2, ensure_ascii=False))
        return
    width = max(map(len, said))
    for key, value in said.items():
        if value is not None:
            typer.echo(f"{key:<{width}}  {value}")


def _write(card: DirectionCard, out: str) -> None:
    import io

    import numpy as np

    from storage.files import Store, absolute

    content = io.BytesIO()
    np.save(content, card.vector, allow_pickle=False)
    folder, _, name = absolute(out).rpartition("/")
    if not Store(folder or "/").create(name, content.getvalue()):
        raise InputError(f"lode micromotion: {out} is there already; choose another --out.")


def _facts(card: DirectionCard, out: str | None, publication: str | None) -> dict[str, Any]:
    known = {"slope": card.slope, "sigma": card.sigma, "truth_cosine": card.truth_cosine}
    numbers = {**known, **card.evidence}
    return {
        "direction": card.direction_id,
        "attribute": card.attribute,
        "unit": card.unit,
        "method": card.method,
        "space": card.space,
        **{
            name: None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
            for name, value in numbers.items()
        },
        "file": out,
        "publication": publication,
    }

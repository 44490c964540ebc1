"""`lode micromotion text` and `templates`: directions that a sentence names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.cli_micromotion_cards import (
    CatalogOption,
    DecompositionOption,
    LayersOption,
    OutputOption,
    PoolingOption,
    ReadingOption,
    RunArgument,
    SeedOption,
    VectorOption,
    check_places,
    create,
    finish,
    motion_of,
)
from schemas.errors import InputError

if TYPE_CHECKING:
    from mining.editing.image_networks import ImageNetwork

Degrees = Literal["percent", "words", "tens", "sizes"]
Space = Literal["w", "w+"]

ClipOption = Annotated[
    str, typer.Option(metavar="FOLDER", help="A CLIP model as save_pretrained writes it.")
]
AttributeOption = Annotated[
    str, typer.Option(help="smile, angry, eyes_closed, ageing, or any with --template.")
]
IdentitiesOption = Annotated[int, typer.Option(min=1, help="1: the mean latent.")]
SpaceOption = Annotated[Space, typer.Option(help="Latents that are optimised.")]
StepsOption = Annotated[int, typer.Option(min=1, help="Of the optimiser.")]
LatentWeightOption = Annotated[float, typer.Option(help="Of the squared way from the start.")]
IdentityOption = Annotated[
    str | None,
    typer.Option(metavar="FILE.onnx", help="An ArcFace network: holds the face as the start's."),
]
IdentityWeightOption = Annotated[float, typer.Option(help="Of 1 - cosine, with --identity.")]
DeviceOption = Annotated[str, typer.Option(help="Of the CLIP model: cpu, cuda or auto.")]


def text(
    run: RunArgument,
    clip: ClipOption,
    attribute: AttributeOption,
    template: Annotated[
        str | None, typer.Option(help='A sentence with {}: "person with {} smile".')
    ] = None,
    degrees: Annotated[
        Degrees, typer.Option(help="no, 10% ... 100%; no ... big; 10 ... 60; small, big.")
    ] = "percent",
    identities: IdentitiesOption = 1,
    space: SpaceOption = "w+",
    steps: StepsOption = 40,
    l2_weight: LatentWeightOption = 0.008,
    identity: IdentityOption = None,
    identity_weight: IdentityWeightOption = 0.005,
    compat: Annotated[
        bool, typer.Option("--compat", help="Anchors as released: the full degree is lost.")
    ] = False,
    device: DeviceOption = "cpu",
    decomposition: DecompositionOption = "robust_pca",
    reading: ReadingOption = "component",
    layers: LayersOption = "each",
    pooling: PoolingOption = "matrix",
    seed: SeedOption = 0,
    catalog: CatalogOption = None,
    out: VectorOption = None,
    output: OutputOption = "table",
) -> None:
    """Mine a direction whose anchors are optimised until CLIP finds them to fit a sentence.

    Where no gradient passes the generator (head), an evolution strategy takes its place: expect
    some 700 images for an anchor.
    """
    from jobs.micromotion import TextJob, mine_text
    from jobs.micromotion_run import open_run
    from mining.methods.clip_scorer import ClipScorer
    from mining.methods.text_anchors import TextConfig

    sentence = sentence_of(attribute, template)
    config = TextConfig(
        degrees=degrees,
        steps=steps,
        l2_weight=l2_weight,
        identity_weight=identity_weight,
        compat=compat,
        seed=seed,
    )
    motion = motion_of(decomposition, reading, layers, pooling, seed)
    check_places(out, catalog)
    face = _network(identity)
    opened = open_run(run)
    scorer = ClipScorer(clip, device)
    job = TextJob(scorer, config, motion, identities, space, *face)
    finish(mine_text(opened, attribute, sentence, job), catalog, out, output)


def templates(
    run: RunArgument,
    clip: ClipOption,
    attribute: AttributeOption,
    template: Annotated[
        list[str] | None, typer.Option(help="A sentence with {}; may be repeated.")
    ] = None,
    degrees: Annotated[
        list[str] | None,
        typer.Option(help="percent, words, tens, sizes: to fill in; may be repeated; else all."),
    ] = None,
    identities: IdentitiesOption = 1,
    space: SpaceOption = "w+",
    steps: StepsOption = 40,
    l2_weight: LatentWeightOption = 0.008,
    identity: IdentityOption = None,
    identity_weight: IdentityWeightOption = 0.005,
    device: DeviceOption = "cpu",
    decomposition: DecompositionOption = "robust_pca",
    reading: ReadingOption = "component",
    layers: LayersOption = "each",
    pooling: PoolingOption = "matrix",
    seed: SeedOption = 0,
    out: Annotated[str | None, typer.Option(metavar="FILE.json", help="Write it there.")] = None,
    output: OutputOption = "table",
) -> None:
    """Compare wordings of one attribute: the directions' cosines to one another and to the truth.

    Each sentence is filled with each list of degrees, and mined as `text` does.
    """
    from jobs.micromotion import TextJob
    from jobs.micromotion_run import open_run
    from jobs.micromotion_templates import compare, document, table
    from mining.methods.clip_scorer import ClipScorer
    from mining.methods.text_anchors import DEGREES, TextConfig

    for words in degrees or ():
        TextConfig(degrees=words)  # refuses what is unknown before any work
    sentences = [sentence_of(attribute, each) for each in template or [None]]
    config = TextConfig(
        steps=steps, l2_weight=l2_weight, identity_weight=identity_weight, seed=seed
    )
    motion = motion_of(decomposition, reading, layers, pooling, seed)
    check_places(out, such="wordings.json")
    face = _network(identity)
    opened = open_run(run)
    scorer = ClipScorer(clip, device)
    wordings = [(each, words) for each in dict.fromkeys(sentences) for words in degrees or DEGREES]
    job = TextJob(scorer, config, motion, identities, space, *face)
    found = compare(opened, attribute, wordings, job)
    said = json.dumps(document(found, attribute), indent=1, allow_nan=False)
    if out is not None:
        create(out, said.encode())
    typer.echo(said if output == "json" else "\n".join(table(found)))


def sentence_of(attribute: str, template: str | None) -> str:
    """The template as given, or the attribute's own.

    Raises:
        InputError: there is none of its own, or the template has no one place for the degree.
    """
    from mining.methods.text_anchors import TEMPLATES, check_template
    from schemas.registry import unknown

    if template is None and attribute not in TEMPLATES:
        raise unknown("attribute with a sentence of its own (or give --template)", attribute,
                      TEMPLATES)  # fmt: skip
    sentence = TEMPLATES[attribute] if template is None else template
    check_template(sentence)
    return sentence


def _network(place: str | None) -> tuple[ImageNetwork | None, str | None]:
    """The ArcFace network of an ONNX file, of which nothing is run, and the file's sha256."""
    if place is None:
        return None, None
    from pathlib import Path

    from mining.editing.image_networks import arcface_onnx
    from storage.downloads.cache import file_sha256

    if not Path(place).is_file():
        raise InputError(f"lode micromotion: --identity {place} is no file; expected a .onnx.")
    return arcface_onnx(place), file_sha256(Path(place))

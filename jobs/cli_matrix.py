"""`lode matrix`: how well direction matrices transfer pose and expression."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from schemas.errors import InputError

if TYPE_CHECKING:
    from jobs.transfer_trials import TransferSettings
    from mining.evaluation.transfer_text import Report
    from schemas.settings import EngineSettings

Output = Literal["table", "json"]
WHO = "lode matrix"

matrix_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Direction matrices: transfers of pose and expression, measured on held-out pairs.",
)

OutOption = Annotated[
    str, typer.Option(metavar="DIR", help="Folder or URL for tables, page and matrices.")
]
SequencesOption = Annotated[
    str, typer.Option(metavar="URL", help="A dataset of sequences of one identity.")
]
PairsOption = Annotated[int, typer.Option(min=10, help="Held-out pairs, drawn afresh.")]
ReadOption = Annotated[
    str,
    typer.Option(
        metavar="A,B", help="What tells the parameters: latents (the matrix), images (extractor)."
    ),
]
SourceOption = Annotated[
    str, typer.Option(help="The extractor that measures the parameters; the first that does.")
]
LandmarksOption = Annotated[str, typer.Option(help="The column of 68 landmarks.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Options of direction_matrix; repeat."),
]
SeedOption = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of pairs and intervals.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Processes that render and measure.")]
GpusOption = Annotated[float, typer.Option(min=0, help="GPUs of each.")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]


@matrix_app.command()
def compare(
    run: Annotated[str, typer.Argument(help="A run's folder or URL, or a dataset's.")],
    out: OutOption,
    matrix: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A matrix; may be repeated. None: the run's own."),
    ] = None,
    sequences: SequencesOption = "",
    rivals: Annotated[
        bool, typer.Option("--rivals/--no-rivals", help="Fit the closed forms too.")
    ] = True,
    own: Annotated[
        bool, typer.Option("--self", help="Pairs of one identity too, where it can be animated.")
    ] = False,
    control: Annotated[
        str | None, typer.Option(metavar="FILE", help="A control model, not the run's own.")
    ] = None,
    pairs: PairsOption = 1000,
    read: ReadOption = "latents,images",
    source: SourceOption = "",
    landmarks: LandmarksOption = "dlib_landmarks",
    set_: SetOption = None,
    seed: SeedOption = 0,
    workers: WorkersOption = 2,
    gpus: GpusOption = 0.0,
    output: OutputOption = "table",
) -> None:
    """Transfer pose and expression between held-out faces, and measure what came of it.

    Every matrix is tried on the same pairs, beside the closed forms fitted to the dataset, the
    unedited sources and, where the generator knows it, the ideal. It makes 2 images for each pair,
    one for each matrix and reading, and one for the ideal; two cores made and measured 11 heads
    of 256 px a second. Writes transfers.json, .md, .csv and .html, and the closed forms as files.
    """
    from jobs.transfer_compare import Comparing, open_run
    from jobs.transfer_compare import compare as compare_matrices
    from storage.files import Store, absolute

    settings = _settings(pairs, seed, read, source)
    kinds = ("cross", "self") if own else ("cross",)
    asked = Comparing(kinds, rivals, options_of(set_ or []), sequences, landmarks, control)
    engine = _engine(workers, gpus)
    target = Store(absolute(out))
    found = compare_matrices(open_run(run), matrix or [], target, asked, settings, engine)
    _tell(found, output, target.url)


@matrix_app.command()
def ablation(
    dataset: Annotated[str, typer.Argument(help="The dataset's folder or URL.")],
    out: OutOption,
    sequences: SequencesOption = "",
    inverted: Annotated[
        str,
        typer.Option(
            metavar="FILE.npy|URL",
            help="Latents of inverted images; none: the sequences' images are inverted.",
        ),
    ] = "",
    fitted: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="An earlier ablation, to use its matrices again."),
    ] = None,
    pairs: PairsOption = 1000,
    read: ReadOption = "latents",
    source: SourceOption = "",
    landmarks: LandmarksOption = "dlib_landmarks",
    set_: SetOption = None,
    seed: SeedOption = 0,
    workers: WorkersOption = 2,
    gpus: GpusOption = 0.0,
    output: OutputOption = "table",
) -> None:
    """Train with and without parts, and put the paper's Tables 2, 3 and 4 beside ours.

    Five matrices: all losses on random pairs; without identity and perceptual; without eye and
    mouth; with inverted images in half of each batch; and from sequences of one identity. The
    first three are tried on pairs of two identities, the first and the last two on pairs of one.
    Writes ablation.json, .md, .csv and .html, and the matrices as files.
    """
    from jobs.transfer_ablation import Ablating, ablate
    from storage.files import Store, absolute

    settings = _settings(pairs, seed, read, source)
    asked = Ablating(sequences, inverted, landmarks, options_of(set_ or []), seed, fitted)
    target = Store(absolute(out))
    found = ablate(dataset, target, asked, settings, _engine(workers, gpus))
    _tell(found, output, target.url)


def options_of(words: Sequence[str]) -> dict[str, Any]:
    """ "epochs=10" and such as options; InputError where one is none."""
    from schemas.plain_yaml import parse_yaml

    found = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name.strip():
            raise InputError(f"{WHO}: --set {word!r} came; expected KEY=VALUE, as epochs=10.")
        found[name.strip()] = parse_yaml(value.encode(), f"--set {name.strip()}")
    return found


def readings_of(text: str) -> tuple[str, ...]:
    """The names in "latents,images", each once."""
    from jobs.transfer_trials import READINGS
    from schemas.registry import unknown

    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in READINGS:
            raise unknown("reading of parameters", name, READINGS)
    if not names:
        raise InputError(f"{WHO}: --read {text!r} came; expected some of {', '.join(READINGS)}.")
    return names


def _settings(pairs: int, seed: int, read: str, source: str) -> TransferSettings:
    from jobs.transfer_trials import TransferSettings

    return TransferSettings(pairs, seed, readings_of(read), source)


def _engine(workers: int, gpus: float) -> EngineSettings:
    from schemas.settings import EngineSettings, StageSettings

    stage = StageSettings.model_validate({"gpus": gpus})
    return EngineSettings.model_validate({"workers": workers, "generator": stage})


def _tell(report: Report, output: Output, url: str) -> None:
    from mining.evaluation.transfer_text import as_json, as_markdown

    if output == "json":
        typer.echo(json.dumps(as_json(report), indent=1, ensure_ascii=False, allow_nan=False))
        return
    typer.echo(as_markdown(report))
    typer.echo(f"written to {url}")

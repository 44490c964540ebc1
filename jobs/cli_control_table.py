"""`lode control table`: Table 1 of NRSfM-controlled synthesis for every space of a generator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from schemas.errors import InputError

if TYPE_CHECKING:
    from jobs.control_table_trials import TableSettings
    from mining.evaluation.control_table_edits import EditConfig

Output = Literal["table", "json"]
WHO = "lode control table"
STEPS = {"analytic": 8, "gradient": 100}  # of an edit, by method


def table(
    datasets: Annotated[
        list[str],
        typer.Argument(
            help="Folders or URLs: one sampled in w (z, w, tied w+, s), one in w+ (independent)."
        ),
    ],
    out: Annotated[str, typer.Option(help="A folder or URL without a table.")],
    spaces: Annotated[str, typer.Option(metavar="A,B", help="Of z, w, w+ and s.")] = "z,w,w+",
    control: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A control model; its space is not fitted again."),
    ] = None,
    fitted: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="An earlier table, to use its control models again."),
    ] = None,
    codes: Annotated[int, typer.Option(min=10, help="Test codes, drawn afresh.")] = 1000,
    singles: Annotated[
        int, typer.Option(min=1, help="Edits of a single code for each test code; one is joint.")
    ] = 1,
    angle: Annotated[float, typer.Option(help="Range of yaw, pitch, roll, in radians.")] = 0.3,
    alpha: Annotated[float, typer.Option(help="Range of every alpha_k.")] = 0.3,
    spreads: Annotated[
        float | None, typer.Option(help="Range of alpha_k in its training spreads instead.")
    ] = None,
    method: Annotated[str, typer.Option(help="analytic (14) or gradient (15).")] = "analytic",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of an edit; 8 analytic, 100 gradient ones.")
    ] = None,
    unasked: Annotated[
        float, typer.Option(min=0, max=1, help="Weight of codes that are to stay; 0 frees them.")
    ] = 1.0,
    hold_identity: Annotated[
        bool, typer.Option("--hold-identity", help="Learn the face descriptor; edits hold it.")
    ] = False,
    landmarks: Annotated[str, typer.Option(help="The landmark column.")] = "dlib_landmarks",
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of fits, codes, edits and intervals.")
    ] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="nrsfm.KEY, regressor.KEY, embedding.KEY."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that edit and measure.")] = 2,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each.")] = 0.0,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = "table",
) -> None:
    """Measure how well every latent space is predicted, edited, obeyed, and keeps identity.

    Fits a shape model and a regressor for every space, edits fresh codes, renders and measures
    them, and prints the losses beside the paper's. It makes (2 + singles) images for each test
    code and space, less what spaces share unedited: with 1,000 codes in z, w and both w+ 10,000;
    two busy cores made and measured 3 heads of 256 px a second, dlib's descriptor included.
    Writes table.json, table.md, table.csv and controls/*.safetensors; results do not depend on
    --workers.
    """
    from jobs.control_table import make_table
    from mining.evaluation.control_table_edits import EditConfig
    from mining.evaluation.control_table_text import as_json, as_markdown
    from mining.methods.control_file import load_control
    from schemas.settings import EngineSettings, StageSettings
    from storage.files import Store, absolute

    _check_method(method)
    given = {
        "codes": codes,
        "steps": steps or STEPS[method],
        "unasked": unasked,
        "landmarks": landmarks,
        "seed": seed,
        "spaces": _spaces(spaces),
        "method": method,
    }
    edits = EditConfig(angle, alpha, spreads, singles, seed)
    settings = _settings(given, edits, hold_identity, set_ or [])
    stage = StageSettings.model_validate({"gpus": gpus})
    engine = EngineSettings.model_validate({"workers": workers, "generator": stage})
    target = Store(absolute(out))
    models = [load_control(file) for file in control or []]
    found = make_table(datasets, target, settings, engine, models, fitted)
    if output == "json":
        typer.echo(json.dumps(as_json(found), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        typer.echo(as_markdown(found))
        typer.echo(f"written to {target.url}")


def _spaces(text: str) -> tuple[str, ...]:
    """The names in "z,w,w+", each once."""
    from mining.spaces import SPACES
    from schemas.registry import unknown

    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in SPACES:
            raise unknown("latent space", name, SPACES)
    if not names:
        raise InputError(f"{WHO}: --spaces {text!r} came; expected some of {', '.join(SPACES)}.")
    return names


def _check_method(name: str) -> None:
    from schemas.registry import unknown

    if name not in STEPS:
        raise unknown("editing method", name, STEPS)


def _settings(
    given: dict[str, Any], edits: EditConfig, hold_identity: bool, words: Sequence[str]
) -> TableSettings:
    """All settings, those of the fits as `lode mine` takes them under `mining`."""
    from jobs.control_data import PARTS, control_settings
    from jobs.control_table_trials import TableSettings

    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for word in words:
        part, key, value = _option(word, parts)
        parts[part][key] = value
    space, landmarks, seed = given["spaces"][0], given["landmarks"], given["seed"]
    fits = control_settings(space, landmarks, parts, hold_identity, seed)
    return TableSettings(
        **given,
        edits=edits,
        nrsfm=fits.nrsfm,
        regressor=fits.regressor,
        embedding=fits.embedding,
    )


def _option(word: str, parts: dict[str, dict[str, Any]]) -> tuple[str, str, Any]:
    """ "nrsfm.components=16" as its three parts."""
    from schemas.plain_yaml import parse_yaml

    name, sign, value = word.partition("=")
    part, dot, key = name.strip().partition(".")
    if not sign or not dot or part not in parts or not key:
        raise InputError(
            f"{WHO}: --set {word!r} came; expected {'.KEY=VALUE, '.join(parts)}.KEY=VALUE."
        )
    return part, key, parse_yaml(value.encode(), f"--set {name}")

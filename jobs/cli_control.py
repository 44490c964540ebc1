"""`lode control`: fit a model that steers pose and shape, and measure how well it steers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jobs.cli_control_table import table
from schemas.errors import InputError

if TYPE_CHECKING:
    from jobs.control_data import ControlRows
    from mining.methods.control import ControlModel
    from storage.manifest import Manifest

Output = Literal["table", "json"]
WHO = "lode control fit"

control_app = typer.Typer(
    help="Fit control models, latents -> 3-D shape and pose, and measure how well they steer.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@control_app.command()
def fit(
    url: Annotated[str, typer.Argument(help="The dataset's folder or URL: <out>/dataset.")],
    out: Annotated[str, typer.Option(metavar="FILE.safetensors", help="Write the model there.")],
    space: Annotated[str, typer.Option(help="z, w, w+ or s.")] = "w",
    landmarks: Annotated[str, typer.Option(help="The landmark column.")] = "dlib_landmarks",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="nrsfm.KEY, regressor.KEY or embedding.KEY."
        ),
    ] = None,
    embedding: Annotated[
        bool, typer.Option("--embedding", help="Learn the face descriptor too, to hold identity.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of split and weights.")] = 0,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = "table",
) -> None:
    """Fit the 3-D shape model to a dataset's landmarks, and a regressor from latents to its codes.

    Rows without landmarks are skipped. The file is all that `lode edit` and `lode control table`
    need. --set regressor.preset=landmarks trains on equation (12) alone, =paper as the authors
    did, --set regressor.device=auto on a GPU.
    """
    from jobs.control_data import check_dataset, control_settings, fit_rows, read_rows
    from mining.methods.control_file import save_control
    from storage.dataset import Dataset
    from storage.files import absolute

    settings = control_settings(space, landmarks, _options(set_ or []), embedding, seed)
    dataset = Dataset(absolute(url))
    check_dataset(dataset, settings)
    _check_out(out)
    rows = read_rows(dataset, settings)
    control = fit_rows(rows, settings, dataset.manifest)
    save_control(control, out)
    said = facts(control, rows, dataset.manifest) | {"file": absolute(out)}
    if output == "json":
        typer.echo(json.dumps(said, indent=2, ensure_ascii=False))
        return
    width = max(map(len, said))
    for key, value in said.items():
        if value is not None:
            typer.echo(f"{key:<{width}}  {value}")


control_app.command()(table)


def facts(control: ControlModel, rows: ControlRows, manifest: Manifest) -> dict[str, Any]:
    """What is told of a fit; None where there is nothing to tell. Pixels: of the images measured.

    `landmarks_px` is the root mean square distance of R(phi(w)) from the landmarks of held-out
    rows; `shape_px` that of R(q) from the landmarks of the rows that were factorised.
    """
    from storage.dataset import image_size

    edge, found = image_size(manifest), control.regressor
    best = found.best_epoch
    return {
        "generator": control.generator,
        "space": control.space,
        "latent": " x ".join(map(str, control.latent_shape)),
        "rows": len(rows.latents),
        "skipped": rows.skipped,
        "landmarks": rows.landmarks.shape[1],
        "modes": control.shape.components,
        "residual": _short(control.shape.relative_residual),
        "closed_residual": _short(control.shape.closed_residual),
        "shape_px": _short(control.shape.rms * edge),
        "held_out_loss": _short(found.held_out_loss[best]),
        "landmarks_px": _short(math.sqrt(2 * found.held_out_landmarks[best]) * edge),
        "epoch": f"{best + 1} of {len(found.held_out_loss)}",
        "embedding_r2": None if control.embedding is None else _short(control.embedding.r2),
    }


def _options(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """ "nrsfm.components=16" as {"nrsfm": {"components": 16}}."""
    from jobs.control_data import PARTS
    from schemas.plain_yaml import parse_yaml

    options: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for word in words:
        name, sign, value = word.partition("=")
        part, dot, key = name.strip().partition(".")
        if not sign or not dot or part not in options or not key:
            raise InputError(
                f"{WHO}: --set {word!r} came; expected {'.KEY=VALUE, '.join(PARTS)}.KEY=VALUE."
            )
        options[part][key] = parse_yaml(value.encode(), f"--set {name.strip()}")
    return options


def _check_out(out: str) -> None:
    """Refuse a place that cannot take the file, before anything is read; no folder is made."""
    from storage.files import Store, absolute

    folder, _, name = absolute(out).rpartition("/") if out else ("", "", "")
    if not name:
        raise InputError(f"{WHO}: --out {out!r} came; expected such as control.safetensors.")
    store = Store(folder or "/")
    if store.exists(name):
        raise InputError(f"{WHO}: {out} is there already; choose another --out.")
    if store.exists():
        store.check_writable()


def _short(value: float) -> float | None:
    """Six digits; None for what is not a number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None

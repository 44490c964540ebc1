"""`lode dataset invert`: latents of a dataset's images, by an encoder fitted to another."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

from jobs.cli_head import ColumnsOption, UrlArgument, names_of

Output = Literal["table", "json"]


def invert(
    url: UrlArgument,
    encoder_from: Annotated[
        str,
        typer.Option(
            metavar="URL", help="The dataset that the encoder is fitted to: not this one."
        ),
    ],
    out: Annotated[
        str, typer.Option(metavar="FILE.npy", help="A new file; FILE.npy.json comes beside it.")
    ],
    columns: ColumnsOption = "",
    edge: Annotated[
        int, typer.Option(min=0, max=64, help="Pixels of the small images it reads; 0 for none.")
    ] = 16,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at --out.")] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = "table",
) -> None:
    """Write latents of a dataset's images, for generators without an encoder of their own.

    A regression in closed form from thumbnails, landmarks and face descriptors to latents is
    fitted to one dataset and read on another. Rows without a face are left out, and those that
    the encoder was fitted to.
    """
    from jobs.inverting import invert as invert_dataset

    found = invert_dataset(url, encoder_from, out, names_of(columns), edge, force)
    told = {"latents": found.place, **found.facts}
    del told["indices"]
    if output == "json":
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    shown = {**told, **_lines(told)}
    width = max(map(len, shown))
    for key, value in shown.items():
        typer.echo(f"{key:<{width}}  {value}")


def _lines(told: dict[str, Any]) -> dict[str, str]:
    """Groups and shares in one line each."""
    lines = {
        "shape": " x ".join(map(str, told["shape"])),
        "rows": f"{told['rows']:,}",
        "left_out": ", ".join(f"{count:,} {why}" for why, count in told["left_out"].items()),
        "features": ", ".join(f"{count} of {kind}" for kind, count in told["features"].items()),
        "explained": f"{told['explained']:.3f} of the latents' variance, by cross-validation",
    }
    if "explained_here" in told:
        lines["explained_here"] = f"{told['explained_here']:.3f}"
    if known := [r for r in told.get("parameters", {}).values() if r is not None]:
        lines["parameters"] = f"correlated with the true ones by {sum(known) / len(known):.2f}"
    return lines

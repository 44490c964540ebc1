"""What the commands of `lode micromotion` that give a direction share: options, checks, output."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from schemas.errors import InputError

if TYPE_CHECKING:
    from mining.methods.anchor_motion import MotionConfig
    from schemas.directions import DirectionCard

Output = Literal["table", "json"]
Decomposition = Literal["robust_pca", "pca", "none"]
Reading = Literal["component", "regression", "last_minus_first"]
Layers = Literal["whole", "each"]
Pooling = Literal["matrix", "mean"]

RunArgument = Annotated[str, typer.Argument(help="The run's folder or URL (its --out).")]
DecompositionOption = Annotated[Decomposition, typer.Option(help="What cleans the anchors.")]
ReadingOption = Annotated[
    Reading, typer.Option(help="How the motion is read; last_minus_first: as released.")
]
LayersOption = Annotated[Layers, typer.Option(help="Of W+: one matrix, or each row its own.")]
PoolingOption = Annotated[Pooling, typer.Option(help="Of several identities.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**63 - 1)]
CatalogOption = Annotated[
    str | None, typer.Option(metavar="URL", help="Publish the direction there.")
]
VectorOption = Annotated[
    str | None, typer.Option(metavar="FILE.npy", help="Write the vector there.")
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]


def motion_of(
    decomposition: Decomposition, reading: Reading, layers: Layers, pooling: Pooling, seed: int
) -> MotionConfig:
    """How anchors become a direction."""
    from mining.methods.anchor_motion import MotionConfig

    return MotionConfig(decomposition, reading, layers, pooling, seed=seed)


def check_places(out: str | None, catalog: str | None = None, such: str = "smile.npy") -> None:
    """Refuse, before any work, a file that is there and a catalogue that cannot be written.

    Raises:
        InputError: so it is.
    """
    from pathlib import Path

    from storage.files import Store, absolute

    if out is not None and (not out or Path(out).exists()):
        raise InputError(
            f"lode micromotion: --out {out!r} came; expected a new file, such as {such}."
        )
    if catalog is not None:
        Store(absolute(catalog)).check_writable()


def finish(card: DirectionCard, catalog: str | None, out: str | None, output: Output) -> None:
    """Publish, which is safe to repeat, write and print."""
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


def create(out: str, content: bytes) -> None:
    """Write a new file.

    Raises:
        InputError: there is one by now.
    """
    from storage.files import Store, absolute

    folder, _, name = absolute(out).rpartition("/")
    if not Store(folder or "/").create(name, content):
        raise InputError(f"lode micromotion: {out} is there already; choose another --out.")


def _write(card: DirectionCard, out: str) -> None:
    import io

    import numpy as np

    content = io.BytesIO()
    np.save(content, card.vector, allow_pickle=False)
    create(out, content.getvalue())


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

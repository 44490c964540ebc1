"""`lode ganspace`: the principal components of a generator's W, from a million samples."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from schemas.errors import InputError

if TYPE_CHECKING:
    from jobs.ganspace import Components
    from jobs.ganspace_source import Source
    from mining.mapped import Draw

Output = Literal["table", "json"]
WHO = "lode ganspace"
SHARES = (0.5, 0.9, 0.99)  # of the variance: how many components hold as much is told


def ganspace(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|GENERATOR",
            help="A run or a dataset, a generator's name, or a checkpoint's file, URL or name.",
        ),
    ],
    samples: Annotated[int, typer.Option(min=2, help="How many w are drawn.")] = 1_000_000,
    components: Annotated[int, typer.Option(min=1, help="The widest ones.")] = 20,
    layers: Annotated[
        str | None,
        typer.Option(metavar="FIRST-LAST", help="Rows of W+ that the components move; all."),
    ] = None,
    psi: Annotated[
        float | None,
        typer.Option(help="Truncation of w; a run's own, else 1.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the samples.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Of the generator.")
    ] = None,
    catalog: Annotated[
        str | None, typer.Option(metavar="URL", help="Publish the components there.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 2,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each.")] = 0.0,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing.")] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = "table",
) -> None:
    """Find the orthogonal directions along which W spreads most (GANSpace), and publish them.

    No image is made and memory does not grow with --samples; results do not depend on --workers.
    With a run, components are named by what its dataset measured of the images along them.
    """
    from jobs.ganspace import check_fits, find_components, make_cards
    from jobs.ganspace_source import open_source
    from mining.mapped import Draw
    from mining.methods.pca import PcaConfig
    from schemas.settings import EngineSettings

    config = PcaConfig(components, _layers(layers))
    options = _options(set_ or [])
    engine = EngineSettings.model_validate(
        {"workers": workers, "generator": {"gpus": gpus}, "offline": offline}
    )
    if psi is not None:
        Draw(samples, seed, psi)  # refused before anything is loaded
    if catalog is not None:
        _check_catalog(catalog)
    found = open_source(source, options, engine)
    draw = Draw(samples, seed, found.psi(config.layers) if psi is None else psi)
    check_fits(found, draw, config)
    made = find_components(found, draw, config, engine)
    cards = make_cards(found, draw, config, made)
    publication = None
    if catalog is not None:
        from storage.catalog import Catalog

        publication = Catalog(catalog).publish(cards).publication_id
    ids = [card.direction_id for card in cards]
    said = facts(found, draw, made, ids) | {"publication": publication}
    if output == "json":
        typer.echo(json.dumps(said, indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(_table(said)))


def facts(source: Source, draw: Draw, found: Components, ids: Sequence[str]) -> dict[str, Any]:
    """What is printed, as plain JSON."""
    import numpy as np

    enough = np.searchsorted(found.explained, np.array(SHARES) - 1e-12) + 1
    named = found.names or [None] * len(ids)
    return {
        "generator": source.name,
        "fingerprint": source.mapper.fingerprint,
        "licence": source.licence,
        "samples": draw.samples,
        "seed": draw.seed,
        "psi": draw.psi,
        "w_dim": source.w_dim,
        "components_for": {
            f"{share:.0%}": int(count) for share, count in zip(SHARES, enough, strict=True)
        },
        "named_by_rows": found.rows or None,
        "components": [
            {
                "attribute": direction.attribute,
                "direction": identity,
                "share": direction.evidence["share"],
                "together": float(found.explained[k]),
                "sigma": math.sqrt(direction.evidence["variance"]),
                "stability": _number(found.stability[k]),
                "moves": None if name is None else name.attribute,
                "response": None if name is None else _number(name.response),
                "purity": None if name is None else _number(name.purity),
            }
            for k, (direction, identity, name) in enumerate(
                zip(found.directions, ids, named, strict=True)
            )
        ],
    }


def _table(said: dict[str, Any]) -> list[str]:
    held = ", ".join(f"{share} in {many}" for share, many in said["components_for"].items())
    lines = [
        f"generator    {said['generator']} ({said['fingerprint'][:16]})",
        f"samples      {said['samples']:,} of W, seed {said['seed']}, psi {said['psi']:g}",
        f"variance     {held} of {said['w_dim']} components",
    ]
    if said["publication"] is not None:
        lines.append(f"publication  {said['publication']}")
    if said["named_by_rows"]:
        lines.append(f"moves        by {said['named_by_rows']:,} measured images of the dataset")
    header = ("component", "share", "together", "sigma", "stability", "moves", "direction")
    rows = [
        (
            one["attribute"],
            f"{one['share']:.2%}",
            f"{one['together']:.2%}",
            f"{one['sigma']:.4g}",
            "-" if one["stability"] is None else f"{one['stability']:.3f}",
            _moves(one),
            one["direction"],
        )
        for one in said["components"]
    ]
    keep = [k for k, name in enumerate(header) if name != "moves" or said["named_by_rows"]]
    cells = [[row[k] for k in keep] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in cells]
    return [*lines, "", *(line.rstrip() for line in padded)]


def _moves(one: dict[str, Any]) -> str:
    if one["moves"] is None:
        return "nothing for sure"
    return f"{one['moves']} ({one['purity']:.0%} of its response), {one['response']:+.2f}"


def _layers(text: str | None) -> tuple[int, int] | None:
    """ "0-3" as [0, 4); "5" as [5, 6)."""
    if text is None:
        return None
    first, dash, last = text.partition("-")
    ends = (first, last if dash else first)
    if not all(end.strip().isdecimal() for end in ends) or int(ends[0]) > int(ends[1]):
        raise InputError(
            f"{WHO}: --layers {text!r} came; expected FIRST-LAST, such as 0-3: the first four rows "
            "of W+."
        )
    return int(ends[0]), int(ends[1]) + 1


def _options(words: Sequence[str]) -> dict[str, Any]:
    from schemas.plain_yaml import parse_yaml

    options = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not key.strip():
            raise InputError(f"{WHO}: --set {word!r} came; expected KEY=VALUE.")
        options[key.strip()] = parse_yaml(value.encode(), f"--set {key.strip()}")
    return {key: value for key, value in options.items() if value is not None}


def _check_catalog(url: str) -> None:
    """Refuse a catalogue that cannot be written, before minutes of work."""
    from storage.files import Store, absolute

    if not url:
        raise InputError(f"{WHO}: --catalog is empty; expected a folder or URL.")
    Store(absolute(url)).check_writable()


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""`lode rescore`: every direction of a catalogue tried on thousands of held-out images."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mining.evaluation.edit_scores import Scores
    from mining.evaluation.edit_scores_text import Rescoring

BETWEEN = (1, 4)  # lines and columns between matrices that stand side by side


def rescore(
    place: Annotated[
        str, typer.Argument(metavar="RUN|CATALOG", help="A run's folder or URL, or a catalogue's.")
    ],
    out: Annotated[
        str, typer.Option(help="Folder or URL of tables and edits; goes on where begun.")
    ],
    edits: Annotated[
        int, typer.Option(min=2, help="Held-out images, each edited once along every direction.")
    ] = 2000,
    attribute: Annotated[
        list[str] | None, typer.Option(help="Only directions of this one; may be repeated.")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="Only directions by this one; may be repeated.")
    ] = None,
    step: Annotated[
        float | None,
        typer.Option(metavar="SIGMA", help="Edit by so many sigma of the latents along it."),
    ] = None,
    by_effect: Annotated[
        float | None,
        typer.Option(
            metavar="SPREADS", help="Edit so far that the own attribute moves by so many."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of the images and the bootstrap.")
    ] = 1,
    bootstrap: Annotated[int, typer.Option(min=10, help="Resamples behind intervals.")] = 1000,
    catalog: Annotated[
        str | None, typer.Option(metavar="URL", help="The catalogue, where not the run's own.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="URL", help="The dataset, where not the run's own.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that edit and measure.")] = 2,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each.")] = 0.0,
) -> None:
    """Edit held-out images along every direction, and compare what moves, leaks and is lost.

    Without --step and --by-effect every direction is tried both ways: by 1 sigma, and so far that
    its own attribute moves by 1 population spread, which makes methods comparable. Writes
    rescore.json, rescore.csv and rescore.md, with the micromotion paper's figures beside ours;
    prints the tables on a terminal and a summary in JSON elsewhere. What is measured is kept in
    OUT: the same command goes on after a stop, and a direction that is done is not made again.
    It makes (directions x kinds + 1) x edits images; --edits 100 is a quick look.
    """
    from jobs.rescoring import TABLES, open_catalog, rescore_directions
    from jobs.rescoring_choice import choose
    from jobs.rescoring_plan import RescoreSettings, labels_in
    from schemas.settings import EngineSettings, StageSettings
    from storage.files import Store, absolute

    if step is None and by_effect is None:
        step = by_effect = 1.0
    settings = RescoreSettings(edits, step, by_effect, seed, bootstrap)
    url, opened = open_catalog(place, catalog, dataset)
    published = list(opened.cards())
    cards = choose(published, attribute or [], method or [])
    stage = StageSettings.model_validate({"gpus": gpus})
    engine = EngineSettings.model_validate({"workers": workers, "generator": stage})
    target = Store(absolute(out))
    found = rescore_directions(url, cards, target, settings, engine, labels_in(published))
    if sys.stdout.isatty():
        _say(found)
        typer.echo(f"written to {target.url}: {', '.join(TABLES)}")
    else:
        typer.echo(json.dumps(_summary(found, target.url), ensure_ascii=False, allow_nan=False))


def _summary(found: Rescoring, url: str) -> dict[str, Any]:
    """What a program wants to know first; rescore.json has everything."""
    from mining.evaluation.edit_scores_text import as_json, said

    told = as_json(found)["edits"]
    return {
        "written": url,
        "edits": {
            kind: {"methods": told[kind]["methods"], "orderings": list(map(said, one.orderings))}
            for kind, one in found.kinds.items()
        },
        "skipped": dict(found.skipped),
    }


def _say(found: Rescoring) -> None:
    """Identity and methods in tables, one matrix a method side by side, and the paper's."""
    from jobs.cli_catalog_tables import show
    from mining.evaluation.edit_scores_text import (
        identity_cells,
        methods_cells,
        paper_cells,
        paper_identity,
        said,
    )
    from mining.evaluation.paper_tables import DIFFERENCES, SOURCE

    for kind, scores in found.kinds.items():
        show(found.titles[kind], "")
        show(_table("Identity, 1 - cosine", *identity_cells(scores)), "")
        show(_table("Methods", *methods_cells(scores)), "")
        show("Change in population spreads: edited by row, scored by column", "")
        show(_matrices(scores), "")
        show(*(said(one) for one in scores.orderings), "")
    show(_table(f"The paper's identity score: {SOURCE}", *paper_identity()), *paper_cells())
    show(DIFFERENCES)
    for name, why in found.skipped.items():
        show(f"not tried: {name}: {why}")


def _matrices(scores: Scores) -> Any:
    """Every method's matrix, as many beside each other as fit."""
    from rich.columns import Columns

    from mining.evaluation.edit_scores_text import matrix_cells

    tables = [
        _table(one.method, *matrix_cells(scores, one.method, intervals=False))
        for one in scores.methods
    ]
    return Columns(tables, padding=BETWEEN)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    from jobs.cli_catalog_tables import columns

    made = columns({name: number > 0 for number, name in enumerate(header)})
    made.title, made.title_justify = title, "left"
    for row in rows:
        made.add_row(*row)
    return made

"""`lode condition`: change one attribute and hold others; the trade-off before anything is made."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from schemas.errors import InputError

if TYPE_CHECKING:
    from jobs.conditioning import TradeOff
    from jobs.conditioning_measured import Measurer
    from schemas.directions import DirectionCard
    from storage.dataset import Dataset

Output = Literal["table", "json"]
Source = Literal["both", "images", "dataset"]


def condition(
    run: Annotated[str, typer.Argument(help="The run's folder or URL: its --out.")],
    change: Annotated[str, typer.Option(help="The attribute to change.")],
    hold: Annotated[
        list[str], typer.Option(help="An attribute to hold; may be repeated; all for all others.")
    ],
    least_effect: Annotated[
        float, typer.Option(help="Share of the strongest effect per step that is to be kept.")
    ] = 0.7,
    leak: Annotated[
        float | None, typer.Option(help="At most; of the held attributes over the effect.")
    ] = None,
    identity_budget: Annotated[
        float | None, typer.Option(help="Descriptor distance at most, for a change of --by.")
    ] = None,
    by: Annotated[
        float, typer.Option(help="Population spreads of the attribute that an edit is to change.")
    ] = 1.0,
    layers: Annotated[
        str | None, typer.Option(metavar="A-B", help="Rows of W+ that may move; needs --rescore.")
    ] = None,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Measure all directions on --layers first; renders.")
    ] = False,
    source: Annotated[
        Source, typer.Option(help="Of responses: re-scored images, the dataset's rows, or both.")
    ] = "both",
    refine: Annotated[
        int, typer.Option(min=0, max=5, help="Rounds: re-score what is picked, solve again.")
    ] = 0,
    measure: Annotated[
        bool, typer.Option("--measure", help="Re-score what is picked on fresh identities.")
    ] = False,
    identities: Annotated[
        int | None,
        typer.Option(min=2, help="Of all that is measured here; as many as the run for none."),
    ] = None,
    catalog: Annotated[
        str | None, typer.Option(metavar="URL", help="A catalogue, in place of the run's own.")
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish/--no-publish", help="Into the catalogue.")
    ] = True,
    out: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Of trade_off.html, .json and .csv; <run>/results."),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = "table",
) -> None:
    """Change one attribute, hold others: a direction in closed form from measured responses.

    The curve of what can be had for what is written and printed before anything is rendered; then
    a point of it is picked, published, and with --measure held against images.
    """
    from jobs.conditioning import Asked, card_of_point, refined, solve
    from jobs.conditioning_measured import measurer_of
    from jobs.conditioning_output import table, write
    from mining.editing.condition import Wishes
    from storage.catalog import Catalog
    from storage.files import absolute

    place = absolute(run).rstrip("/")
    rows = rows_of(layers, rescore)
    wishes = Wishes(least_effect, leak, identity_budget, by)
    asked = Asked(change, tuple(hold), wishes, rows, source)
    dataset = _dataset(place)
    renders = bool(rows or refine or measure)
    measurer = measurer_of(place, dataset, identities) if renders else None
    held_in = Catalog(absolute(catalog) if catalog else _catalog(place))
    if rows:
        typer.echo("measuring all directions on these layers: no card knows what they do", err=True)
    found = solve(held_in, dataset, asked, measurer)
    if rows and measurer:
        measurer = measurer.on_others()  # what was picked there is not judged there
    folder = absolute(out).rstrip("/") if out else f"{place}/results"
    files = write(found, None, folder)
    tell = typer.echo if output == "table" else str
    tell(table(found))
    for _ in range(refine):
        found, measurer = refined(found, dataset, _there(measurer)), _there(measurer).on_others()
        files = write(found, None, folder)
        tell(table(found))
    card = card_of_point(found, dataset)
    if measure:
        card = _there(measurer).cards([card])[0]
        files = write(found, card, folder)
    said = _said(found, card, files, measure)
    if publish:
        said["publication"] = held_in.publish([card], _publication(card)).publication_id
    _print(said, output)


def _there(measurer: Measurer | None) -> Measurer:
    if measurer is None:
        raise AssertionError("made where anything is to be measured")
    return measurer


def rows_of(layers: str | None, rescore: bool) -> tuple[int, ...]:
    """The rows of "0-3" or "2"; () for None.

    Raises:
        InputError: it is neither, nothing says that the directions may be measured on them, or
            they are to be measured and no rows are named.
    """
    if layers is None and rescore:
        raise InputError(
            "lode condition: --rescore measures all directions on the rows that --layers names, "
            "which is missing; on all rows the cards say it, or run `lode rescore`."
        )
    if layers is None:
        return ()
    found = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", layers.strip())
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise InputError(f"lode condition: --layers {layers!r} came; expected rows such as 0-3.")
    if not rescore:
        raise InputError(
            "lode condition: what the directions do on some layers alone is in no card and has to "
            "be measured; add --rescore, which renders."
        )
    return tuple(range(first, last + 1))


def _dataset(place: str) -> Dataset:
    from jobs.conditioning_measured import run_settings
    from storage.dataset import Dataset
    from storage.files import Store, absolute

    if Store(f"{place}/dataset").exists("manifest.json"):
        return Dataset(f"{place}/dataset")
    elsewhere = run_settings(place).dataset_url
    return Dataset(absolute(elsewhere) if elsewhere else f"{place}/dataset")


def _catalog(place: str) -> str:
    """The URL that the run published to."""
    from jobs.conditioning_measured import run_settings
    from storage.files import Store, absolute

    if Store(f"{place}/catalog").exists("_delta_log"):
        return f"{place}/catalog"
    elsewhere = run_settings(place).catalog
    return absolute(elsewhere) if elsewhere else f"{place}/catalog"


def _publication(card: DirectionCard) -> str:
    """The id of a publication: measuring a direction anew gives it a new version."""
    import hashlib

    measured = [[r.attribute, r.per_step] for r in card.responses]
    digest = hashlib.sha256(json.dumps([card.direction_id, measured]).encode())
    return digest.hexdigest()[:32]


def _said(
    found: TradeOff, card: DirectionCard, files: dict[str, str], measured: bool
) -> dict[str, Any]:
    from jobs.conditioning_output import compared

    facts: dict[str, Any] = {
        "direction": card.direction_id,
        "change": found.asked.change,
        "hold": list(found.held),
        "plain": {"direction": found.plain.direction_id, "method": found.plain.method},
    }
    facts |= compared(found, card if measured else None)
    return facts | {"files": files}


def _print(said: dict[str, Any], output: Output) -> None:
    if output == "json":
        typer.echo(json.dumps(said, indent=2, ensure_ascii=False))
        return
    for key, value in said.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {told}" for name, told in value.items() if told is not None)
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        typer.echo(f"{key:<11}  {value}")

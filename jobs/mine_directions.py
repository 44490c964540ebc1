"""Mine directions: make the dataset where it is missing, mine, measure, publish, report.

Everything goes under --out: dataset/, catalog/, results/ and report.html.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from jobs.cards import make_cards
from jobs.cluster import ray_session
from jobs.description import as_generator, described
from jobs.editing_run import CONTROL
from jobs.evaluation_stage import check_evaluator, evaluate, rescoring_config
from jobs.generate_dataset import DEMO, dataset_url, make_shards, open_complete, prepare
from jobs.learned_cards import artefact_cards, files_of, keep_artefacts
from jobs.learned_checks import check_devices
from jobs.mining_data import labels_of, read_data, read_styles, without
from jobs.mining_stage import Mined, check_mining, configs_of, mine
from jobs.parents import open_whole
from jobs.placement import check_placement, mining_needs
from jobs.publish import make_report, publish_cards, shape_of
from jobs.report.data import Stage
from jobs.results_cache import ResultsCache
from jobs.stability_stage import measure
from mining.evaluation.matrix import rescoring_matrix, truth_leaderboard
from mining.methods.registry import DRAWN
from schemas.config import load_settings
from schemas.directions import DirectionCard
from schemas.errors import InputError
from schemas.settings import RunSettings
from storage.catalog import Catalog
from storage.dataset import Dataset
from storage.duplicates import Duplicate
from storage.files import Store, absolute
from storage.manifest import Manifest
from storage.opening import check_folder


@dataclass(frozen=True)
class RunResult:
    """What a run leaves behind."""

    dataset: Dataset
    cards: tuple[DirectionCard, ...]
    mined: Mined
    stages: tuple[Stage, ...]
    catalog_url: str
    report_url: str
    duplicates: tuple[Duplicate, ...]  # directions that all but repeat one of the catalogue
    kept: dict[str, int]  # results "from before" and those "made" in this run
    artefacts: tuple[DirectionCard, ...] = ()  # of files that several of the directions come from


def run(settings: RunSettings) -> RunResult:
    """The whole chain; a rerun makes only what is missing of the dataset.

    Raises:
        LodeError: as the stages raise it, before work is lost.
    """
    out, catalog_url = absolute(settings.out).rstrip("/"), catalog_of(settings)
    given = settings.dataset_url is not None
    manifest = _finished(settings) if given else described(settings)
    check_mining(settings.mining, manifest)
    check_devices(settings.mining, settings.engine)
    styles, skipped = read_styles(settings.mining, manifest, settings.engine)
    mining = without(settings.mining, skipped)
    rescoring_config(settings.evaluation)
    catalog = Catalog(catalog_url)
    check_folder(catalog_url)
    manifest, missing = (manifest, []) if given else prepare(settings, manifest)
    stages: list[Stage] = []
    with ray_session(settings.engine):
        for need in mining_needs(settings.engine):  # one after the other, so each alone
            check_placement([need], settings.engine)
        if missing:
            with _timed(stages, "generate", f"{settings.dataset.samples:,} images"):
                url = absolute(dataset_url(settings))
                make_shards(url, manifest, missing, settings.engine)
        dataset = open_complete(settings)
        data = read_data(dataset, mining, styles)
        kept_at = out if settings.engine.results_cache else None
        cache = ResultsCache(kept_at)
        with _timed(stages, "mine", f"{len(data.latents):,} rows"):
            found = mine(data, mining, dataset, cache, settings.engine, kept_at)
            mined = replace(found, skipped=skipped)
        with _timed(stages, "stability", "halves, sizes and seeds"):
            steady = measure(mined, configs_of(mining), data, mining, manifest, cache)
            mined = replace(mined, stability=steady)
        with _timed(stages, "evaluate", f"{len(mined.directions)} directions"):
            measured = (manifest, data.latents, mined.directions, settings.evaluation)
            more = (labels_of(mining), cache, files_of(mined))
            evaluated = evaluate(*measured, settings.engine, *more)
        cache.prune()
    with _timed(stages, "publish", ""):
        keep_artefacts(mined, catalog_url, out)
        made = make_cards(settings, dataset, mined, evaluated)
        made += artefact_cards(dataset, mined, settings.mining.seed)
        published, duplicates = publish_cards(catalog, settings, dataset, made)
        cards, whole = published[: len(evaluated)], published[len(evaluated) :]
    report = make_report(settings, dataset, mined, evaluated, cards, stages)
    report.save(f"{out}/results")
    _write_control(mined, out)
    _write_agreement(dataset, f"{out}/results")
    try:  # whatever this raises, the run's results and their page are there
        shape = shape_of(mined, data, dataset, settings.mining.seed)
        if shape is not None:
            replace(report, shape=shape).save(f"{out}/results")
    finally:
        report_url = write_report(out)
    kept = {"from_before": cache.found, "made": cache.made}
    told = (tuple(stages), catalog_url, report_url, duplicates, kept)
    return RunResult(dataset, tuple(cards), mined, *told, tuple(whole))


def _finished(settings: RunSettings) -> Manifest:
    """The manifest of a dataset that is not made here, with what evaluating it needs at hand.

    Raises:
        InputError: it is not whole, or its generator or a model of its extractors is elsewhere.
        RunError: one of them is another here.
    """
    manifest = open_whole(dataset_url(settings)).manifest
    places = manifest.movable()
    given = {
        load: _only(options, f"extractors.{load}", places)
        for load, options in settings.extractors.items()
    }
    manifest = manifest.moved(
        _only(settings.generator.options, "generator.options", places),
        {load: moved for load, moved in given.items() if moved},
    )
    try:
        as_generator(settings.engine, check_evaluator, manifest.content, settings.evaluation)
    except InputError as error:
        if not places:
            raise
        told = " or ".join(f"--{setting} PLACE" for setting in places)
        raise InputError(f"{error} If it lies elsewhere now: {told}.") from None
    return manifest


def _only(options: Mapping[str, Any], part: str, places: Sequence[str]) -> dict[str, Any]:
    """Of a part's options those that say where a file lies: all others are the dataset's own."""
    return {name: value for name, value in options.items() if f"{part}.{name}" in places}


def _aimed(cards: Sequence[DirectionCard]) -> list[DirectionCard]:
    """The directions that were mined: all but those of the random control."""
    return [card for card in cards if card.method not in DRAWN]


def catalog_of(settings: RunSettings) -> str:
    """Where the run publishes."""
    return absolute(settings.catalog or f"{settings.out.rstrip('/')}/catalog")


def _write_control(mined: Mined, out: str) -> None:
    """The control model's file, which `lode edit` reads; none of an earlier run stays."""
    from mining.methods.control_file import save_control

    if mined.control is None:
        Store(out).remove(CONTROL)
    else:
        save_control(mined.control, f"{out}/{CONTROL}")


def _write_agreement(dataset: Dataset, folder: str) -> None:
    """The page of `lode dataset agreement`, where there is anything to compare."""
    from jobs.agreement import compare_backends, write
    from jobs.report.agreement_page import render_agreement

    found, pictures = compare_backends(dataset)
    if found.quantities:
        write(found, render_agreement(found, pictures), folder, replace=True)


def write_report(out: str) -> str:
    """Render the page of a finished run into <out>/report.html; its URL."""
    from jobs.agreement import read_advice
    from jobs.report.data import ReportData
    from jobs.report.page import render_page

    data = ReportData.load(f"{out}/results")
    page = render_page(data, read_advice(f"{out}/results", data.dataset.dataset_id))
    Store(out).replace("report.html", page.encode())
    return f"{out}/report.html"


def main(argv: Sequence[str]) -> int:
    """The program: settings from the arguments, then the run and what there is to see.

    The exit status is 1 where a direction that was asked for could not be mined.
    """
    settings = load_settings(argv, "mine_directions", __doc__ or "", DEMO)
    result = run(settings)
    if sys.stdout.isatty():
        _say(result)
    else:
        print(json.dumps(_summary(result)))
    return 1 if result.mined.failures else 0


def _summary(result: RunResult) -> dict[str, object]:
    matrix = rescoring_matrix(_aimed(result.cards))
    return {
        "catalog": result.catalog_url,
        "dataset": result.dataset.url,
        "dataset_id": result.dataset.dataset_id,
        "rows": result.dataset.rows,
        "report": result.report_url,
        "directions": len(result.cards),
        "diagonality": round(matrix.diagonality, 4) if matrix.judged else None,
        "near_duplicates": [list(pair) for pair in result.duplicates],
        "failures": dict(result.mined.failures),
        "skipped": dict(result.mined.skipped),
        "kept": result.kept,
        "seconds": {stage.name: round(stage.seconds, 1) for stage in result.stages},
    }


def _say(result: RunResult) -> None:
    """A table of the best direction per attribute, then where everything lies."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    board = truth_leaderboard(result.cards)
    if board is not None:
        table = Table(title="cosine to the true direction", title_justify="left")
        table.add_column("method")
        for attribute in board.attributes:
            table.add_column(attribute, justify="right")
        for method, row in zip(board.methods, board.cosines, strict=True):
            table.add_row(method, *(f"{value:.3f}" for value in row))
        console.print(table)
    for failure, why in result.mined.failures.items():
        console.print(f"[red]failed[/red]    {escape(f'{failure}: {why}')}", soft_wrap=True)
    for method, why in result.mined.skipped.items():
        console.print(f"[yellow]skipped[/yellow]   {escape(f'{method}: {why}')}", soft_wrap=True)
    matrix = rescoring_matrix(_aimed(result.cards))
    spent = ", ".join(f"{stage.name} {stage.seconds:.0f} s" for stage in result.stages)
    judged = f", {matrix.diagonality:.0%} of {matrix.judged} move their own attribute most"
    lines = {
        "directions": f"{len(result.cards)}{judged if matrix.judged else ''}",
        "time": spent,
        "catalogue": f"{result.catalog_url}   (lode catalog list --catalog {result.catalog_url})",
        "dataset": f"{result.dataset.url}   ({result.dataset.rows:,} rows)",
        "report": result.report_url,
    }
    if result.duplicates:
        lines["repeated"] = told(result.duplicates, result.catalog_url)
    for name, text in lines.items():
        console.print(f"[bold]{name:<10}[/bold] {escape(text)}", soft_wrap=True, highlight=False)


def told(duplicates: Sequence[Duplicate], catalog: str) -> str:
    """Which directions all but repeat others, in one line."""
    first = ", ".join(f"{a[:10]} {b[:10]} (cosine {c:.4f})" for a, b, c in duplicates[:3])
    more = ", ..." if len(duplicates) > 3 else ""
    return (
        f"{len(duplicates)} directions are nearly the same as others: {first}{more}   "
        f"(lode catalog stats --catalog {catalog})"
    )


@contextmanager
def _timed(stages: list[Stage], name: str, detail: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    stages.append(Stage(name, time.monotonic() - start, detail))


if __name__ == "__main__":
    from jobs.cli import guarded

    sys.exit(guarded(main, sys.argv[1:]))

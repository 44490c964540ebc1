"""`lode dataset`: check a dataset, repair it, say what it holds; the commands of its neighbours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jobs.cli_agreement import agreement
from jobs.cli_dataset_export import export
from jobs.cli_derive import PASS_ON, extend, filter_rows, told_step
from jobs.cli_direction import direction
from jobs.cli_head import head
from jobs.cli_invert import invert
from jobs.cli_statistics import statistics
from schemas.errors import InputError

if TYPE_CHECKING:
    from schemas.samples import Field
    from schemas.settings import EngineSettings
    from storage.dataset import Dataset
    from storage.runs import RunRecord
    from storage.verify import Findings, Problem

Output = Literal["table", "json"]

dataset_app = typer.Typer(
    help="Check, repair, describe, filter, extend, invert and export a dataset.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

dataset_app.command()(agreement)
dataset_app.command()(statistics)
dataset_app.command()(direction)
dataset_app.command()(head)
dataset_app.command()(export)
dataset_app.command()(invert)
dataset_app.command("filter")(filter_rows)
dataset_app.command(context_settings=PASS_ON)(extend)

UrlArgument = Annotated[str, typer.Argument(help="The dataset's folder or URL: <out>/dataset.")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print.")]


@dataset_app.command()
def verify(url: UrlArgument, output: OutputOption = "table") -> None:
    """Check every file against its receipt and the manifest; exit status 1 where any is wrong."""
    from jobs.repair_dataset import verify_dataset

    findings = verify_dataset(url)
    if output == "json":
        typer.echo(_json(asdict(findings)))
    else:
        _print_findings(findings)
    raise typer.Exit(1 if findings.problems else 0)


@dataset_app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def repair(
    context: typer.Context,
    url: UrlArgument,
    failed: Annotated[
        bool, typer.Option("--failed", help="Also shards with failed, crashed or timeout rows.")
    ] = False,
    parent: Annotated[
        str, typer.Option(metavar="URL", help="Where the dataset lies that it was made of.")
    ] = "",
) -> None:
    """Move broken shards into .broken/<time>/ and make them and the missing ones again.

    Takes --engine.KEY VALUE, --offline and --config FILE as `lode generate` does, and where a
    checkpoint or model file was moved --generator.options.checkpoint FILE or
    --extractors.NAME.model FILE. Nothing is deleted. Files that no shard owns stay where they are,
    and the exit status is 1.
    """
    from jobs import repair_dataset

    engine, generator, extractors = _settings(context.args)
    done = repair_dataset.repair(url, engine, failed, generator, extractors, parent or None)
    if done.made:
        typer.echo(f"made      {len(done.made):,} shards: {_numbers(done.made)}")
    if done.moved:
        typer.echo(f"moved     {len(done.moved):,} files into {done.aside}")
    _print_findings(done.after)
    raise typer.Exit(1 if done.after.problems else 0)


def _settings(
    words: Sequence[str],
) -> tuple[EngineSettings, dict[str, Any], dict[str, dict[str, Any]]]:
    """The engine settings among the arguments, options of the generator, and of extractors.

    What else decides a dataset is in its manifest.
    """
    from jobs.generate_dataset import DEMO
    from schemas.arguments import split_options
    from schemas.config import load_settings

    generator, rest = split_options(words, "generator.options")
    extractors, rest = split_options(rest, "extractors")
    for name, options in extractors.items():
        if not isinstance(options, dict):
            raise InputError(
                f"lode dataset repair: --extractors.{name} {options!r} came; expected "
                f"--extractors.{name}.KEY VALUE."
            )
    allowed = ("--engine.", "--config", "--offline")
    for word in rest:
        if word.startswith("--") and not word.startswith(allowed):
            raise InputError(
                f"lode dataset repair: {word} came; expected --engine.KEY, --config, --failed, "
                "--offline or, for moved files, --generator.options.KEY and --extractors.NAME.KEY: "
                "all that decides the data is in the dataset's manifest."
            )
    engine = load_settings(rest, "lode dataset repair", "", DEMO).engine
    return engine, generator, extractors


@dataset_app.command()
def info(url: UrlArgument, output: OutputOption = "table") -> None:
    """Print what a dataset is made of and how much of it is done."""
    from storage.dataset import Dataset
    from storage.files import absolute

    about = record(Dataset(absolute(url)))
    typer.echo(_json(about) if output == "json" else "\n".join(_facts(about)))


def record(dataset: Dataset) -> dict[str, Any]:
    """What `info` tells, as plain JSON."""
    from storage.derived import lineage
    from storage.quarantine import quarantined
    from storage.runs import runs

    manifest = dataset.manifest
    named = ("name", "fingerprint", "licence")
    return {
        "dataset_id": dataset.dataset_id,
        "url": dataset.url,
        "generator": {
            **{key: manifest.generator[key] for key in named},
            "weights": manifest.generator.get("weights"),
            "options": manifest.generator["options"],
        },
        "extractors": [
            {**{key: about[key] for key in named}, "models": about.get("models", [])}
            for about in manifest.extractors
        ],
        "settings": dict(manifest.settings),
        "derived": lineage(manifest),
        "rows": dataset.rows,
        "shards_done": len(dataset.receipts),
        "shards": manifest.shards,
        "statuses": dataset.statuses(),
        "quarantined": {
            str(shard): reason
            for shard, reason in sorted(quarantined(dataset.store, manifest).items())
        },
        "runs": [_run(run) for run in runs(dataset.store)],
        "bytes": sum(receipt.bytes for receipt in dataset.receipts.values()),
        "columns": [_column(field) for field in manifest.fields],
    }


def _run(run: RunRecord) -> dict[str, Any]:
    """One run as `info` tells it: rates are rows per second of one worker in that stage."""
    from storage.runs import RUNNING

    told = asdict(run)
    if run.state == RUNNING and not run.going_on:
        told["state"] = "ended without a word"
    told["started"] = datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds")
    told["rows_per_second"] = round(run.rows / run.seconds, 2) if run.seconds else None
    told["stage_rows_per_second"] = {
        stage: round(run.stage_rows[stage] / seconds, 2)
        for stage, seconds in run.stage_seconds.items()
        if seconds and stage in run.stage_rows
    }
    return told


def lines(problems: Sequence[Problem]) -> list[tuple[str, str, str]]:
    """(shard, file, what) of each problem; shards in a row that are not made share a line."""
    from storage.verify import UNMADE

    runs = dict(_runs(p.shard for p in problems if p.what == UNMADE and p.shard is not None))
    shown = []
    for problem in problems:
        shard = "-" if problem.shard is None else str(problem.shard)
        if problem.what != UNMADE or problem.shard is None:
            shown.append((shard, problem.file, problem.what))
        elif problem.shard in runs:  # the others of the run are in its line
            shards = range(problem.shard, runs[problem.shard] + 1)
            shown.append((_numbers(shards), problem.file, problem.what))
    return shown


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of each run of neighbours in ascending numbers."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _numbers(numbers: Iterable[int]) -> str:
    return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in _runs(numbers))


def _print_findings(findings: Findings) -> None:
    for line in _aligned(lines(findings.problems)):
        typer.echo(line)
    whole = findings.shards - len(findings.broken)
    typer.echo(
        f"dataset {findings.dataset_id}: {whole:,} of {findings.shards:,} shards whole, "
        f"{findings.rows:,} rows, {len(findings.problems):,} problems"
    )


def _facts(about: dict[str, Any]) -> list[str]:
    generator = about["generator"]
    facts = [
        ("dataset", about["dataset_id"]),
        ("url", about["url"]),
        *(("made of", told_step(step)) for step in about["derived"]),
        ("generator", generator["name"]),
        ("licence", generator["licence"]),
        ("fingerprint", generator["fingerprint"]),
        *([("weights", generator["weights"])] if generator["weights"] else []),
        ("options", json.dumps(generator["options"], sort_keys=True)),
        *(("extractor", f"{made['name']}, {made['licence']}") for made in about["extractors"]),
        ("settings", ", ".join(f"{key} {value}" for key, value in about["settings"].items())),
        ("rows", f"{about['rows']:,}"),
        ("shards", f"{about['shards_done']:,} of {about['shards']:,} done"),
        ("bytes", f"{about['bytes']:,}"),
    ]
    for extractor, counts in about["statuses"].items():
        shown = ", ".join(f"{count:,} {status}" for status, count in counts.items())
        facts.append(("statuses", f"{extractor}: {shown}"))
    facts += [("quarantined", f"shard {k}: {why}") for k, why in about["quarantined"].items()]
    facts += [("run", _told(run)) for run in about["runs"]]
    header = ("column", "type", "shape", "unit")
    columns = [
        (made["name"], made["type"], " x ".join(map(str, made["shape"])) or "-", made["unit"])
        for made in about["columns"]
    ]
    return [*_aligned(facts), "", *_aligned([header, *columns])]


def _told(run: dict[str, Any]) -> str:
    """One run in one line."""
    engine = run["engine"]
    parts = [
        f"{run['started']} {run['run_id']} {run['state']}",
        f"{run['rows']:,} rows in {run['seconds']:.0f} s",
    ]
    if run["rows_per_second"]:
        workers = f" with {engine['workers']} workers" if engine.get("workers") else ""
        parts.append(f"{run['rows_per_second']:g} rows/s{workers}")
    if run["seconds_to_first_shard"] is not None:
        parts.append(f"first shard after {run['seconds_to_first_shard']:.1f} s")
    rates = run["stage_rows_per_second"].items()
    parts += [f"{stage} {rate:g} rows/s a worker" for stage, rate in rates]
    parts += [f"{count:,} {reason}" for reason, count in sorted(run["rejects"].items())]
    parts += [f"{run[key]} {key}" for key in ("lost", "quarantined") if run[key]]
    parts += [run["error"]] if run["error"] else []
    return ", ".join(parts)


def _column(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "type": field.dtype,
        "shape": list(field.shape),
        "unit": field.unit,
    }


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, every column as wide as its widest cell; each row is one line."""
    plain = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
    padded = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in plain]
    return [line.rstrip() for line in padded]


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)

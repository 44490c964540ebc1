"""`lode dataset`: check a dataset, repair it, say what it holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from schemas.samples import Field
    from storage.dataset import Dataset
    from storage.verify import Findings, Problem

Output = Literal["table", "json"]

dataset_app = typer.Typer(
    help="Check, repair and describe a dataset.", no_args_is_help=True, rich_markup_mode=None
)

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


@dataset_app.command()
def repair(
    url: UrlArgument,
    workers: Annotated[
        int | None, typer.Option("--engine.workers", min=1, help="Worker processes.")
    ] = None,
    stages: Annotated[
        Literal["auto", "fused", "split"] | None,
        typer.Option("--engine.stages", help="Generator and extractors in one actor, or apart."),
    ] = None,
    generator_gpus: Annotated[
        float | None,
        typer.Option("--engine.generator_gpus", min=0, help="GPUs of each generator actor."),
    ] = None,
    object_store_mb: Annotated[
        int | None, typer.Option("--engine.object_store_mb", min=100, help="Memory for images.")
    ] = None,
) -> None:
    """Move broken shards into .broken/<time>/ and make them and the missing ones again.

    Nothing is deleted. Files that no shard owns stay where they are, and the exit status is 1.
    """
    from jobs import repair_dataset
    from schemas.settings import EngineSettings

    told = {
        "workers": workers,
        "stages": stages,
        "generator_gpus": generator_gpus,
        "object_store_mb": object_store_mb,
    }
    given = {key: value for key, value in told.items() if value is not None}
    done = repair_dataset.repair(url, EngineSettings.model_validate(given))
    if done.made:
        typer.echo(f"made      {len(done.made):,} shards: {_numbers(done.made)}")
    if done.moved:
        typer.echo(f"moved     {len(done.moved):,} files into {done.aside}")
    _print_findings(done.after)
    raise typer.Exit(1 if done.after.problems else 0)


@dataset_app.command()
def info(url: UrlArgument, output: OutputOption = "table") -> None:
    """Print what a dataset is made of and how much of it is done."""
    from storage.dataset import Dataset
    from storage.files import absolute

    about = record(Dataset(absolute(url)))
    typer.echo(_json(about) if output == "json" else "\n".join(_facts(about)))


def record(dataset: Dataset) -> dict[str, Any]:
    """What `info` tells, as plain JSON."""
    manifest = dataset.manifest
    named = ("name", "fingerprint", "licence")
    return {
        "dataset_id": dataset.dataset_id,
        "url": dataset.url,
        "generator": {key: manifest.generator[key] for key in named},
        "extractors": [{key: about[key] for key in named} for about in manifest.extractors],
        "settings": dict(manifest.settings),
        "rows": dataset.rows,
        "shards_done": len(dataset.receipts),
        "shards": manifest.shards,
        "statuses": dataset.statuses(),
        "bytes": sum(receipt.bytes for receipt in dataset.receipts.values()),
        "columns": [_column(field) for field in manifest.fields],
    }


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
        ("generator", f"{generator['name']}, {generator['licence']}"),
        ("fingerprint", generator["fingerprint"]),
        *(("extractor", f"{made['name']}, {made['licence']}") for made in about["extractors"]),
        ("settings", ", ".join(f"{key} {value}" for key, value in about["settings"].items())),
        ("rows", f"{about['rows']:,}"),
        ("shards", f"{about['shards_done']:,} of {about['shards']:,} done"),
        ("bytes", f"{about['bytes']:,}"),
    ]
    for extractor, counts in about["statuses"].items():
        shown = ", ".join(f"{count:,} {status}" for status, count in counts.items())
        facts.append(("statuses", f"{extractor}: {shown}"))
    header = ("column", "type", "shape", "unit")
    columns = [
        (made["name"], made["type"], " x ".join(map(str, made["shape"])) or "-", made["unit"])
        for made in about["columns"]
    ]
    return [*_aligned(facts), "", *_aligned([header, *columns])]


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

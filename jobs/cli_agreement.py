"""`lode dataset agreement`: which measuring backend to trust for what."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from schemas.errors import InputError

if TYPE_CHECKING:
    from jobs.agreement import Agreement
    from mining.evaluation.agreement import Comparison, Estimate
    from mining.evaluation.landmark_agreement import LandmarkComparison

Output = Literal["table", "json"]
HEADER = ("quantity", "first", "second", "rows", "r", "95 %", "rho", "bias", "spread", "slope")
FAILING = ("outliers", "only first", "only second")
LEAST = 5  # columns of a table that are printed however narrow the terminal is
WIDE = 10_000  # characters of a line where nobody looks
READABLE = 110  # characters of a line of text
LEGEND = (
    "r: Pearson's correlation, with its 95 % interval. rho: Spearman's, of ranks. bias, spread: "
    "mean and standard deviation of second minus first, where both have one unit. slope: of the "
    "line second = slope x first + intercept. outliers: rows more than four robust standard "
    "deviations off. only first, only second: rows that one of the two alone measured.",
    "Distances of landmarks are in parts of the eye distance. 95th: what 95 % of the rows stay "
    "below. over 10 %: share of the rows farther apart.",
)


def agreement(
    url: Annotated[str, typer.Argument(help="The dataset's folder or URL: <out>/dataset.")],
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = "table",
    out: Annotated[
        str,
        typer.Option(help="Folder or URL for agreement.html and .json; default: <out>/results."),
    ] = "",
) -> None:
    """Compare the backends that measured a dataset: which one to trust for what.

    Prints the comparison, and writes agreement.html and agreement.json with it.
    """
    from jobs.agreement import check_target, compare_backends, document, write
    from jobs.report.agreement_page import render_agreement
    from storage.dataset import Dataset
    from storage.files import Store, absolute

    dataset = Dataset(absolute(url))
    folder = absolute(out) if out else beside(dataset.url)
    target = Store(folder)
    check_target(target, dataset.dataset_id)
    target.check_writable()
    found, pictures = compare_backends(dataset)
    page, numbers = write(found, render_agreement(found, pictures), folder)
    if output == "json":
        typer.echo(json.dumps(document(found), indent=2, allow_nan=False, ensure_ascii=False))
        return
    for line in lines(found, width()):
        typer.echo(line)
    typer.echo(f"\n{page}\n{numbers}")


def width() -> int:
    """Characters of a line of the terminal; WIDE where the text goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE


def beside(url: str) -> str:
    """The folder results beside a dataset.

    Raises:
        InputError: there is nothing beside the root of a bucket or file system.
    """
    parent = url.rstrip("/").rpartition("/")[0]
    if not parent or parent.endswith("/"):
        raise InputError(f"agreement: nothing lies beside {url}; say with --out where to write.")
    return f"{parent}/results"


def lines(found: Agreement, width: int = WIDE) -> list[str]:
    """The comparison as text: notes, whom to trust, every pair, landmarks, failures.

    Args:
        width: characters of a line, at most; tables leave their last columns out for it.
    """
    told = ", ".join(f"{made.name} measured {made.measured:,}" for made in found.backends)
    text = _wrapped(f"dataset {found.dataset_id}: {found.rows:,} rows, {told}", width)
    for note in found.notes:
        text += _wrapped(note, width)
    if found.quantities:
        names = [(one.name, " = ".join(one.trust.backends) or "none") for one in found.quantities]
        head, *trusted = _aligned([("quantity", "trust, and why"), *names])
        text += ["", head]
        for line, one in zip(trusted, found.quantities, strict=True):
            text += [line, *_wrapped(one.trust.reason, width, "    ")]
        pairs = [_row(one.name, pair) for one in found.quantities for pair in one.comparisons]
        text += ["", *_fitted([(*HEADER, *FAILING), *pairs], width), *_wrapped(LEGEND[0], width)]
    if found.landmarks:
        header = ("landmarks", "", "points", "rows", "mean", "median", "95th", "over 10 %")
        rows = [_landmarks(one) for one in found.landmarks]
        table = _fitted([(*header, *FAILING[1:]), *rows], width)
        text += ["", *table, *_wrapped(LEGEND[1], width)]
    if found.failures:
        names = list(found.failures[0].failed)
        rows = [
            (
                f"{one.low:g} to {one.high:g}" if math.isfinite(one.high) else f"{one.low:g} on",
                f"{one.rows:,}",
                *(_share(one.failed[name].value) for name in names),
            )
            for one in found.failures
        ]
        text += ["", *_fitted([("failures at |yaw|", "rows", *names), *rows], width)]
    return text


def _row(quantity: str, pair: Comparison) -> tuple[str, ...]:
    return (
        quantity,
        pair.first,
        pair.second,
        f"{pair.rows:,}",
        _number(pair.pearson.value),
        _interval(pair.pearson),
        _number(pair.spearman.value),
        f"{_number(pair.bias, 2)} {pair.unit}" if pair.unit else "-",
        _number(pair.spread, 2),
        _number(pair.slope),
        _share(pair.outliers),
        f"{pair.only_first:,}",
        f"{pair.only_second:,}",
    )


def _landmarks(one: LandmarkComparison) -> tuple[str, ...]:
    shares = (one.mean, one.median, one.high, one.far)
    return (
        one.first,
        one.second,
        str(one.points),
        f"{one.rows:,}",
        *(_share(value) for value in shares),
        f"{one.only_first:,}",
        f"{one.only_second:,}",
    )


def _number(value: float, decimals: int = 3) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else "-"


def _share(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else "-"


def _interval(found: Estimate) -> str:
    return f"{_number(found.low)} .. {_number(found.high)}" if math.isfinite(found.low) else "-"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, every column as wide as its widest cell; each row is one line."""
    plain = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
    padded = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in plain]
    return [line.rstrip() for line in padded]


def _fitted(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """`_aligned`, without the last columns where the lines would be too wide, which is said."""
    shown, text = len(rows[0]), _aligned(rows)
    while shown > LEAST and max(map(len, text)) > width:
        shown -= 1
        text = _aligned([row[:shown] for row in rows])
    if shown == len(rows[0]):
        return text
    left = ", ".join(rows[0][shown:])
    return text + _wrapped(f"(too narrow for {left}: they are on the page)", width)


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """A sentence as lines that can be read."""
    return textwrap.wrap(
        " ".join(text.split()),
        max(20, min(width, READABLE)),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )

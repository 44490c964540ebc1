"""`lode dataset statistics`: the range of every parameter that an extractor measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from schemas.errors import ConflictError, InputError
from schemas.registry import unknown

if TYPE_CHECKING:
    from mining.shape3d.statistics import Statistics
    from schemas.samples import Field
    from storage.dataset import Dataset
    from storage.files import Store

Output = Literal["table", "json"]
DEFAULT = "shape3d"  # the extractor whose coefficients this is mostly asked for
TABLE = "statistics"  # what our JSON says of itself
HEADER = ("parameter", "unit", "mean", "deviation", "0.5 %", "99.5 %", "least", "most")


def statistics(
    url: Annotated[str, typer.Argument(help="The dataset's folder or URL: <out>/dataset.")],
    extractor: Annotated[
        str, typer.Option(help="Whose columns: an extractor's name in the dataset.")
    ] = DEFAULT,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = "table",
    out: Annotated[str, typer.Option(help="Also write the JSON to this file or URL.")] = "",
) -> None:
    """Print mean, deviation and range of every number that an extractor measured.

    Percentiles 0.5 and 99.5 are the range to which parameters are rescaled to one -a..a.
    """
    from storage.dataset import Dataset
    from storage.files import absolute

    dataset = Dataset(absolute(url))
    target = target_of(absolute(out), dataset.dataset_id, extractor) if out else None
    found, units, rows = summary(dataset, extractor)
    told = document(dataset, extractor, rows, found, units)
    text = json.dumps(told, indent=1, allow_nan=False, ensure_ascii=False)
    if target is not None:
        target[0].replace(target[1], text.encode())
    for line in [text] if output == "json" else lines(told):
        typer.echo(line)
    if target is not None and output == "table":
        typer.echo(f"\n{target[0].path(target[1])}")


def summary(dataset: Dataset, extractor: str) -> tuple[Statistics, tuple[str, ...], int]:
    """The statistics over the measured rows, the parameters' units, and the rows there are.

    Rows with a number that is not finite are left out. Holds all float columns of the extractor at
    once, some 30 bytes a number.

    Raises:
        InputError: there is no such extractor, it has no float columns, no shard is finished, or
            fewer than two rows are measured.
    """
    import numpy as np

    from mining.extractors.base import MEASURED
    from mining.shape3d.statistics import summarise

    names = [about["name"] for about in dataset.manifest.extractors]
    if extractor not in names:
        said = str(unknown("extractor", extractor, names))
        if extractor == DEFAULT:
            said = f"statistics: the dataset has no {DEFAULT!r}; it has {', '.join(names)}."
        raise InputError(f"{said} Say whose numbers with --extractor NAME.")
    fields = float_fields(dataset, extractor)
    if not fields:
        raise InputError(f"statistics: the extractor {extractor!r} has no columns of numbers.")
    status = f"{extractor}_status"
    table = dataset.arrays([status, *(field.name for field in fields)])
    measured = np.isin(np.asarray(table.pop(status), str), sorted(MEASURED))
    if measured.sum() < 2:
        raise InputError(
            f"statistics: {extractor!r} measured {measured.sum():,} of {len(measured):,} rows; "
            "expected 2 or more."
        )
    parts = [table.pop(field.name)[measured].reshape(measured.sum(), -1) for field in fields]
    units = tuple(field.unit for field in fields for _ in parameters(field, extractor))
    parameter_names = [name for field in fields for name in parameters(field, extractor)]
    twice = sorted({name for name in parameter_names if parameter_names.count(name) > 1})
    if twice:
        raise InputError(f"statistics: two columns would be the parameter {', '.join(twice)}.")
    return summarise(parameter_names, np.concatenate(parts, axis=1)), units, len(measured)


def float_fields(dataset: Dataset, extractor: str) -> list[Field]:
    """The extractor's columns of one float or of a vector of them; points are left out."""
    return [
        field
        for field in dataset.manifest.fields
        if field.name.startswith(f"{extractor}_")
        and field.dtype == "float32"
        and len(field.shape) <= 1
    ]


def parameters(field: Field, extractor: str) -> list[str]:
    """What a column's numbers are called: yaw; expression_0, expression_1 ..."""
    name = field.name.removeprefix(f"{extractor}_")
    if not field.shape:
        return [name]
    return [f"{name}_{k}" for k in range(field.shape[0])]


def document(
    dataset: Dataset, extractor: str, rows: int, found: Statistics, units: tuple[str, ...]
) -> dict[str, Any]:
    """What `mining.shape3d.statistics.from_json` reads, and whose it is."""
    told = found.to_json()
    for unit, row in zip(units, told["parameters"].values(), strict=True):
        row["unit"] = unit
    about = {"table": TABLE, "dataset_id": dataset.dataset_id, "extractor": extractor}
    return {**about, "rows": rows, **told}


def lines(told: dict[str, Any]) -> list[str]:
    """The document as text, one line a parameter."""
    fields = ("mean", "deviation", "low", "high", "least", "most")
    rows: list[tuple[str, ...]] = [HEADER]
    for name, row in told["parameters"].items():
        rows.append((name, row["unit"] or "-", *(f"{row[field]:.4g}" for field in fields)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    first = (
        f"dataset {told['dataset_id']}, {told['extractor']}: {told['count']:,} of "
        f"{told['rows']:,} rows are measured and finite"
    )
    return [first, "", *(line.rstrip() for line in padded)]


def target_of(out: str, dataset_id: str, extractor: str) -> tuple[Store, str]:
    """The folder and the name of the file that is to be written.

    Raises:
        InputError: it names no file.
        ConflictError: something else is there.
    """
    from storage.files import Store

    folder, _, name = out.rpartition("/")
    if not name or not folder or folder.endswith(":/"):
        raise InputError(f"statistics: --out {out} came; expected a file in a folder or bucket.")
    store = Store(folder)
    if store.exists(name) and not _is_ours(store, name, dataset_id, extractor):
        raise ConflictError(
            f"statistics: {store.path(name)} is not the statistics of {extractor!r} in dataset "
            f"{dataset_id}; choose another --out. Nothing was changed."
        )
    store.check_writable()
    return store, name


def _is_ours(store: Store, name: str, dataset_id: str, extractor: str) -> bool:
    if store.local and store.fs.isdir(store.path(name)):
        return False
    try:
        told = json.loads(store.read(name))
    except ValueError:
        return False
    mine = {"table": TABLE, "dataset_id": dataset_id, "extractor": extractor}
    return isinstance(told, dict) and all(told.get(key) == value for key, value in mine.items())

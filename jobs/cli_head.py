"""`lode dataset head`: the first rows of a dataset, those with a property, or some at random."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from schemas.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Output = Literal["table", "json", "csv"]

ROWS = 5
WIDTH = 100  # columns of a table that does not go to a terminal
GAP = 2
NARROWEST = 9  # of a cell, where rows stand side by side

UrlArgument = Annotated[str, typer.Argument(help="The dataset's folder or URL: <out>/dataset.")]
ColumnsOption = Annotated[
    str,
    typer.Option(metavar="A,B", help="Only these columns; a name with a comma in `backquotes`."),
]
WhereOption = Annotated[
    str, typer.Option(metavar="EXPR", help="Only rows for which it is true: 'abs(yaw) < 10'.")
]
SampleOption = Annotated[int | None, typer.Option(min=1, help="So many of the rows, at random.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Of the random choice; 0 unless set.")]


def head(
    url: UrlArgument,
    rows: Annotated[
        int | None, typer.Option("-n", "--rows", min=1, help=f"How many; {ROWS} unless set.")
    ] = None,
    columns: ColumnsOption = "",
    where: WhereOption = "",
    sample: SampleOption = None,
    seed: SeedOption = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = "table",
) -> None:
    """Print rows of a dataset: the first ones, or with --sample all that were drawn.

    The table shortens tensors to their shape; JSON and CSV hold all numbers, pictures as base64.
    """
    from storage.dataset import Dataset
    from storage.files import absolute
    from storage.selecting import select

    check_seed(sample, seed)
    dataset = Dataset(absolute(url))
    tables = select(dataset, where or None, names_of(columns), sample, seed or 0)
    found = first_rows(tables, rows or sample or ROWS)
    if output == "json":
        typer.echo(json.dumps([] if found is None else records(found), indent=1, **_JSON))
    elif output == "csv":
        typer.echo("" if found is None else as_csv(found), nl=False)
    elif found is None:
        typer.echo("No row matches." if where else "No shard is finished yet.")
    else:
        for line in shown(found, _width()):
            typer.echo(line)


_JSON: Any = {"allow_nan": False, "ensure_ascii": False}


def names_of(columns: str) -> list[str] | None:
    """The names in "a,b,`c,d`"; None for no text.

    Raises:
        InputError: a name is empty or does not end.
    """
    if not columns.strip():
        return None
    try:
        reader = csv.reader([columns], quotechar="`", skipinitialspace=True, strict=True)
        names = [name.strip() for name in next(reader)]
    except csv.Error as error:
        raise InputError(f"--columns {columns!r} cannot be read: {error}.") from None
    if not all(names):
        raise InputError(f"--columns {columns!r} holds an empty name; expected --columns a,b.")
    return names


def check_seed(sample: int | None, seed: int | None) -> None:
    """Refuse a seed where nothing is drawn."""
    if seed is not None and sample is None:
        raise InputError(f"--seed {seed} came without --sample; it would change nothing.")


def first_rows(tables: Iterable[pa.Table], most: int) -> pa.Table | None:
    """The first rows of all tables together, reading no more of them than it takes."""
    import pyarrow as pa

    kept: list[pa.Table] = []
    for table in tables:
        kept.append(table.slice(0, most - sum(map(len, kept))))
        if sum(map(len, kept)) == most:
            break
    return pa.concat_tables(kept) if kept else None


def records(table: pa.Table) -> list[dict[str, Any]]:
    """One object a row: tensors as nested lists, bytes as base64, None for what is not a number."""
    columns = {name: list(map(plain, _cells(table, name))) for name in table.column_names}
    return [{name: cells[row] for name, cells in columns.items()} for row in range(len(table))]


def plain(cell: Any) -> Any:
    """A cell as JSON has it; float32 with the fewest digits that tell it."""
    import numpy as np

    if isinstance(cell, np.ndarray):
        return [plain(inner) for inner in cell]
    if isinstance(cell, bytes):
        return base64.b64encode(cell).decode()
    if isinstance(cell, np.floating):
        return float(str(cell)) if math.isfinite(cell) else None
    return cell.item() if isinstance(cell, np.generic) else cell


def as_csv(table: pa.Table) -> str:
    """Header and rows; a tensor is its JSON in one cell, what is null an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in records(table):
        cells = row.values()
        writer.writerow([json.dumps(c, **_JSON) if isinstance(c, list) else c for c in cells])
    return text.getvalue()


def shown(table: pa.Table, width: int) -> list[str]:
    """The table as lines no wider than `width`.

    One line a row where that fits; else one line a column, with the rows side by side, as many of
    them as fit, and the rest below.
    """
    from rich.cells import cell_len

    names = table.column_names
    columns = [[_printable(name), *map(shortened, _cells(table, name))] for name in names]
    widest = [max(map(cell_len, column)) for column in columns]
    if sum(widest) + GAP * (len(widest) - 1) <= width:
        return _lines(list(zip(*columns, strict=True)))
    first = max(cell_len(column[0]) for column in columns)
    at_once = max(1, (width - first) // (NARROWEST + GAP))
    lines: list[str] = []
    for start in range(1, len(table) + 1, at_once):
        part = [[column[0], *column[start : start + at_once]] for column in columns]
        most = (width - first) // (len(part[0]) - 1) - GAP
        rows = [[row[0], *(_cut(cell, most) for cell in row[1:])] for row in part]
        lines += [""] if lines else []
        lines += _lines(rows)
    return lines


def shortened(cell: Any) -> str:
    """A cell for people: a tensor's shape, four digits of a number, "-" for what is null."""
    import numpy as np

    if cell is None:
        return "-"
    if isinstance(cell, np.ndarray):
        return " x ".join(map(str, cell.shape)) if cell.ndim > 1 else f"{len(cell)} values"
    if isinstance(cell, bytes):
        return f"{len(cell):,} bytes"
    if isinstance(cell, np.floating):
        return f"{cell:.4g}"
    return _printable(str(cell))


def _cells(table: pa.Table, name: str) -> list[Any]:
    """A column's cells: None, a NumPy array or number, text or bytes."""
    import pyarrow as pa

    from schemas.samples import from_column

    column = table.column(name)
    if not (pa.types.is_fixed_size_list(column.type) or pa.types.is_floating(column.type)):
        return column.to_pylist()
    known = column.is_valid().to_pylist()
    return [v if ok else None for v, ok in zip(from_column(column), known, strict=True)]


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, every column as wide as its widest cell."""
    from rich.cells import cell_len, set_cell_size

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    gap = " " * GAP
    padded = [
        gap.join(set_cell_size(c, w) for c, w in zip(row, widths, strict=True)) for row in rows
    ]
    return [line.rstrip() for line in padded]


def _cut(cell: str, most: int) -> str:
    """Long text without its middle: ids differ at their ends."""
    from rich.cells import cell_len

    if cell_len(cell) <= most:
        return cell
    tail = (most - 1) * 2 // 3
    return f"{cell[: most - 1 - tail]}…{cell[len(cell) - tail :]}"


def _printable(text: str) -> str:
    """Without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _width() -> int:
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH

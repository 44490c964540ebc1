"""How to load an exported folder, as the dataset card tells: examples that run in that folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.samples import Field


def loading(fields: Sequence[Field]) -> str:
    """One example a library; a column of tensors is shown where there is one."""
    tensors = [
        field
        for field in fields
        if len(field.shape) in (1, 2)
        and field.dtype not in ("string", "binary")
        and field.name.isidentifier()
    ]
    deepest = max(tensors, key=lambda field: len(field.shape), default=None)
    parts = [
        "Any reader of Parquet will do. These examples run in this folder; tensors are nested "
        "fixed-size lists, in row-major order."
    ]
    for title, lines in examples(deepest).items():
        parts.append(f"### {title}")
        parts.append("\n".join(["```python", *lines, "```"]))
    return "\n\n".join(parts)


def examples(tensor: Field | None) -> Mapping[str, list[str]]:
    """Library -> lines of Python that leave all rows in `samples`, and of some `numbers`.

    `numbers` is the tensor's column in NumPy, (rows, *shape): without the null rows, but in
    `datasets`, which has NaN for them.

    Args:
        tensor: of one or two dimensions; None leaves `numbers` out.
    """
    made = {
        "pandas": ["import pandas as pd", "", 'samples = pd.read_parquet("data")'],
        "Polars": ["import polars as pl", "", 'samples = pl.read_parquet("data/*.parquet")'],
        "DuckDB": [
            "import duckdb",
            "",
            "samples = duckdb.sql(\"SELECT * FROM 'data/*.parquet'\").to_arrow_table()",
        ],
        "Hugging Face datasets": [
            "from pathlib import Path",
            "",
            "from datasets import load_dataset",
            "",
            'samples = load_dataset(str(Path.cwd()), split="train").with_format("numpy")',
        ],
        "Ray Data": [  # its workers run in folders of their own
            "from pathlib import Path",
            "",
            "import ray",
            "",
            'samples = ray.data.read_parquet(str(Path("data").resolve()))',
        ],
        "pyarrow": ["import pyarrow.parquet as pq", "", 'samples = pq.read_table("data")'],
    }
    if tensor is not None:
        for title, lines in _numbers(tensor).items():
            made[title] = [*lines[:-1], *made[title], lines[-1]]
    return made


def _numbers(tensor: Field) -> dict[str, list[str]]:
    """Library -> the imports and the line that bring a column of tensors into NumPy."""
    shape = ", ".join(map(str, tensor.shape))
    column = f'samples["{tensor.name}"]'
    cells = f"{column}.dropna()"
    stacked = cells if len(tensor.shape) == 1 else f"{cells}.map(np.vstack)"
    numpy = "import numpy as np"
    return {
        "pandas": [numpy, f"numbers = np.stack({stacked})  # (rows, {shape})"],
        "Polars": [f"numbers = {column}.drop_nulls().to_numpy()  # (rows, {shape})"],
        "DuckDB": [
            numpy,
            f'numbers = np.array({column}.drop_null().to_pylist(), "{tensor.dtype}")',
        ],
        "Hugging Face datasets": [f"numbers = {column}[:]  # (rows, {shape})"],
    }

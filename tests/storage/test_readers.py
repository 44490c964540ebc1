"""An exported folder read by six libraries: the same values, to the bit, and shapes in all."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.dataset_export import ExportConfig, export_here, export_to
from tests.storage.odd_dataset import ODD, ROWS, truth, write

ROOT = Path(__file__).parents[2]
READ_APART = Path(__file__).parent / "read_apart.py"
Cells = dict[str, list[Any]]  # column -> cells, None for null


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """A dataset of three shards, exported in place."""
    folder = tmp_path_factory.mktemp("here")
    export_here(write(folder))
    return folder


@pytest.fixture(scope="module")
def out(here, tmp_path_factory) -> Path:
    """All of it in another folder, in other files."""
    folder = tmp_path_factory.mktemp("out")
    export_to(write(here), str(folder), config=ExportConfig(file_bytes=8_000))
    assert len(list((folder / "data").iterdir())) > 3
    return folder


@pytest.fixture(scope="module", params=["here", "out"])
def folder(request) -> Path:
    return request.getfixturevalue(request.param)


def by_pandas(folder: Path) -> Cells:
    import pandas as pd

    frame = pd.read_parquet(folder / "data")
    return {name: frame[name].tolist() for name in frame}


def by_polars(folder: Path) -> Cells:
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(folder / "data" / "*.parquet")
    return {name: frame[name].to_list() for name in frame.columns}


def by_duckdb(folder: Path) -> Cells:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * FROM '{folder}/data/*.parquet'")
        names = [column[0] for column in found.description]
        rows = found.fetchall()
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def by_pyarrow(folder: Path) -> Cells:
    import pyarrow.dataset

    table = pyarrow.dataset.dataset(folder / "data", format="parquet").to_table()
    return table.to_pydict()


@pytest.fixture(scope="module")
def told_by_datasets(here, out) -> dict[str, Any]:
    """Folder -> cells and features, read once."""
    pytest.importorskip("datasets")
    return apart("datasets", here, out)


@pytest.fixture(scope="module")
def told_by_ray(here, out) -> dict[str, Any]:
    """Folder -> cells, and the card's examples, in one run of Ray."""
    for name in ("datasets", "duckdb", "polars"):
        pytest.importorskip(name)
    return apart("ray", here, out)


def apart(what: str, *folders: Path) -> Any:
    """What libraries that start threads and processes read, in a process of its own."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "HF_"))},
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folders[0].parent / f"cache-{what}"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [sys.executable, str(READ_APART), what, *map(str, folders)]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


@pytest.mark.parametrize("read", [by_pandas, by_polars, by_duckdb, by_pyarrow])
def test_the_same_values_and_shapes_in_every_reader(read: Callable[[Path], Cells], folder):
    check(read(folder))


def test_the_same_values_and_shapes_in_datasets(told_by_datasets, folder):
    check(told_by_datasets[str(folder)]["cells"])


@pytest.mark.ray
def test_the_same_values_and_shapes_in_ray_data(told_by_ray, folder):
    check(told_by_ray[str(folder)])


def check(found: Cells) -> None:
    """All columns and rows are there, with the values that were written."""
    assert list(found) == list(truth())
    order = np.argsort(found["sample_id"])  # a reader may take the files in any order
    for name, (field, cells) in truth().items():
        came = [found[name][row] for row in order]
        assert len(came) == ROWS
        for cell, expected in zip(came, cells, strict=True):
            if expected is None:
                assert cell is None or cell != cell, name  # pandas has NaN for null
            elif field.dtype in ("string", "binary"):
                assert (bytes(cell) if field.dtype == "binary" else cell) == expected
            else:
                values = np.array(nested(cell), field.dtype)
                assert values.shape == field.shape, name
                assert values.tobytes() == np.asarray(expected, field.dtype).tobytes(), name


def nested(cell: Any) -> Any:
    """Arrays of arrays as plain lists."""
    return [nested(inner) for inner in cell] if np.ndim(cell) else cell


def test_datasets_knows_tensors_and_pictures(told_by_datasets, folder):
    """Features are those of the card: arrays, vectors of fixed length, and images that open."""
    told = told_by_datasets[str(folder)]
    features = told["features"]
    assert list(features) == list(truth())
    assert features["points_landmarks"] == "Array2D(shape=(68, 2), dtype='float32')"
    assert features["volume"] == "Array3D(shape=(2, 3, 4), dtype='float32')"
    assert features["w"] == "List(Value('float32'), length=8)"
    assert features["points_faces"] == "Value('int32')"
    assert features[ODD] == "Value('float32')"
    assert told["picture"] == ("JPEG", (16, 16))
    assert told["landmarks"] == ((ROWS, 68, 2), "float32")


@pytest.mark.ray
def test_the_examples_of_the_card_run(told_by_ray):
    """Every block of Python in README.md, in the folder; what Ray's reads is checked above."""
    told = told_by_ray["examples"]
    assert told.keys() == {"pandas", "Polars", "DuckDB", "Hugging Face datasets", "pyarrow"}
    expected = np.stack(truth()["w_plus"][1]).tobytes()
    for title, (rows, numbers) in told.items():
        assert rows == ROWS, title
        if title != "pyarrow":
            assert numbers.tobytes() == expected, title

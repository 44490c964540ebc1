"""`lode dataset export`: in place and elsewhere, mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from jobs.cli_dataset import dataset_app
from schemas.errors import ConflictError, InputError
from tests.storage.odd_dataset import ROWS, write


@pytest.fixture
def url(tmp_path) -> str:
    write(tmp_path / "dataset")
    return str(tmp_path / "dataset")


def export(*words) -> Result:
    return CliRunner().invoke(dataset_app, ["export", *map(str, words)])


def test_in_place(url):
    done = export(url)
    assert done.exit_code == 0, done.output
    facts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert facts["rows"] == str(ROWS)
    assert facts["licence"] == "Apache-2.0, MIT"
    assert {"README.md", "croissant.json"} <= {path.name for path in Path(url).iterdir()}


def test_elsewhere_with_everything(url, tmp_path):
    out = tmp_path / "out"
    words = ("--where", "yaw < 2", "--columns", "sample_id,yaw,w_plus", "--sample", 6)
    done = export(
        url, "--out", out, *words, "--seed", 2, "--creator", "Lab", "--date", "2026-03-01"
    )
    assert done.exit_code == 0, done.output
    assert "6 of the rows with yaw < 2, drawn at random with seed 2; 3 columns" in done.stdout
    table = pq.read_table(out / "data")
    assert table.column_names == ["sample_id", "points_yaw", "w_plus"] and len(table) == 6
    told = json.loads((out / "croissant.json").read_text())
    assert told["creator"]["name"] == "Lab" and told["datePublished"] == "2026-03-01"
    again = export(url, "--out", out)
    assert isinstance(again.exception, ConflictError)
    assert export(url, "--out", out, "--force").exit_code == 0


def test_the_same_rows_as_head_shows(url, tmp_path):
    words = ("--where", "yaw < 2", "--sample", "5", "--seed", "9")
    assert export(url, "--out", tmp_path / "out", *words).exit_code == 0
    shown = CliRunner().invoke(dataset_app, ["head", url, *words, "--output", "json"])
    written = pq.read_table(tmp_path / "out" / "data").column("sample_id").to_pylist()
    assert [row["sample_id"] for row in json.loads(shown.stdout)] == written


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--where", "yaw < 2"), "--where came without --out"),
        (("--columns", "w"), "--columns came without --out"),
        (("--sample", "3"), "--sample came without --out"),
        (("--seed", "3"), "--seed 3 came without --sample"),
        (("--out", "OUT", "--columns", "wibble"), "wibble"),
        (("--out", "OUT", "--where", "yaw <"), "--where"),
        (("--out", "OUT", "--where", "points_faces > 99"), "no row with points_faces > 99"),
        (("--date", "soon"), "date 'soon'"),
        (("--homepage", "file:///home/me"), "homepage"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(url, tmp_path, words, said):
    done = export(url, *(str(tmp_path / "out") if word == "OUT" else word for word in words))
    assert isinstance(done.exception, InputError) and said in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (Path(url) / "README.md").exists()
    assert not [path for path in tmp_path.rglob("*") if path.is_relative_to(tmp_path / "out/data")]


def test_what_lacks_shards(tmp_path):
    write(tmp_path / "dataset", shards=[1])
    done = export(tmp_path / "dataset")
    assert isinstance(done.exception, InputError) and "--partial" in str(done.exception)
    done = export(tmp_path / "dataset", "--partial")
    assert done.exit_code == 0 and "2 of 3 shards" in done.stdout


def test_no_dataset(tmp_path):
    done = export(tmp_path)
    assert isinstance(done.exception, InputError) and "manifest.json" in str(done.exception)

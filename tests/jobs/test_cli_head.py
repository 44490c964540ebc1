"""`lode dataset head`: rows as a table of 100 columns, as JSON and as CSV."""

from __future__ import annotations

import base64
import csv
import io
import json

import numpy as np
import pytest
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from jobs.cli_dataset import dataset_app
from jobs.cli_head import names_of
from schemas.errors import InputError
from tests.storage.odd_dataset import BLIND, ODD, ROWS, truth, write


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("dataset")
    write(folder)
    return str(folder)


def head(*words) -> Result:
    return CliRunner().invoke(dataset_app, ["head", *map(str, words)])


def told(*words) -> list[dict]:
    done = head(*words, "--output", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_json_holds_every_number_as_it_is(url):
    rows = told(url, "-n", ROWS)
    assert len(rows) == ROWS and list(rows[0]) == list(truth())
    for name, (field, cells) in truth().items():
        for row, cell in zip(rows, cells, strict=True):
            if cell is None:
                assert row[name] is None
            elif field.dtype == "binary":
                assert base64.b64decode(row[name]) == cell
            elif field.dtype == "float32" and np.isfinite(cell).all():
                came = np.array(row[name], np.float32)
                assert came.tobytes() == np.asarray(cell, np.float32).tobytes()
            elif field.dtype == "string":
                assert row[name] == cell
    yaw = [row["points_yaw"] for row in rows]
    assert yaw[5] == 0.1  # the fewest digits that tell a float32
    assert yaw[6] is None  # JSON has no infinity


def test_rows_are_the_first_of_those_that_match(url):
    assert [row["index"] for row in told(url)] == [0, 1, 2, 3, 4]
    blind = told(url, "--where", "points_status != 'ok'", "-n", "3", "--columns", "index")
    assert blind == [{"index": int(row)} for row in np.flatnonzero(BLIND)[:3]]
    assert told(url, "--where", "points_faces > 1000") == []


def test_a_sample_is_shown_whole(url):
    words = ("--columns", "index", "--sample", "12")
    one, two = (told(url, *words, "--seed", seed) for seed in (1, 2))
    assert len(one) == 12 and one != two and one == told(url, *words, "--seed", 1)
    assert told(url, *words, "--seed", 1, "-n", 4) == one[:4]


def test_a_short_name_and_a_name_with_a_comma(url):
    (row,) = told(url, "-n", "1", "--columns", "yaw, w")
    assert list(row) == ["points_yaw", "w"]
    assert names_of("a, b,`c, d``e`") == ["a", "b", "c, d`e"]
    quoted = ODD.replace("`", "``")
    (row,) = told(url, "-n", "1", "--columns", f"`{quoted}`")
    assert list(row) == [ODD]


@pytest.mark.parametrize("text", ["a,,b", ",", "`a"])
def test_an_empty_name_is_refused(text):
    with pytest.raises(InputError, match="--columns"):
        names_of(text)


def test_csv_has_tensors_as_json_in_one_cell(url):
    done = head(url, "-n", "4", "--output", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["index"] for row in rows] == ["0", "1", "2", "3"]
    assert np.array(json.loads(rows[0]["points_landmarks"])).shape == (68, 2)
    assert rows[3]["points_landmarks"] == rows[3]["points_yaw"] == ""
    assert rows[3]["points_reason"] == truth()["points_reason"][1][3]


def test_the_table_is_no_wider_than_100_columns(url):
    lines = head(url).stdout.splitlines()
    assert max(map(cell_len, lines)) <= 100
    shown = {line.split("  ")[0]: line for line in lines}
    assert shown["points_landmarks"].split()[1:4] == ["68", "x", "2"]
    assert "8 values" in shown["w"] and "2 x 3 x 4" in shown["volume"]
    assert shown["points_status"].split()[1:] == ["ok", "ok", "ok", "no_face", "ok"]
    assert shown["points_yaw"].split()[4] == "-"
    assert len(lines) == len(truth())


def test_few_columns_stand_one_line_a_row(url):
    lines = head(url, "--columns", "index,points_status,yaw", "-n", "3").stdout.splitlines()
    assert lines[0].split() == ["index", "points_status", "points_yaw"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2"]


def test_many_rows_go_on_below(url):
    lines = head(url, "-n", ROWS).stdout.splitlines()
    assert max(map(cell_len, lines)) <= 100
    indices = [cell for line in lines if line.startswith("index ") for cell in line.split()[1:]]
    assert indices == [str(row) for row in range(ROWS)]


def test_no_text_moves_the_cursor(url):
    lines = head(url, "-n", "25", "--columns", "points_reason").stdout
    assert all(c.isprintable() for c in lines.replace("\n", ""))
    assert len(lines.splitlines()) == 26  # a reason with a line break stays one line


def test_no_row_is_said(url):
    assert head(url, "--where", "points_faces > 1000").stdout == "No row matches.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--columns", "yawn"), "yaw"),
        (("--where", "points_yaw"), "condition"),
        (("--seed", "3"), "without --sample"),
        (("--sample", "1000"), "1,000"),
    ],
)
def test_mistakes_are_told(url, words, said):
    done = head(url, *words)
    assert isinstance(done.exception, InputError) and said in str(done.exception)

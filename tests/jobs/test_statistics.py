"""`lode dataset statistics`: planted numbers come back, and the JSON rescales."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from jobs.cli_statistics import float_fields, statistics, summary
from mining.shape3d.statistics import from_json
from schemas.errors import ConflictError, InputError
from storage.dataset import Dataset
from tests.jobs.planted_dataset import Made, write_dataset

ROWS = 1001


def invoke(*words: str) -> Result:
    app = typer.Typer()
    app.command()(statistics)
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def dataset(tmp_path, rng) -> Dataset:
    """yaw is 0 to 1000 over the measured rows, in any order; the others are unmeasured."""
    rows = ROWS + 199
    status = np.arange(rows) < ROWS
    yaw = np.full(rows, 7e6)
    yaw[status] = rng.permutation(ROWS)
    columns = {
        "yaw": yaw,
        "expression": np.column_stack([10 - 2 * yaw, np.full(rows, 3.0)]),
        "landmarks": np.zeros((rows, 4, 2)),
    }
    made = {
        "dlib": Made({"score": rng.random(rows)}),
        "shape3d": Made(columns, status, {"yaw": "degrees", "expression": "standard deviations"}),
        "empty": Made({"yaw": yaw}, np.zeros(rows, bool)),
        "points": Made({"landmarks": np.zeros((rows, 4, 2))}),
    }
    return write_dataset(tmp_path / "dataset", made, rows)


def test_planted_ranges_come_back(dataset):
    found, units, rows = summary(dataset, "shape3d")
    assert found.names == ("yaw", "expression_0", "expression_1")
    assert units == ("degrees", "standard deviations", "standard deviations")
    assert (found.count, rows) == (ROWS, ROWS + 199)
    np.testing.assert_allclose(found.low, [5, 10 - 1990, 3])
    np.testing.assert_allclose(found.high, [995, 0, 3])
    np.testing.assert_allclose(found.least, [0, -1990, 3])
    np.testing.assert_allclose(found.most, [1000, 10, 3])
    np.testing.assert_allclose(found.mean, [500, -990, 3])
    deviation = np.sqrt((ROWS**2 - 1) / 12)
    np.testing.assert_allclose(found.deviation, [deviation, 2 * deviation, 0], rtol=1e-6)
    assert "shape3d_landmarks" not in {field.name for field in float_fields(dataset, "shape3d")}


def test_the_json_is_what_the_rescaling_reads(dataset, tmp_path):
    out = tmp_path / "new" / "statistics.json"
    result = invoke(dataset.url, "--output", "json", "--out", str(out))
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert json.loads(out.read_text()) == told
    assert told["dataset_id"] == dataset.dataset_id and told["rows"] == ROWS + 199
    assert told["parameters"]["yaw"]["unit"] == "degrees"
    found = from_json(told)
    assert found.names[0] == "yaw" and found.count == ROWS
    yaw = from_json({**told, "parameters": {"yaw": told["parameters"]["yaw"]}})
    np.testing.assert_allclose(yaw.scaled(np.array([[5.0], [500], [995]])), [[-6], [0], [6]])
    again = invoke(dataset.url, "--out", str(out))  # our own file is replaced
    assert again.exit_code == 0 and str(out) in again.output


def test_the_table_has_one_line_a_parameter(dataset):
    result = invoke(dataset.url)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "shape3d: 1,001 of 1,200 rows are measured and finite" in lines[0]
    assert lines[3].split() == ["yaw", "degrees", "500", "289", "5", "995", "0", "1000"]
    assert len(lines) == 6
    other = invoke(dataset.url, "--extractor", "dlib")
    assert [line.split()[0] for line in other.output.splitlines()[3:]] == ["score"]


@pytest.mark.parametrize(
    ("extractor", "says"),
    [
        ("shape3", "unknown extractor 'shape3'; did you mean 'shape3d'"),
        ("empty", "'empty' measured 0 of 1,200 rows"),
        ("points", "'points' has no columns of numbers"),
    ],
)
def test_what_has_no_statistics_is_told_in_one_line(dataset, extractor, says):
    error = invoke(dataset.url, "--extractor", extractor).exception
    assert isinstance(error, InputError) and says in str(error) and "\n" not in str(error)


def test_without_shape3d_the_option_is_named(tmp_path):
    made = {"dlib": Made({"score": np.zeros(4)}), "geometry": Made({"yaw": np.zeros(4)})}
    error = invoke(write_dataset(tmp_path / "d", made, 4).url).exception
    assert isinstance(error, InputError) and "unknown" not in str(error)
    assert "it has dlib, geometry. Say whose numbers with --extractor NAME." in str(error)


def test_no_finished_shard_is_told(tmp_path):
    made = {"shape3d": Made({"yaw": np.zeros(4)})}
    dataset = write_dataset(tmp_path / "none", made, 4, made_shards=())
    error = invoke(dataset.url).exception
    assert isinstance(error, InputError) and "has no finished shard yet" in str(error)


def test_two_parameters_of_one_name_are_refused(tmp_path):
    made = {"shape3d": Made({"e": np.zeros((4, 2)), "e_1": np.zeros(4)})}
    with pytest.raises(InputError, match="two columns would be the parameter e_1"):
        summary(write_dataset(tmp_path / "twice", made, 4), "shape3d")


def test_files_of_others_are_left_alone(dataset, tmp_path):
    for content in ("mine", "{}", '{"table": "statistics", "dataset_id": "other"}'):
        path = Path(tmp_path / "file.json")
        path.write_text(content)
        error = invoke(dataset.url, "--out", str(path)).exception
        assert isinstance(error, ConflictError) and path.read_text() == content
    assert isinstance(invoke(dataset.url, "--out", str(tmp_path)).exception, ConflictError)
    written = tmp_path / "s.json"
    assert invoke(dataset.url, "--out", str(written), "--extractor", "dlib").exit_code == 0
    error = invoke(dataset.url, "--out", str(written)).exception  # of another extractor
    assert isinstance(error, ConflictError)

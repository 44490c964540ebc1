"""`lode dataset agreement` prints, writes beside the dataset, and overwrites nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from jobs.agreement import compare_backends, document, read_advice, write
from jobs.cli_agreement import beside, lines
from jobs.report.agreement_page import render_agreement
from schemas.errors import ConflictError, InputError
from storage.dataset import Dataset
from storage.files import Store
from tests.jobs.planted_backends import ROWS, Reader, plant, run
from tests.jobs.planted_dataset import Made, write_dataset


@pytest.fixture
def yaw(rng) -> NDArray:
    """Degrees, (ROWS,)."""
    return rng.uniform(-40, 40, ROWS)


@pytest.fixture
def planted(tmp_path, rng, yaw) -> Dataset:
    return plant(tmp_path, rng, yaw)


def test_the_command_prints_and_writes_beside_the_dataset(planted):
    done = run(planted.url)
    assert done.exit_code == 0, done.exception
    results = Path(planted.url).parent / "results"
    assert sorted(path.name for path in results.iterdir()) == ["agreement.html", "agreement.json"]
    assert "mediapipe" in done.stdout and str(results / "agreement.html") in done.stdout
    lines = done.stdout.splitlines()
    assert next(line for line in lines if line.startswith("yaw ")).split()[1] == "mediapipe"
    found, _ = compare_backends(planted)
    stored = json.loads((results / "agreement.json").read_text())
    assert stored == json.loads(json.dumps(document(found)))
    assert stored["quantities"][0]["trust"]["backends"] == ["mediapipe"]
    as_json = run(planted.url, "--output", "json")
    assert json.loads(as_json.stdout) == stored
    before = (results / "agreement.html").read_bytes()
    assert run(planted.url).exit_code == 0  # again, over its own
    assert (results / "agreement.html").read_bytes() == before


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_what_is_left_out_is_said(planted, columns):
    found, _ = compare_backends(planted)
    whole, narrow = lines(found), lines(found, columns)
    assert max(map(len, whole)) > columns >= max(map(len, narrow))
    left = [line for line in narrow if line.startswith("(too narrow for")]
    assert left and all("only second" in line for line in left)
    assert not any("too narrow" in line for line in whole)
    for one in found.quantities:
        said = " ".join(" ".join(narrow).split())
        assert one.trust.reason in said  # wrapped, and whole
    assert "rho: Spearman's, of ranks" in said and "95th: what 95 % of the rows" in said


def test_files_of_others_are_never_overwritten(planted, tmp_path):
    for name, text in (("agreement.json", '{"mine": 1}'), ("agreement.html", "<p>mine</p>")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text(text)
        done = run(planted.url, "--out", folder)
        assert isinstance(done.exception, ConflictError)
        assert "Nothing was changed" in str(done.exception)
        assert [path.name for path in folder.iterdir()] == [name]
        assert (folder / name).read_text() == text
    other = write_dataset(tmp_path / "other", {"a": Made({"x": np.arange(9.0)})}, 9)
    assert run(planted.url, "--out", tmp_path / "out").exit_code == 0
    done = run(other.url, "--out", tmp_path / "out")
    assert isinstance(done.exception, ConflictError) and planted.dataset_id not in str(
        done.exception
    )


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["nothing"], InputError, "holds no manifest.json"),
        (["dataset", "--out", "file/results"], InputError, "cannot be written"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, monkeypatch, words, error, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    write_dataset(tmp_path / "dataset", {"a": Made({"x": np.arange(9.0)})}, 9)
    done = run(*words)
    assert isinstance(done.exception, error) and text in str(done.exception)
    assert "\n" not in str(done.exception)


def test_beside_a_bucket_there_is_nothing():
    assert beside("s3://bucket/run/dataset/") == "s3://bucket/run/results"
    for url in ("s3://bucket", "/dataset"):
        with pytest.raises(InputError, match="--out"):
            beside(url)


def test_datasets_and_results_may_lie_under_any_url(rng):
    values = rng.standard_normal(20)
    url = "memory://agreement/run/dataset"
    write_dataset(url, {"a": Made({"x": values}), "b": Made({"x": -values})}, 20)
    done = run(url)
    assert done.exit_code == 0, done.exception
    assert Store("memory://agreement/run/results").exists("agreement.html")


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("kind", ["values", "nan", "constant", "no face"])
def test_edges_are_pages_too(tmp_path, rows, kind):
    values = np.arange(float(rows)) if kind in ("values", "no face") else np.full(rows, 7.0)
    values = np.full(rows, np.nan) if kind == "nan" else values
    status = np.zeros(rows, bool) if kind == "no face" else None
    points = np.repeat(np.repeat(values[:, None, None], 68, 1), 2, 2)
    columns = {"yaw": values, "landmarks": points}
    units = {"landmarks": "fraction of the image", "yaw": "degrees"}
    made = {name: Made(columns, status, units) for name in ("a", "b")}
    truth = {"yaw": np.arange(float(rows))}
    dataset = write_dataset(tmp_path / "dataset", made, rows, truth=truth, shard_size=2)
    done = run(dataset.url)
    assert done.exit_code == 0, done.exception
    stored = json.loads((tmp_path / "results" / "agreement.json").read_text())
    measured = 0 if kind in ("nan", "no face") else rows
    assert stored["quantities"][0]["comparisons"][0]["rows"] == measured
    assert not Reader((tmp_path / "results" / "agreement.html").read_text()).open


def test_a_run_replaces_the_agreement_of_another_dataset_but_nothing_else(planted, tmp_path):
    other = write_dataset(tmp_path / "other", {"a": Made({"x": np.arange(9.0)})}, 9)
    folder = str(tmp_path / "results")
    found, pictures = compare_backends(planted)
    write(found, render_agreement(found, pictures), folder)
    later, drawn = compare_backends(other)
    page = render_agreement(later, drawn)
    with pytest.raises(ConflictError, match=f"not the agreement of dataset {other.dataset_id}"):
        write(later, page, folder)
    assert read_advice(folder, planted.dataset_id)
    write(later, page, folder, replace=True)
    stored = json.loads((tmp_path / "results" / "agreement.json").read_text())
    assert stored["dataset_id"] == other.dataset_id
    assert (tmp_path / "results" / "agreement.html").read_text() == page


@pytest.mark.parametrize("name", ["agreement.json", "agreement.html"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"table": "agreement"}',
        '{"table": "other", "dataset_id": "0123456789abcdef"}',
        "<p>LatentLode agreement of dataset 0123456789abcdef</p>",
    ],
)
def test_what_lacks_our_mark_is_never_replaced(tmp_path, name, text):
    dataset = write_dataset(tmp_path / "d", {"a": Made({"x": np.arange(9.0)})}, 9)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / name).write_text(text)
    found, pictures = compare_backends(dataset)
    with pytest.raises(ConflictError, match="is not an agreement; .* Nothing was changed"):
        write(found, render_agreement(found, pictures), str(tmp_path / "results"), replace=True)
    assert [path.name for path in (tmp_path / "results").iterdir()] == [name]
    assert (tmp_path / "results" / name).read_text() == text

"""`lode catalog`, called as a person and as a program would."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from jobs.cli_catalog import catalog_app
from jobs.cli_catalog_records import FIELDS
from jobs.cli_catalog_tables import WIDTH
from schemas.directions import Provenance
from schemas.errors import InputError
from storage.catalog import Catalog
from tests.storage.sample_cards import responses, sample_card

NEWEST = Provenance("e" * 16, 5, '{"penalty": 1.0, "folds": 5}', "0.2.0")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A catalogue of four lineages, one of them with two versions."""
    monkeypatch.delenv("LODE_CATALOG", raising=False)
    catalog = Catalog(tmp_path / "catalog")
    catalog.publish(
        [
            sample_card(1),
            sample_card(2, method="svm", truth_cosine=0.95, evidence={"accuracy": 0.9}),
            sample_card(3, space="w+", shape=(4, 6), layers=(1, 2), truth_cosine=0.7),
            sample_card(
                4,
                attribute="mouth_openness",
                responses=responses("mouth_openness", 1.0, 0.2),
                truth_cosine=None,
                notes="see [bold] :smile:",
            ),
        ]
    )
    catalog.publish([sample_card(5, provenance=NEWEST)])
    return catalog.url


def run(*arguments: str) -> Result:
    return CliRunner().invoke(catalog_app, list(arguments))


def good(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_list_as_json_is_one_array_of_flat_objects(url):
    rows = json.loads(good("list", "--catalog", url, "--output", "json"))
    assert [(row["attribute"], row["method"], row["version"]) for row in rows] == [
        ("mouth_openness", "ridge", 1),
        ("smile", "ridge", 2),
        ("smile", "svm", 1),
        ("smile", "ridge", 1),
    ]
    assert all(tuple(row) == FIELDS for row in rows)
    newest = rows[1]
    assert newest["direction_id"] == sample_card(5, provenance=NEWEST).direction_id
    assert (newest["effect"], newest["effect_low"], newest["unit"]) == (3.0, 2.8, "mm")
    assert newest["leak"] == pytest.approx(0.1)
    assert newest["dataset_id"] == "e" * 16 and newest["created_at"].endswith("+00:00")
    assert rows[3]["shape"] == [4, 6] and rows[3]["layers"] == [1, 2]


def test_what_was_not_measured_is_null(url):
    (row,) = json.loads(
        good("list", "--catalog", url, "--attribute", "mouth_openness", "-o", "json")
    )
    assert row["truth_cosine"] is None and row["identity_cost"] is None and row["slope"] is None


def test_list_filters_and_shows_old_versions(url):
    def seeds(*more):
        rows = json.loads(good("list", "--catalog", url, "--output", "json", *more))
        return [row["seed"] for row in rows]

    assert seeds("--space", "W+") == [3]
    assert seeds("--method", "ridge", "--attribute", "smile", "--space", "w") == [5]
    assert seeds("--all-versions", "--method", "ridge", "--space", "W") == [4, 1, 5]
    assert seeds("--method", "svm", "--space", "w+") == []


def test_list_as_csv(url):
    rows = list(csv.DictReader(io.StringIO(good("list", "--catalog", url, "--output", "csv"))))
    assert len(rows) == 4 and tuple(rows[0]) == FIELDS
    assert rows[3]["shape"] == "4 6" and rows[0]["truth_cosine"] == ""
    assert float(rows[2]["truth_cosine"]) == 0.95
    nothing = good("list", "--catalog", url, "-o", "csv", "--method", "svm", "--space", "w+")
    assert nothing.splitlines() == [",".join(FIELDS)]


def test_list_as_a_table_fits(url):
    lines = good("list", "--catalog", url).splitlines()
    assert len(lines) == 5 and max(map(len, lines)) <= WIDTH
    assert "mouth_openness" in lines[1] and " - " in lines[1] and "0.95" in lines[3]
    assert (
        lines[3].split()[0] == sample_card(2, method="svm").direction_id[:10]
    )  # enough for `show`
    assert "No direction" in good("list", "--catalog", url, "--method", "svm", "--space", "w+")


def test_show_as_json_holds_the_vector(url):
    card = sample_card(3, space="w+", shape=(4, 6), layers=(1, 2))
    shown = json.loads(good("show", card.direction_id[:10], "--catalog", url, "--output", "json"))
    assert shown["vector"] == card.vector.tolist()
    assert shown["responses"][1]["attribute"] == "yaw"
    assert shown["packages"] == {"numpy": "2.4"} and shown["settings"] == '{"penalty": 1.0}'


def test_show_as_a_table(url):
    text = good("show", sample_card(4, attribute="mouth_openness").direction_id, "--catalog", url)
    assert "see [bold] :smile:" in text  # what a card says is not markup
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "95 % interval" in text and "Apache-2.0" in text and "[0." not in text


def test_best(url):
    found = json.loads(good("best", "--attribute", "smile", "--catalog", url, "--output", "json"))
    assert (found["method"], found["truth_cosine"]) == ("svm", 0.95)
    assert "vector" not in found and len(found["responses"]) == 2
    where = ("best", "--attribute", "smile", "--catalog", url, "--output", "json")
    assert json.loads(good(*where, "--space", "W+"))["seed"] == 3
    assert json.loads(good(*where, "--method", "ridge", "--by", "truth_cosine"))["seed"] == 5
    assert "svm" in good("best", "--attribute", "smile", "--catalog", url)
    header, row = good(*where[:-1], "csv").splitlines()
    assert header == ",".join(FIELDS) and ",svm," in row


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("best", "--attribute", "smiles"), "unknown attribute 'smiles'; did you mean 'smile'"),
        (("list", "--space", "q"), "unknown space 'q'"),
        (("show", "nothing"), "none is; expected the first digits"),
        (("show", ""), "direction: the id is empty; expected the first digits"),
        (("show", " "), "direction: the id is empty"),
        (("best", "--attribute", "smile", "--by", "leek"), "did you mean 'leak'"),
    ],
)
def test_errors_name_what_is_there(url, arguments, says):
    result = run(*arguments, "--catalog", url)
    assert isinstance(result.exception, InputError) and says in str(result.exception)
    assert result.stdout == ""


def test_where_the_catalogue_is(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("list")
    assert "runs/demo/catalog; run `make demo`" in str(result.exception)
    monkeypatch.setenv("LODE_CATALOG", url)
    assert "svm" in good("list")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("file", "/file is a file and holds no catalogue; expected a folder"),
        ("folder", "/folder holds no catalogue; run `make demo`"),
        ("missing", "there is no catalogue at "),
    ],
)
def test_what_is_no_catalogue_is_an_input_error(tmp_path, name, says):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("x")
    result = run("list", "--catalog", str(tmp_path / name))
    assert isinstance(result.exception, InputError) and says in str(result.exception)


def test_an_unknown_output_is_a_usage_error(url):
    assert run("list", "--catalog", url, "--output", "xml").exit_code == 2


def test_help_needs_no_heavy_package():
    code = "import sys, jobs.cli_catalog; print([m for m in ('pyarrow', 'deltalake', 'pandas', "
    code += "'torch', 'ray', 'rich.table') if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_process_that_reads_ends_well(url):
    """It did not with deltalake's own to_pyarrow_table: it aborted three times of four."""
    code = f"from jobs.cli_catalog import catalog_app; catalog_app(['list', '--catalog', {url!r}])"
    root = Path(__file__).parents[2]
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_an_effect_says_what_it_is_on_where_the_name_does_not(tmp_path):
    """Directions mined without an attribute: one with a known effect, one with none."""
    catalog = Catalog(tmp_path / "catalog")
    aimless = {"method": "pca", "slope": float("nan"), "truth_cosine": None}
    known = sample_card(1, attribute="pc1", unit="mm", **aimless)
    catalog.publish([known, sample_card(2, attribute="pc2", responses=(), **aimless)])
    rows = json.loads(good("list", "--catalog", catalog.url, "-o", "json"))
    assert [row["effect_on"] for row in rows] == [known.effect_on, None]
    assert known.effect_on in {response.attribute for response in known.responses}
    listing = good("list", "--catalog", catalog.url).splitlines()
    assert f"{known.effect:.3g} mm on {known.effect_on}" in listing[1]
    assert " mm" not in listing[2]
    shown = good("show", known.direction_id, "--catalog", catalog.url)
    assert "pc1, mined without an attribute" in shown

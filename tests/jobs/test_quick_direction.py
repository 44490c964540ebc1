"""One direction from a finished dataset, without Ray: planted truth, rows chosen, wrong input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jobs.cli import _lode, guarded
from jobs.cli import main as lode
from jobs.filter_dataset import filter_dataset
from schemas.samples import Field
from storage.catalog import Catalog
from tests.jobs.planted_dataset import Made, write_dataset

ROWS, DIM = 3000, 24


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """w decides the width; in a third of the rows, told by `odd`, it does so the other way."""
    rng = np.random.default_rng(3)
    w = rng.normal(size=(ROWS, DIM)).astype(np.float32)
    axis = rng.normal(size=DIM)
    axis /= np.linalg.norm(axis)
    odd = rng.uniform(size=ROWS) < 0.33
    width = (w @ axis) * np.where(odd, -5.0, 5.0) + 0.1 * rng.normal(size=ROWS)
    made = Made({"width": width, "odd": odd.astype(float)}, rng.uniform(size=ROWS) > 0.05)
    about = Field("w", "float32", (DIM,))
    folder = tmp_path_factory.mktemp("quick") / "dataset"
    return write_dataset(folder, {"face": made}, ROWS, others={"w": (about, w)}).url, axis


@pytest.fixture
def run(planted, capsys):
    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            lode(["dataset", "direction", planted[0], *words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_the_rows_that_are_chosen_decide_the_direction(planted, run, tmp_path):
    file = tmp_path / "even.npy"
    words = ("--attribute", "width", "--where", "odd = 0", "--out", str(file), "-o", "json")
    status, out, _ = run(*words)
    assert status == 0
    said = json.loads(out)
    vector = np.load(file, allow_pickle=False)
    assert vector @ planted[1] > 0.9995 and np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert said["slope"] == pytest.approx(5, rel=0.01)
    assert said["sigma"] == pytest.approx(1, rel=0.1)
    assert said["rows"] == pytest.approx(ROWS * 0.95 * 0.67, rel=0.05)
    _, out, _ = run("--attribute", "width", "--where", "odd > 0.5", "-o", "json")
    assert json.loads(out)["slope"] == pytest.approx(5, rel=0.01)  # along the other sign
    status, _, err = run(*words)
    assert status == 2 and "is there already" in err


def test_a_label_is_mined_and_published_with_its_expression(planted, run, tmp_path):
    place = str(tmp_path / "catalog")
    words = ("--label", "big = if(odd > 0, -width, width)", "--catalog", place, "-o", "json")
    status, out, err = run(*words)
    assert status == 0, err
    (card,) = Catalog(place).cards()
    assert card.attribute == "big" and card.method == "ridge" and card.space == "w"
    assert card.vector @ planted[1] > 0.9995 and card.slope == pytest.approx(5, rel=0.01)
    assert "odd > 0" in json.loads(card.provenance.settings)["label"]
    assert card.direction_id == json.loads(out)["direction"]
    assert json.loads(out)["nearly_the_same_as"] is None
    assert run(*words)[0] == 0 and len(Catalog(place).cards(all_versions=True)) == 1
    again = ("--label", "huge = if(odd > 0, -2 * width, 2 * width)", *words[2:])
    assert card.direction_id in json.loads(run(*again)[1])["nearly_the_same_as"]


def test_labels_come_from_a_file_and_svm_takes_its_options(planted, run, tmp_path):
    file = tmp_path / "labels.yaml"
    file.write_text("even: {is: width > 0 and odd = 0 or width < 0 and odd = 1, unit: '1'}\n")
    words = ("--labels", str(file), "--method", "svm", "--set", "share=0.4", "-o", "json")
    status, out, err = run(*words)
    assert status == 0, err
    assert json.loads(out)["attribute"] == "even"


@pytest.mark.parametrize(
    ("method", "options"),
    [("logistic", ()), ("lda", ()), ("svm", ("--set", "split=all", "--set", "train=0.8"))],
)
def test_methods_of_two_classes_find_it_too(planted, run, tmp_path, method, options):
    file = tmp_path / "even.npy"
    words = ("--attribute", "width", "--where", "odd = 0", "--method", method, *options)
    status, out, err = run(*words, "--out", str(file), "-o", "json")
    assert status == 0, err
    said = json.loads(out)
    assert np.load(file, allow_pickle=False) @ planted[1] > 0.99  # under 8.2 degrees
    assert said["method"] == method and said["slope"] == pytest.approx(5, rel=0.02)
    assert said["seconds"] > 0


def test_a_random_direction_is_turned_to_the_score_and_no_more(planted, run):
    status, out, _ = run(
        "--attribute", "width", "--method", "random", "--where", "odd=0", "-o", "json"
    )
    assert status == 0
    assert 0 <= json.loads(out)["slope"] < 3


def test_held_attributes_are_projected_out_and_recorded(planted, run, tmp_path):
    place, labels = str(tmp_path / "catalog"), tmp_path / "labels.yaml"
    labels.write_text("even: if(odd > 0, -width, width)\n")
    words = ("--labels", str(labels), "--attribute", "width", "--hold", "even", "--method", "svm")
    status, out, err = run(*words, "--set", "split=all", "--catalog", place, "-o", "json")
    assert status == 0, err
    (card,) = Catalog(place).cards()
    settings, said = json.loads(card.provenance.settings), json.loads(out)
    assert settings["hold"] == ["even"] and "odd > 0" in settings["held_labels"]["even"]
    assert said["held"] == card.evidence["held"] == 1
    assert abs(card.vector @ planted[1]) < 0.1 < abs(said["cosine_even"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no attribute came"),
        (("--attribute", "width", "--hold", "widht"), "did you mean 'width'"),
        (("--attribute", "width", "--hold", "width"), "expected each attribute once"),
        (("--attribute", "width", "--hold", "face_width"), "expected each attribute once"),
        (("--attribute", "width", "--method", "random", "--hold", "odd"), "nothing is left"),
        (("--attribute", "width", "--method", "svm", "--set", "split=half"), "'shares' or 'all'"),
        (("--attribute", "width", "--method", "lda", "--set", "threshold=99"), "above it"),
        (("--attribute", "widht"), "did you mean 'width'"),
        (("--attribute", "width", "--method", "nrsfm"), "unknown method"),
        (("--attribute", "width", "--set", "penalti=1"), "penalti"),
        (("--attribute", "width", "--set", "penalty"), "KEY=VALUE"),
        (("--attribute", "width", "--where", "odd"), "expected a condition"),
        (("--attribute", "width", "--where", "odd >"), "where"),
        (("--attribute", "width", "--where", "odd > 2"), "rows"),
        (("--label", "width > 1"), "label"),
        (("--label", "wide"), "NAME=EXPRESSION"),
        (("--labels", "nowhere.yaml"), "cannot be read"),
        (("--attribute", "width", "--seed", "-1"), "'--seed'"),
        (("--attribute", "width", "--seed", str(2**63)), "'--seed'"),
        (("--attribute", "width", "--out", ""), "--out is empty"),
        (("--attribute", "width", "--out", __file__), "is there already"),
    ],
)
def test_a_mistake_is_one_line(run, words, said):
    status, out, err = run(*words)
    assert status == 2 and out == "" and said in err and err.count("\n") == 1


def test_a_catalogue_that_takes_nothing_leaves_no_vector_behind(run, tmp_path):
    (tmp_path / "file").write_text("a file")
    out = tmp_path / "width.npy"
    words = ("--attribute", "width", "--out", str(out), "--catalog", str(tmp_path / "file"))
    status, _, err = run(*words)
    assert status == 2 and "holds no catalogue" in err and err.count("\n") == 1
    assert not out.exists()


def test_latents_that_were_left_out_are_named(planted, tmp_path, capsys):
    kept = filter_dataset(planted[0], str(tmp_path / "kept"), columns=["width"])
    capsys.readouterr()
    assert guarded(_lode, ["dataset", "direction", kept.url, "--attribute", "width"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "has no column w, the latents" in said

"""`lode rescore` as people and programs call it; mistakes cost no work."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.cli_rescore import _say
from jobs.rescoring_plan import RescoreSettings
from mining.evaluation.edit_scores_text import Rescoring
from schemas.errors import InputError
from tests.jobs.planted_directions import planted_run
from tests.mining.evaluation.test_edit_scores import compared, edited


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("planted")
    planted_run(folder)
    return str(folder)


@pytest.mark.ray
def test_a_quick_look_prints_json_and_progress_where_there_is_no_terminal(
    run, tmp_path, environment
):
    words = ["rescore", run, "--out", str(tmp_path / "out"), "--edits", "8", "--bootstrap", "20"]
    words += ["--attribute", "yaw", "--method", "ridge", "--method", "svm", "--by-effect", "0.5"]
    words += ["--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["written"] == str(tmp_path / "out") and set(told["edits"]) == {"effect"}
    assert {m["method"] for m in told["edits"]["effect"]["methods"]} == {"ridge", "svm"}
    last = json.loads(done.stderr.strip().splitlines()[-1])
    # the unedited images once, then two directions, each with a trial on two of them
    assert (last["stage"], last["state"], last["done"]) == ("rescore", "done", 3 * 8 + 2 * 2)
    assert (tmp_path / "out" / "rescore.md").exists()


def refused(*words: str) -> str:
    """What an InputError says of these arguments."""
    done = CliRunner().invoke(app, ["rescore", *words])
    assert isinstance(done.exception, InputError), done.output
    return str(done.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--attribute", "yawn"], "attribute 'yawn'"),
        (["--method", "rigde"], "method 'rigde'"),
        (["--step", "0"], "step is 0.0, expected not 0"),
        (["--step", "nan"], "step is nan"),
        (["--by-effect", "40"], "by_effect is 40.0"),
        (["--dataset", "nowhere"], "holds no manifest.json"),
        (["--catalog", "nowhere"], "nowhere"),
        (["--method", "random", "--by-effect", "1"], "none of 1 directions can be tried"),
    ],
)
def test_mistakes_are_told_before_any_work(run, tmp_path, words, said):
    assert said in refused(run, "--out", str(tmp_path / "new"), *words)
    assert not (tmp_path / "new").exists()


def test_a_place_without_a_run_is_told(tmp_path):
    assert "does not exist" in refused(str(tmp_path / "no"), "--out", str(tmp_path / "new"))


@pytest.mark.parametrize(
    "words", [["--edits", "1"], ["--edits", "many"], ["--workers", "0"], ["--seed", "-1"]]
)
def test_numbers_out_of_range_are_usage_errors(run, tmp_path, words):
    done = CliRunner().invoke(app, ["rescore", run, "--out", str(tmp_path / "new"), *words])
    assert done.exit_code == 2 and words[0] in done.output
    assert not (tmp_path / "new").exists()


def test_two_thousand_edits_both_ways_unless_told_otherwise():
    assert RescoreSettings().edits == 2000
    assert RescoreSettings().kinds == {"step": 1.0, "effect": 1.0}


def test_a_terminal_shows_both_tables_a_matrix_for_every_method_and_the_papers(rng, capsys):
    scores = compared(
        edited(rng, "svm", "smile", (0.1, 1.0, 0.2), 0.05),
        edited(rng, "robust_pca", "smile", (0.1, 1.0, 0.2), 0.01),
    )
    _say(Rescoring({}, {"step": scores}, {"step": "Edits of 1 sigma"}, {"yaw · pca": "too far"}))
    text = capsys.readouterr().out
    for part in (
        "Edits of 1 sigma",
        "Identity, 1 - cosine",
        "own moves most",
        "Change in population spreads",
        "not tried: yaw · pca: too far",
    ):
        assert part in text
    lines = [line.split() for line in text.splitlines()]
    assert ["InterFaceGAN", "0.0515", "0.1294", "0.1225", "0.0916", "0.0988"] in lines
    assert ["robust_pca", "svm"] in lines  # side by side

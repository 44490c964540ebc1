"""The leaderboard's command and page; a whole small one is slow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli import guarded
from jobs.leaderboard import main, sample_sizes
from jobs.leaderboard_times import timed_jobs
from jobs.report.leaderboard_page import render_leaderboard
from schemas.errors import InputError
from schemas.settings import MiningSettings
from tests.jobs.planted_backends import Reader
from tests.mining.evaluation.test_leaderboard import board

ROOT = Path(__file__).parents[2]
HOSTILE = "</style><script>alert('x')</script>\"'><img src=x onerror=alert(1)>"


def test_the_page_is_whole_and_fetches_nothing():
    made = board(500, 2000)
    page = render_leaderboard(made, {500: "n500/report.html"})
    read = Reader(page)
    assert not read.open and not read.handlers and "script" not in read.tags
    # by size; at each size cosines, effects, leaks, identity costs and seconds
    assert read.tags.count("table") == 1 + 2 * 5
    assert page.count("lines-chart") >= 3 + 2  # means, and one an attribute
    assert 'href="n500/report.html"' in page and "2,000" in page
    assert page == render_leaderboard(board(500, 2000), {500: "n500/report.html"})
    shown = page[page.index("<body>") :]
    assert "nan" not in shown.lower().replace("nance", "")


def test_one_size_makes_tables_without_curves():
    page = render_leaderboard(board(500), {})
    assert "makes no curve" in page and not Reader(page).open


def test_texts_from_outside_are_escaped():
    made = board(500)
    hostile = type(made)(
        made.scores, {"generator": HOSTILE}, {HOSTILE: HOSTILE}, {HOSTILE: HOSTILE}, {HOSTILE: 1.0}
    )
    page = render_leaderboard(hostile, {500: HOSTILE})
    assert "<script>alert" not in page and "onerror=alert(1)>" not in page.replace("&gt;", "")


@pytest.mark.parametrize("text", ["", "a,b", "500,500", "10", "500;2000", "-5", "1e3"])
def test_numbers_of_samples_that_are_none_are_refused(text):
    with pytest.raises(InputError, match="--samples"):
        sample_sizes(text)


def test_numbers_of_samples_come_sorted():
    assert sample_sizes("2000, 500") == (500, 2000)


def test_what_a_run_could_not_mine_is_not_timed():
    told = {"attributes": ["yaw", "age"], "methods": {"ridge": {}, "nrsfm": {}, "pca": {}}}
    mined = {("pca", "pc1"), ("pca", "pc2"), ("ridge", "yaw")}
    found = timed_jobs(MiningSettings.model_validate(told), mined)
    assert found == [("ridge", "yaw"), ("pca", "")]


@pytest.mark.slow
@pytest.mark.ray
def test_a_small_board_is_made_and_made_again_from_what_is_there(tmp_path, environment):
    words = [
        *("--samples", "60,120", "--out", str(tmp_path), "--evaluation.identities", "3"),
        *("--generator.options.resolution", "128", "--evaluation.bootstrap", "20"),
        *("--mining.attributes", "[yaw, mouth_open]", "--dataset.shard_size", "20"),
        *("--mining.methods.nrsfm", "null", "--mining.methods.robust_pca", "null"),
        *("--mining.methods.pca", "{components: 3}", "--evaluation.steps", "[-1.0, 1.0]"),
        *("--mining.methods.svm", "null", "--mining.methods.lda", "null"),
    ]
    command = [sys.executable, str(ROOT / "jobs" / "leaderboard.py"), *words]
    found = []
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]  # times too: they are kept
    scores = found[0]["scores"]
    assert {score["samples"] for score in scores} == {60, 120}
    cosines = {
        method: [s["cosine"] for s in scores if s["method"] == method and s["samples"] == 120]
        for method in ("ridge", "random")
    }
    # 120 rows of 512 numbers: at best some sqrt(120 / 632) = 0.44; chance has 1 / sqrt(512) = 0.044
    assert len(cosines["ridge"]) == 2 and min(cosines["ridge"]) > 0.3
    assert max(map(abs, cosines["random"])) < 0.2
    for kind in ("json", "csv", "md", "html"):
        assert (tmp_path / f"leaderboard.{kind}").stat().st_size > 200
    assert (tmp_path / "n120" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--samples", "few"], "--samples 'few' came"),
        (["--dataset_url", "nowhere"], "nowhere"),
        (["--mining.methods.pcaa", "{}"], "did you mean 'pca'"),
    ],
)
def test_mistakes_are_told_in_a_line(words, said, tmp_path, capsys):
    assert guarded(main, ["--out", str(tmp_path / "out"), *words]) == 2
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()

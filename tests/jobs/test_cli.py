"""The command `lode`: what it prints, and how it says that something is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jobs import cli
from jobs.cli import guarded
from schemas.errors import CorruptDataError, InputError


def lode(environment, *words, cwd=None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "jobs.cli", *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, cwd=cwd
    )


def test_help_names_every_command_and_is_quick_to_import(environment):
    done = lode(environment, "--help")
    assert done.returncode == 0
    for command in ("mine", "generate", "report", "catalog", "dataset", "version"):
        assert command in done.stdout
    heavy = (
        "import sys, jobs.cli; print(sorted({'ray', 'torch', 'pandas', 'dlib'} & set(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", heavy], env=environment, capture_output=True, text=True, timeout=60
    )
    assert loaded.stdout.strip() == "[]", loaded.stderr


def test_the_settings_of_a_run_are_passed_on(environment):
    done = lode(environment, "mine", "--help")
    assert done.returncode == 0
    assert "--dataset.samples" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "error: lode: No such command 'nonsense'. See `lode --help`."),
        (["catalgo"], "Did you mean 'catalog'? See `lode --help`."),
        (["--nope"], "No such option: --nope. See"),
        (["report", "a", "b"], "error: lode report: Got unexpected extra argument"),
        (["catalog", "show"], "error: lode catalog show: Missing argument 'direction_id'. See"),
        (["catalog", "show", ""], "the id is empty"),
        (["dataset", "repair", "x", "--engine.workers", "0"], "greater than or equal to 1."),
        (["mine", "--dataset.sampls", "3"], "did you mean 'dataset.samples'"),
        (["generate", "--generator.name", "hed"], "did you mean 'head'"),
        (["generate", "--generator.options.resolution", "12"], "resolution 12"),
        (["generate", "--extractors.dlib.upsmple", "1"], "did you mean 'upsample'"),
        (["report", "nowhere"], "/nowhere does not exist; expected the --out of a finished run"),
        (["report", "."], "holds no finished run; expected the --out of a finished run"),
        (["catalog", "list"], "there is no catalogue at"),
        (["catalog", "list", "--catalog", "."], "holds no catalogue"),
        (["catalog", "list", "--output", "xml"], "'--output' / '-o': 'xml' is not one of 'table'"),
    ],
)
def test_a_mistake_is_one_line_without_a_traceback(environment, tmp_path, words, said):
    done = lode(environment, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [[], ["catalog"], ["dataset"]])
def test_without_a_command_the_help_is_shown(environment, words):
    done = lode(environment, *words)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith(" ".join(["Usage: lode", *words]) + " [OPTIONS] COMMAND")


def test_a_run_folder_that_cannot_be_written_is_refused(environment, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "report.json").write_text("{}")
    (tmp_path / ".partial").write_text("x")  # stops root too, whom no permission stops
    done = lode(environment, "report", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path} cannot be written" in done.stderr and done.stderr.count("\n") == 1


def test_an_error_is_one_line_and_its_status_the_exit_status(capsys):
    def program(argv):
        raise {"wrong": InputError, "broken": CorruptDataError}[argv[0]]("who\n  what came")

    assert guarded(program, ["wrong"]) == 2
    assert guarded(program, ["broken"]) == 1
    assert capsys.readouterr().err == "error: who what came\n" * 2


def test_stopping_by_hand_is_said_and_is_no_traceback(capsys):
    def program(argv):
        raise KeyboardInterrupt

    assert guarded(program, []) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_stopping_any_command_by_hand_is_said(monkeypatch, capsys):
    def stopped():
        raise KeyboardInterrupt

    monkeypatch.setattr("jobs.versions.code_version", stopped)
    with pytest.raises(SystemExit) as done:
        cli.main(["version"])
    assert done.value.code == 130
    assert "run the same command again" in capsys.readouterr().err

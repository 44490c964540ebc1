"""The command `lode`: what it prints, and how it says that something is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
        (["nonsense"], "No such command 'nonsense'"),
        (["mine", "--dataset.sampls", "3"], "did you mean 'dataset.samples'"),
        (["generate", "--generator.name", "hed"], "did you mean 'head'"),
        (["generate", "--generator.options.resolution", "12"], "resolution 12"),
        (["generate", "--extractors.dlib.upsmple", "1"], "did you mean 'upsample'"),
        (["report", "nowhere"], "holds no finished report"),
        (["catalog", "list"], "there is no catalogue at"),
        (["catalog", "list", "--output", "xml"], "xml"),
    ],
)
def test_a_mistake_is_said_without_a_traceback(environment, tmp_path, words, said):
    done = lode(environment, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


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

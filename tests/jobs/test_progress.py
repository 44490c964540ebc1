"""What is seen of long work: live lines on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from jobs.progress import Progress
from tests.jobs.conftest import write_tiny

ROOT = Path(__file__).parents[2]


def lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_the_last_line_says_how_it_ended(capsys):
    with Progress("generate", 4, "images", parts=("render", "measure")) as progress:
        progress.part("render", 4)
        progress.part("commit", 4)  # no part of what is shown
        progress.advance(1, {"dlib no_face": 1})
        progress.advance(2, {"dlib no_face": 1, "dlib crashed": 1})
    (last,) = lines(capsys)
    assert last.pop("per_second") > 0
    assert last.pop("seconds") >= 0 and last.pop("seconds_left") >= 0
    assert last == {
        "stage": "generate",
        "state": "done",
        "done": 3,
        "total": 4,
        "unit": "images",
        "parts": {"render": 4, "measure": 0},
        "notes": {"dlib crashed": 1, "dlib no_face": 2},
    }


@pytest.mark.parametrize(
    ("error", "state"),
    [(ValueError, "failed"), (KeyboardInterrupt, "stopped"), (SystemExit, "stopped")],
)
def test_an_error_is_told_apart_from_a_stop(capsys, error, state):
    with pytest.raises(error), Progress("mine", 2, "directions"):
        raise error()
    (last,) = lines(capsys)
    assert last["state"] == state and last["done"] == 0
    assert last["seconds_left"] is None


def test_a_line_comes_every_interval_though_the_work_says_nothing(capsys):
    with Progress("control", 1, "models", interval=0.05) as progress:
        time.sleep(0.5)  # as one long call would
        progress.advance(1)
    *running, last = lines(capsys)
    assert len(running) >= 3
    assert {line["state"] for line in running} == {"running"}
    assert last["state"] == "done"
    assert not [thread for thread in threading.enumerate() if "_tick" in thread.name]


def test_rate_and_time_left_are_those_since_the_start(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = Progress("generate", 1000, "images")
    now[0] += 50.0
    progress.advance(250)
    progress._tell("running")
    (line,) = lines(capsys)
    assert (line["per_second"], line["seconds"], line["seconds_left"]) == (5.0, 50.0, 150.0)


def test_what_is_said_is_a_warning_of_its_own(capsys):
    with Progress("generate", 1, "images") as progress:
        progress.say("shard 3 is\nquarantined")
    said, _ = lines(capsys)
    assert said == {"stage": "generate", "state": "warning", "text": "shard 3 is\nquarantined"}


def on_a_terminal(command: list[str], columns: int, **env: str) -> str:
    """What a program writes to a terminal that is its stdin and stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    env = {**kept, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **env}
    program = subprocess.Popen(
        command, env=env, stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert program.wait(timeout=60) == 0, written.decode()
    return written.decode()


def screens(written: str) -> list[list[str]]:
    """The lines that stood at the bottom after each drawing."""
    drawn = re.split(r"\r?(?:\x1b\[2K(?:\x1b\[1A\x1b\[2K)*)", written)
    plain = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text) for text in drawn]
    return [text.strip("\r\n").splitlines() for text in plain if text.strip()]


WORK = """
import time
from jobs.progress import Progress
with Progress("generate", 12000, "images", parts=("render", "measure")) as progress:
    for part in range(4):
        time.sleep(0.2)
        progress.part("render", 2500)
        progress.part("measure", 1500)
        progress.advance(1500, {"dlib no_face": 40, "geometry implausible": 3, "quarantined": 50})
    progress.say("shard 3 is quarantined: [red]it is odd[/red]")
    progress.beat()
"""


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_terminal_shows_one_line_per_stage_that_fits(columns):
    written = on_a_terminal([sys.executable, "-c", WORK], columns)
    *_, last = screens(written)
    assert [line.split()[0] for line in last] == ["render", "measure", "generate"]
    assert max(len(line) for line in last) <= columns
    for line, done in zip(last, ("10,000", "6,000", "6,000"), strict=True):
        assert re.search(rf" {done}/12,000 +[\d,.]+ images/s \d:\d\d:\d\d left", line), line
    assert len({line.index(" images/s") for line in last}) == 1  # in columns
    assert ("━" in last[0]) == (columns >= 80)
    assert "[red]it is odd[/red]" in written  # taken as it is
    assert ("200 quarantined, 160 dlib no_face" in last[2]) == (columns == 120)
    assert columns == 60 or "200 quara" in last[2]


@pytest.mark.ray
def test_a_real_run_shows_its_stages_with_rate_time_left_and_rejects(tmp_path):
    program = str(ROOT / "jobs" / "generate_dataset.py")
    command = [sys.executable, program, "--config", write_tiny(tmp_path)]
    written = on_a_terminal([*command, "--engine.stages", "split"], 80)
    *_, last = screens(written)
    assert [line.split()[0] for line in last] == ["render", "measure", "generate"]
    assert all(" 240/240 " in line and " images/s 0:00:00 left" in line for line in last)
    assert re.search(r"left \d+ points no_face", last[2])
    assert not re.search(r'^{"', written, re.M)

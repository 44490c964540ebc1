"""`ray job submit` against a real head node on loopback: from settings to outputs at URLs."""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from storage.catalog import Catalog
from storage.dataset import Dataset
from storage.files import Store
from storage.runs import DONE, STOPPED, runs
from tests.jobs.head_node import RAY, Head, head_node, until

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
SLOW = {"name": "tests.examples.faulty:FaultyGenerator", "options": {"slow": 0.05}}  # s per image


@pytest.fixture(scope="module")
def head(tmp_path_factory, environment):
    with head_node(tmp_path_factory.mktemp("head"), environment, "--num-cpus=3") as head:
        yield head


def job(head: Head, *words: str) -> subprocess.CompletedProcess:
    command = [RAY, "job", *words]
    return subprocess.run(command, env=head.env, capture_output=True, text=True, timeout=300)


def submit(head: Head, *words: str, more: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    command = ("submit", "--working-dir", str(ROOT), *more, "--", "python", *words)
    for _ in until("the node's job agent, which starts last", 60, pause=2):
        done = job(head, *command)
        if "No available agent" not in done.stderr:
            return done
    raise AssertionError  # until() raises first


def json_lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"')]


def digests(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of everything that a reader of the data sees."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".partial", "runs"} & set(path.parts)
    }


def workers_of(head: Head) -> list[int]:
    """Processes that work for jobs of this head; its token's path is in their environment."""
    mark = head.env["RAY_AUTH_TOKEN_PATH"].encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"jobs.isolation.process" in (process / "cmdline").read_bytes():
                found += [int(process.name)] if mark in (process / "environ").read_bytes() else []
        except OSError:  # it ended meanwhile
            continue
    return found


def test_a_submitted_run_leaves_catalogue_dataset_and_report_at_urls(head, tiny, tmp_path):
    out, catalog = (tmp_path / "out").as_uri(), (tmp_path / "elsewhere").as_uri()
    program = ("jobs/mine_directions.py", "--config", tiny)
    done = submit(head, *program, "--out", out, "--catalog", catalog)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = json_lines(done.stdout)
    (said,) = [line for line in lines if "catalog" in line]
    assert said["directions"] == 16
    assert len(Catalog(catalog).cards()) == 16
    assert Dataset(f"{out}/dataset").complete
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    told = [line["stage"] for line in lines if line.get("state") == "done"]
    assert told == ["generate", "control", "mine", "stability", "evaluate"]


def test_a_mistake_fails_the_job_with_its_one_line(head, tiny):
    done = submit(head, "jobs/mine_directions.py", "--config", tiny, "--dataset.sampls", "3")
    assert done.returncode != 0
    assert "did you mean 'dataset.samples'" in done.stdout + done.stderr
    assert "exit code 2" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_job_that_is_stopped_goes_on_when_it_is_submitted_again(
    head, tiny, tmp_path, environment
):
    settings = {**yaml.safe_load(Path(tiny).read_text()), "generator": SLOW}
    Path(tiny).write_text(yaml.safe_dump(settings))
    out = tmp_path / "stopped"
    program = ("jobs/generate_dataset.py", "--config", tiny, "--out")
    name = f"lode-{secrets.token_hex(4)}"
    first = submit(head, *program, str(out), more=("--no-wait", "--submission-id", name))
    assert first.returncode == 0, first.stdout + first.stderr
    for _ in until("the second shard", 120, pause=0.05):
        if len(list(out.glob("dataset/receipts/*.json"))) >= 2:
            break
    assert workers_of(head)
    assert job(head, "stop", name).returncode == 0
    assert "was stopped" in job(head, "status", name).stdout
    left = Dataset(str(out / "dataset"))
    assert 0 < left.rows < 240, "it was stopped too late or too early to show anything"
    left.read(["index"])  # what has a receipt is whole
    for _ in until("the end of the processes that worked", 30):
        if not workers_of(head):
            break
    assert [run.state for run in runs(Store(str(out / "dataset")))] == [STOPPED]
    assert json_lines(job(head, "logs", name).stdout)[-1]["state"] == "stopped"

    again = submit(head, *program, str(out))
    assert again.returncode == 0, again.stdout + again.stderr
    (last,) = [line for line in json_lines(again.stdout) if line["state"] == "done"]
    assert last["done"] == last["total"] == 240 - left.rows
    states = [run.state for run in runs(Store(str(out / "dataset")))]
    assert sorted(states) == [DONE, STOPPED]

    local = [sys.executable, str(ROOT / program[0]), *program[1:], str(tmp_path / "local")]
    subprocess.run(local, env=environment, capture_output=True, timeout=240, check=True)
    assert digests(out / "dataset") == digests(tmp_path / "local" / "dataset")

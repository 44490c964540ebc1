"""`ray job submit` against a real head node on loopback."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from storage.catalog import Catalog
from storage.dataset import Dataset

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
RAY = str(Path(sys.executable).parent / "ray")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def head(tmp_path_factory, environment):
    """A head node of our own with token authentication; ended by ending its process group."""
    folder = tmp_path_factory.mktemp("head")
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    port, board = free_port(), free_port()
    env = {
        **environment,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    command = [RAY, "start", "--head", "--block", f"--port={port}", "--num-cpus=3"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
    command += [f"--dashboard-port={board}", "--object-store-memory=200000000"]
    # Unix sockets below must stay under 107 characters
    command += [f"--temp-dir=/tmp/ll{secrets.token_hex(3)}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{board}"
    try:
        wait_for(f"{address}/api/version", token.read_text(), process, folder / "log")
        yield {**env, "RAY_API_SERVER_ADDRESS": address}
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the head and all that it started
        process.wait(timeout=30)


def wait_for(url: str, token: str, process: subprocess.Popen, log: Path) -> None:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"no dashboard at {url}: {log.read_text()}")


def submit(env, *words) -> subprocess.CompletedProcess:
    command = [RAY, "job", "submit", "--working-dir", str(ROOT), "--", "python"]
    for _ in range(20):
        done = subprocess.run(
            [*command, *words], env=env, capture_output=True, text=True, timeout=300
        )
        if "No available agent" not in done.stderr:  # the node's job agent starts last
            break
        time.sleep(2)
    return done


def test_a_submitted_run_leaves_catalogue_dataset_and_report(head, tiny, tmp_path):
    out = tmp_path / "out"
    done = submit(head, "jobs/mine_directions.py", "--config", tiny, "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    said = next(line for line in done.stdout.splitlines() if line.startswith('{"catalog"'))
    assert json.loads(said)["directions"] == 16
    assert len(Catalog(f"{out}/catalog").cards()) == 16
    assert Dataset(f"{out}/dataset").complete
    assert (out / "report.html").stat().st_size > 10_000


def test_a_mistake_fails_the_job_with_its_one_line(head, tiny):
    done = submit(head, "jobs/mine_directions.py", "--config", tiny, "--dataset.sampls", "3")
    assert done.returncode != 0
    assert "did you mean 'dataset.samples'" in done.stdout + done.stderr

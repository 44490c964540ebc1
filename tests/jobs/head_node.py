"""A Ray head node of our own on loopback, with token authentication."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RAY = str(Path(sys.executable).parent / "ray")
PATIENCE = 120.0  # seconds for a head to answer, on a machine that others use too


@dataclass(frozen=True)
class Head:
    """A running head node."""

    address: str  # of its Ray, for RAY_ADDRESS
    dashboard: str  # for `ray job`
    metrics: str  # what Prometheus would read
    env: dict[str, str]  # for programs that talk to it

    @property
    def joining(self) -> dict[str, str]:
        """The environment of a driver that joins it."""
        return {**self.env, "RAY_ADDRESS": self.address}


@contextmanager
def head_node(folder: Path, environment: dict[str, str], *words: str, **extra: str):
    """Start a head, with further words of `ray start` and variables; end it and all it started."""
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    port, board, metrics, agent = _free_ports(4)
    env = {
        **environment,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{board}",
        **extra,
    }
    # Unix sockets below it must stay under 107 characters
    temporary = Path(f"/tmp/ll{secrets.token_hex(3)}")
    command = [RAY, "start", "--head", "--block", f"--port={port}", f"--temp-dir={temporary}"]
    command += ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"]
    command += [f"--dashboard-port={board}", f"--metrics-export-port={metrics}"]
    # it takes jobs; where another head of this machine has its usual port, there would be none
    command += [f"--dashboard-agent-listen-port={agent}"]
    command += ["--object-store-memory=200000000", *words]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    head = Head(
        f"127.0.0.1:{port}", env["RAY_API_SERVER_ADDRESS"], f"http://127.0.0.1:{metrics}", env
    )
    try:
        yield _answering(head, token.read_text(), process, folder / "log")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
        shutil.rmtree(temporary, ignore_errors=True)


def get(url: str, token: str = "") -> str:
    """The text of a page; OSError where there is none."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def until(what: str, seconds: float, pause: float = 0.2) -> Iterator[float]:
    """Rounds to try something in; AssertionError with `what` once the seconds are over."""
    start = time.monotonic()
    while (spent := time.monotonic() - start) < seconds:
        yield spent
        time.sleep(pause)
    raise AssertionError(f"waited {seconds:g} s for {what}")


def _answering(head: Head, token: str, process: subprocess.Popen, log: Path) -> Head:
    for _ in until(f"a head node; its log: {log}", PATIENCE, pause=0.5):
        assert process.poll() is None, log.read_text()
        try:
            get(f"{head.dashboard}/api/version", token)
            return head
        except OSError:
            continue
    raise AssertionError  # until() raises first


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()

"""Real runs, each in a session of its own, so that nothing but its own processes is ever killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, str(ROOT / "jobs" / "generate_dataset.py"), "--config"]
SAMPLES, SHARDS = 600, 30
SETTINGS = {
    # slow, so that there is a middle: some four seconds with two workers
    "generator": {"name": "tests.examples.faulty:FaultyGenerator", "options": {"slow": 0.01}},
    "extractors": {"tests.examples.points:PointsExtractor": {"blind_every": 23}},
    "dataset": {"samples": SAMPLES, "shard_size": SAMPLES // SHARDS, "thumbnail": 16},
    "engine": {"workers": 2, "object_store_mb": 128},
}
DEADLINE = 180.0  # seconds that a run may take on a busy machine
GRACE = 15.0  # seconds after which nothing of a killed run may be alive
ACTOR = "ray::StageActor"  # the title of a worker; with what it does, where it does something
GENERATOR, EXTRACTOR = f"{ACTOR}.render", f"{ACTOR}.make"  # with split stages
ISOLATED = "jobs.isolation.process"
# of Ray's own, beside every raylet: without it they wait a minute for it, then end; they do no work
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


@dataclass(frozen=True)
class Process:
    """One living process."""

    pid: int
    parent: int
    command: str  # Ray's workers write there what they do


class Run:
    """A program in a session of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path):
        self.log = log
        with log.open("wb") as file:
            self.driver = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._titles: dict[int, set[str]] = {}  # an actor is idle between its calls

    @property
    def said(self) -> str:
        """All that the program has written."""
        return self.log.read_text()

    @property
    def lines(self) -> list[str]:
        """What it has written to people: all but the lines of progress, which are JSON."""
        return [line for line in self.said.splitlines() if not line.startswith("{")]

    @property
    def over(self) -> bool:
        """Whether the driver has ended."""
        return self.driver.poll() is not None

    def processes(self) -> list[Process]:
        """All living processes of the run, its Ray's among them."""
        found = session(self.driver.pid)
        for process in found:
            self._titles.setdefault(process.pid, set()).add(process.command)
        return found

    def workers(self) -> list[Process]:
        """All but the driver that may still do something."""
        return [
            process
            for process in self.processes()
            if process.command not in AGENTS and process.pid != self.driver.pid
        ]

    def actors(self, title: str) -> list[Process]:
        """The living Ray actors that were seen with a title that begins so."""
        return [
            process
            for process in self.processes()
            if any(seen.startswith(title) for seen in self._titles[process.pid])
        ]

    def isolated(self, title: str) -> list[Process]:
        """The processes that work for those actors."""
        watchers = {actor.pid for actor in self.actors(title)}
        return [p for p in self.processes() if p.parent in watchers and ISOLATED in p.command]

    def tell(self, words: str) -> None:
        """Write a line to the program's stdin."""
        assert self.driver.stdin is not None
        self.driver.stdin.write(f"{words}\n".encode())
        self.driver.stdin.flush()

    def end(self) -> int:
        """Wait until the driver ends by itself; its exit status."""
        return self.driver.wait(DEADLINE)

    def kill_driver(self) -> None:
        """SIGKILL to the driver alone."""
        self.driver.kill()
        self.driver.wait()

    def kill_all(self) -> None:
        """SIGKILL to everything that is left of the run."""
        self.kill_driver()
        if self.driver.stdin is not None:
            self.driver.stdin.close()
        until(lambda: not _killed(self.processes()), GRACE)


def _killed(processes: list[Process]) -> list[Process]:
    for process in processes:
        kill(process)
    return processes


def kill(process: Process) -> None:
    """SIGKILL to one process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


def session(leader: int) -> list[Process]:
    """The living processes of a session; zombies are not living."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with suppress(OSError):  # it ended meanwhile
            stat = Path(f"/proc/{entry}/stat").read_text()
            state, parent, _, number = stat.rpartition(")")[2].split()[:4]
            if int(number) == leader and state != "Z":
                command = Path(f"/proc/{entry}/cmdline").read_bytes()
                shown = command.replace(b"\0", b" ").decode(errors="replace").strip()
                found.append(Process(int(entry), int(parent), shown))
    return found


def until(met: Callable[[], object], seconds: float = DEADLINE, pause: float = 0.02) -> bool:
    """Wait until something is true; False where it never was."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if met():
            return True
        time.sleep(pause)
    return bool(met())


@contextmanager
def running(run: Run) -> Iterator[Run]:
    """Whatever the test finds, nothing of the run outlives it."""
    try:
        yield run
    finally:
        run.kill_all()


def write_settings(folder: Path) -> str:
    """The path of a settings file for `SETTINGS`."""
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return str(path)


def receipts(out: Path) -> int:
    """How many shards are finished."""
    folder = out / "dataset" / "receipts"
    return len(os.listdir(folder)) if folder.is_dir() else 0


def digests(out: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of all of a dataset but its scratch files and records of runs."""
    folder = out / "dataset"
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".partial", "runs"} & set(path.parts)
    }

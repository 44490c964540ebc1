"""Watches the process that does the work: ends it when it hangs, replaces it when it dies.

What is learnt from a death is kept in the shard's plan, so that in the end one image alone is
blamed: a batch in which the process ended twice is measured image by image, and the image and
extractor that end it again get a status instead of values.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe

from jobs.isolation.messages import (
    MEASURE,
    START,
    At,
    Measured,
    Passed,
    Plan,
    Raised,
    Ready,
    Receipted,
    Refused,
    Rendered,
    Setup,
    Task,
)
from mining.extractors.base import CRASHED, TIMEOUT
from schemas import errors
from schemas.errors import LodeError, LostWorkerError, RunError
from storage.manifest import Manifest
from storage.shards import Receipt

LOADING = 900.0  # seconds that loading a generator and its extractors may take
START_TRIES = 3
# what people, service managers and the kernel end processes with
OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
MOST_KILLS = 10  # from outside while one shard is rendered or committed


@dataclass(frozen=True)
class Outcome:
    """What came of one shard in one stage: a receipt, images, or the reason why neither."""

    shard: int
    receipt: Receipt | None = None
    images: bytes | None = None  # an Arrow stream of the rendered rows
    failure: str = ""
    seconds: dict[str, float] = field(default_factory=dict)  # stage -> of the last attempt
    deaths: tuple[str, ...] = ()  # of processes on the way, for the log


class _Lost(Exception):
    """The process died or hung."""

    def __init__(self, place: At, status: str, reason: str, killed: bool = False):
        super().__init__(reason)
        self.place, self.status, self.reason, self.killed = place, status, reason, killed


class Supervisor:
    """One process that makes shards, and everything that may happen to it."""

    def __init__(self, setup: Setup):
        self._setup = setup
        self._manifest = Manifest(setup.content)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def start(self) -> None:
        """Load generator and extractors.

        Raises:
            LodeError: as the process raised it.
            LostWorkerError: it dies again and again while it loads.
        """
        for tried in range(START_TRIES):
            try:
                self._start()
                return
            except _Lost as lost:
                self.close()
                if tried + 1 == START_TRIES:
                    raise LostWorkerError(f"{lost} while generator and extractors loaded") from None

    def run(self, shard: int, images: bytes | memoryview | None = None) -> Outcome:
        """Make one shard, in as many attempts as it takes to know what is wrong with it.

        Raises:
            LodeError: it concerns every shard, such as a full disk.
        """
        plan, deaths = Plan(), list[str]()
        rows = len(self._manifest.rows(shard))
        while True:
            try:
                outcome = self._attempt(shard, plan, images)
                return _with(outcome, deaths)
            except _Lost as lost:
                self.close()
                deaths.append(_told(shard, lost))
                learn(plan, lost.place, lost.status, lost.reason, lost.killed)
                failure = self._given_up(plan, rows, lost)
                if failure:
                    return Outcome(shard, failure=failure, deaths=tuple(deaths))

    def close(self) -> None:
        """End the process."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the kernel
                self._process.wait(timeout=30)
        self._process = self._connection = None

    @property
    def pid(self) -> int | None:
        """Of the process, where one is running."""
        return self._process.pid if self._process is not None else None

    def _start(self) -> None:
        here, there = Pipe()
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        command = [sys.executable, "-P", "-m", "jobs.isolation.process", str(there.fileno())]
        self._process = subprocess.Popen(
            command, pass_fds=[there.fileno()], env={**os.environ, "PYTHONPATH": path}
        )
        there.close()
        self._connection = here
        self._send(self._setup)
        message = self._receive(At(START), LOADING)
        if isinstance(message, Refused):
            self.close()
            raise _ours(message)
        if isinstance(message, Raised):
            self.close()
            raise RunError(f"generator and extractors could not be loaded: {message.reason}")
        if not isinstance(message, Ready):
            raise AssertionError(f"a process began with {message!r}")

    def _attempt(self, shard: int, plan: Plan, images: bytes | memoryview | None) -> Outcome:
        if self._process is not None and self._process.poll() is not None:
            self.close()  # it was ended while nothing was asked of it
        if self._process is None:
            self.start()
        self._send(Task(shard, plan, images is not None))
        if images is not None:
            self._send_bytes(images)
        place, seconds = At(START), dict[str, float]()
        while True:
            message = self._receive(place, self._setup.timeout)
            match message:
                case At():
                    place = message
                case Measured(batch, parts):
                    plan.done[batch] = parts
                case Passed(stage, spent):
                    seconds[stage] = spent
                case Receipted(receipt):
                    done = Receipt.from_bytes(receipt, f"the receipt of shard {shard}")
                    return Outcome(shard, receipt=done, seconds=seconds)
                case Rendered():
                    made = self._receive_bytes(place)
                    return Outcome(shard, images=made, seconds=seconds)
                case Raised(reason):
                    raise _Lost(place, CRASHED, reason)
                case Refused():
                    raise _ours(message)

    def _given_up(self, plan: Plan, rows: int, lost: _Lost) -> str:
        """Why the shard is not tried again; "" where it is."""
        if plan.kills >= MOST_KILLS:
            return f"its process was killed {plan.kills} times, perhaps for want of memory"
        if plan.tries >= self._setup.attempts:
            return f"{lost.reason} ({_where(lost.place)}, {plan.tries} times)"
        most = self._setup.most_spared(rows)
        if len(plan.spared) > most:
            return f"more than {most} images end the process, the last one: {lost.reason}"
        return ""

    def _send(self, message: object) -> None:
        assert self._connection is not None
        with self._in_time(At(START)):
            self._connection.send(message)

    def _send_bytes(self, data: bytes | memoryview) -> None:
        assert self._connection is not None
        with self._in_time(At(START)):
            self._connection.send_bytes(memoryview(data).cast("B"))

    def _receive(self, place: At, timeout: float) -> object:
        assert self._connection is not None
        try:
            if not self._connection.poll(timeout):
                raise _Lost(place, TIMEOUT, f"no answer in {timeout:g} s")
        except OSError:
            raise self._death(place) from None
        with self._in_time(place):
            return self._connection.recv()

    def _receive_bytes(self, place: At) -> bytes:
        assert self._connection is not None
        with self._in_time(place):
            return self._connection.recv_bytes()

    @contextlib.contextmanager
    def _in_time(self, place: At) -> Iterator[None]:
        """A message is passed on within the timeout, or the process is ended."""
        assert self._process is not None
        late = threading.Event()
        process, timeout = self._process, self._setup.timeout

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout, end)
        timer.start()
        try:
            yield
        except (EOFError, OSError):
            if late.is_set():
                raise _Lost(place, TIMEOUT, f"no answer in {timeout:g} s") from None
            raise self._death(place) from None
        finally:
            timer.cancel()

    def _death(self, place: At) -> _Lost:
        """What ended the process that no longer answers."""
        assert self._process is not None
        try:
            status = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return _Lost(place, CRASHED, "the process closed its connection")
        if status >= 0:
            return _Lost(place, CRASHED, f"the process ended with status {status}")
        names = {number.value: number.name for number in signal.Signals}
        name = names.get(-status, f"signal {-status}")
        return _Lost(place, CRASHED, f"the process was ended by {name}", -status in OUTSIDE)


def learn(plan: Plan, place: At, status: str, reason: str, killed: bool) -> None:
    """Note in the plan what a death at a place says.

    A process that was killed from outside says nothing of its image or shard: an image needs a
    second time, a shard many.
    """
    if place.stage != MEASURE and killed:
        plan.kills += 1
    elif place.stage != MEASURE:
        plan.tries += 1
    elif place.row is not None:
        key = (place.batch, place.row, place.extractor)
        plan.deaths[key] += 1
        if plan.deaths[key] >= (2 if killed else 1):
            plan.spared[key] = (status, reason)
    elif place.batch in plan.suspects:
        plan.alone.add(place.batch)
    else:
        plan.suspects.add(place.batch)


def _with(outcome: Outcome, deaths: list[str]) -> Outcome:
    return Outcome(**{**vars(outcome), "deaths": tuple(deaths)})


def _where(place: At) -> str:
    if place.stage != MEASURE:
        return place.stage
    alone = "" if place.row is None else f", image {place.row}, {place.extractor}"
    return f"{place.stage}, batch {place.batch}{alone}"


def _told(shard: int, lost: _Lost) -> str:
    return f"shard {shard}: {lost.reason} ({_where(lost.place)})"


def _ours(message: Refused) -> LodeError:
    kind = getattr(errors, message.kind, RunError)
    return kind(message.message)

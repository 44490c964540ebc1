"""Starting, joining and leaving Ray, and telling its errors from ours."""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, TextIO

from schemas import errors
from schemas.errors import LodeError, LostWorkerError, RunError
from schemas.settings import EngineSettings
from storage.downloads.offline import VARIABLE as OFFLINE
from storage.downloads.offline import is_offline, offline

# the last line of a Python traceback
RAISED = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception)): (.*)$", re.MULTILINE)


def on_cluster() -> bool:
    """Whether RAY_ADDRESS names a Ray to join, as `ray job submit` makes it do."""
    return os.environ.get("RAY_ADDRESS", "local") not in ("", "local")


@contextlib.contextmanager
def ray_session(engine: EngineSettings) -> Iterator[None]:
    """Join the Ray that RAY_ADDRESS or an earlier ray.init names, else start a local one."""
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if on_cluster():
        _knock(os.environ["RAY_ADDRESS"])
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    local: dict[str, Any] = {
        "address": "local",
        "include_dashboard": False,
        "num_cpus": logical_cpus(engine),
        "object_store_memory": engine.object_store_mb * 2**20,
    }
    joined: dict[str, Any] = {}
    if engine.offline or is_offline():
        joined["runtime_env"] = {"env_vars": {OFFLINE: "1"}}
    try:
        with offline(engine.offline):  # a local Ray's workers have the driver's environment
            ray.init(**(joined if on_cluster() else local), **quiet)
    except (ValueError, RuntimeError, ConnectionError) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        hint = ""
        if on_cluster():
            hint = (
                f". Expected at RAY_ADDRESS {os.environ['RAY_ADDRESS']}: Ray {ray.__version__}, "
                "and its token in RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"
            )
        raise RunError(f"Ray could not be started or joined: {said}{hint}") from error
    try:
        quiet_stdout: Any = _WithoutRay(sys.stdout)
        with _stoppable(), contextlib.redirect_stdout(quiet_stdout):
            yield
    finally:
        ray.shutdown()


def check_stop() -> None:
    """KeyboardInterrupt where a stop was asked for that never arrived: Ray's own waits, which run
    the handlers of signals, now and then drop what those raise."""
    if _stop_asked.is_set():
        raise KeyboardInterrupt


_stop_asked = threading.Event()


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """End on SIGTERM, as `kill` and `ray job stop` send it, as on Ctrl-C.

    Ray's own handler of SIGTERM prints a stack and aborts; ours stays when the session is over.
    """

    def stop(number: int, frame: object) -> None:
        _stop_asked.set()
        raise KeyboardInterrupt

    _stop_asked.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if usual:  # and not ignored, as in a shell's background
        signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class _WithoutRay:
    """Standard output without what Ray's listener prints there when a worker dies.

    Programs read our results from it, and the run itself says on stderr what it lost.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """Pass text on, unless it comes from Ray's thread."""
        if threading.current_thread().name == "ray_listen_error_messages":
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _knock(address: str) -> None:
    """Fail in seconds where nobody listens at HOST:PORT; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    for pause in (1.0, 3.0, None):
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
            return
        except OSError as error:
            if pause is None:
                raise RunError(
                    f"no Ray answers at RAY_ADDRESS {address}: {error}. Start one, or unset "
                    "RAY_ADDRESS to run on this machine alone."
                ) from None
            time.sleep(pause)


def logical_cpus(engine: EngineSettings) -> int:
    """Of a local Ray: one more than there are workers, and what the stages ask of this machine."""
    from jobs.placement import stage_needs

    asked = math.ceil(sum(need.most * need.cpus for need in stage_needs(engine)))
    return max(engine.workers + 1, min(asked, os.cpu_count() or 1))


@contextlib.contextmanager
def plain_errors(doing: str) -> Iterator[None]:
    """Raise the LodeError that a worker raised; anything else of Ray's becomes a RunError."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        raise _ours(error, doing) from error


def _ours(error: BaseException, doing: str) -> LodeError:
    from ray.exceptions import NodeDiedError, RayActorError, WorkerCrashedError

    cause = getattr(error, "cause", None)
    if isinstance(cause, LodeError):
        return type(cause)(*cause.args)
    # where Ray could keep a worker's exception as text only; ours are one line each
    named = RAISED.findall(str(error))
    for kind, message in reversed(named):
        ours = getattr(errors, kind.removeprefix("schemas.errors."), None)
        if kind.startswith("schemas.errors.") and ours is not None:
            return ours(message)
    for kind, message in reversed(named):
        if not kind.startswith("ray."):
            return RunError(f"{doing}: {kind}: {message}")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, RayActorError | WorkerCrashedError | NodeDiedError):
        return LostWorkerError(f"{doing}: a worker died: {lines[0] if lines else error!r}")
    return RunError(f"{doing}: {lines[-1] if lines else type(error).__name__}")

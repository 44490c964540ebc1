"""Starting, joining and leaving Ray, and telling its errors from ours."""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from schemas import errors
from schemas.errors import LodeError, LostWorkerError, RunError
from schemas.settings import EngineSettings

# the last line of a Python traceback
RAISED = re.compile(r"^([A-Za-z_][\w.]*(?:Error|Exception)): (.*)$", re.MULTILINE)
# every actor pool of Ray Data draws this line once (ray issue 53727)
HARMLESS = b"has constructor arguments in the object store and max_restarts > 0"


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
    try:
        ray.init(**({} if on_cluster() else local), **quiet)
    except (ValueError, RuntimeError, ConnectionError) as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RunError(f"Ray could not be started or joined: {said}") from error
    try:
        with _without(HARMLESS):
            yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Fail in seconds where nobody listens at HOST:PORT; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    for pause in (1.0, 3.0, None):
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
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
def _without(noise: bytes) -> Iterator[None]:
    """Keep lines with `noise`, written to file descriptor 2 by native code, off the terminal.

    Python's own stderr goes to the terminal as before, so that it stays one for progress bars.
    """
    real = os.dup(2)
    source, sink = os.pipe()

    def copy() -> None:
        with os.fdopen(source, "rb") as lines:
            for line in lines:
                if noise not in line:
                    os.write(real, line)

    thread = threading.Thread(target=copy, daemon=True)
    shown = sys.stderr
    with os.fdopen(os.dup(real), "w", buffering=1) as direct:
        os.dup2(sink, 2)
        os.close(sink)
        sys.stderr = direct
        thread.start()
        try:
            yield
        finally:
            sys.stderr = shown
            os.dup2(real, 2)  # closes the pipe's last writer here, which ends the thread
            thread.join(timeout=2)
            os.close(real)


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
    # Ray Data keeps a worker's exception as text only; ours are one line each
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

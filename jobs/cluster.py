"""Starting, joining and leaving Ray, and telling its errors from ours."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
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
    """Join the Ray that RAY_ADDRESS or an earlier ray.init names, else start a local one.

    A local Ray gets one logical CPU more than there are workers: a pool of actors that fills all
    of them leaves none for the tasks that feed it, and waits for ever.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    local: dict[str, Any] = {
        "address": "local",
        "include_dashboard": False,
        "num_cpus": engine.workers + 1,
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

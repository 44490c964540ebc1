"""Starting, joining and leaving Ray, and telling its errors from ours."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from schemas.errors import LodeError, RunError
from schemas.settings import EngineSettings


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
    # Ray Data's actor pools always draw one harmless core-worker error (ray issue 53727)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        ray.init(
            address="local",
            include_dashboard=False,
            num_cpus=engine.workers + 1,
            object_store_memory=engine.object_store_mb * 2**20,
            **quiet,
        )
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def plain_errors(doing: str) -> Iterator[None]:
    """Raise the LodeError that a worker raised; anything else of Ray's becomes a RunError."""
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        raise _ours(error, doing) from error


def _ours(error: BaseException, doing: str) -> LodeError:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, LodeError):
            return type(seen)(*seen.args)
        cause = getattr(seen, "cause", None)
        seen = cause if isinstance(cause, BaseException) else seen.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return RunError(f"{doing}: {lines[-1].strip() if lines else type(error).__name__}")

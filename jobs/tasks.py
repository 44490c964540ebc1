"""Ray tasks that fail alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobs.cluster import plain_errors
from schemas.errors import InputError, RunError

FAILED = (InputError, RunError)


def finished(jobs: Mapping[Any, tuple[str, ...]]) -> Iterator[tuple[Any, Any]]:
    """Each task's name with its result, or with the error that it ended in, as they finish.

    What a task refuses is an InputError; what breaks in it, or the loss of its worker after Ray's
    own tries, is a RunError.

    Args:
        jobs: reference -> name.

    Raises:
        StorageError: a task could not read or write, which ends them all.
    """
    import ray

    waiting = list(jobs)
    while waiting:
        (ready,), waiting = ray.wait(waiting, num_returns=1)
        yield jobs[ready], _result(ready, " ".join(filter(None, jobs[ready])))


def _result(ready: Any, name: str) -> Any:
    import ray

    try:
        with plain_errors(name):
            return ray.get(ready)
    except FAILED as error:
        return error

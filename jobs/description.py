"""The manifest of a run, written where the generator has what its workers will have."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from jobs.cluster import check_stop, plain_errors, ray_session
from jobs.placement import GPUS, check_placement, hide_gpus, stage_needs
from jobs.progress import Progress, fetching
from mining.sampling import Measurer, Renderer, describe
from schemas.settings import EngineSettings, RunSettings
from storage.downloads.fetch import listening
from storage.downloads.offline import offline
from storage.manifest import Manifest

POLL = 0.1  # seconds between two looks for the answer
PATIENCE = 15.0  # seconds of waiting for a worker before it is said, and between two such lines
Result = TypeVar("Result")


def described(settings: RunSettings) -> Manifest:
    """The manifest of the dataset that these settings make.

    Raises:
        InputError: a setting does not fit, or no node can have such a worker.
    """
    return as_generator(settings.engine, describe, settings)


def check_loads(engine: EngineSettings, manifest: Manifest) -> None:
    """Refuse a dataset whose generator or extractors are other ones here.

    Raises:
        RunError: a fingerprint or a library's version differs.
    """
    as_generator(engine, _load, manifest)


def _load(manifest: Manifest) -> None:
    for load in (Renderer, Measurer):
        load(manifest)


def as_generator(engine: EngineSettings, call: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function where it sees as many GPUs as the workers of the generator's stage.

    A GPU's model is part of a generator's fingerprint. Where the stage is given GPUs, one of its
    kind of workers is asked; where it is not, this process, with no GPU in sight.

    Raises:
        InputError: no node can have such a worker.
    """
    need = stage_needs(engine)[0]
    if not need.gpus:
        with offline(engine.offline), _no_gpu(), fetching() as report, listening(report):
            return call(*arguments)
    import ray

    asked = ", ".join(f"{name} {n:g}" for name, n in need.resources.items() if n)
    with ray_session(engine), plain_errors("describe"):
        check_placement([need], engine)
        there: Any = ray.remote(num_cpus=need.cpus, num_gpus=need.gpus, max_retries=2)(call)
        answer = there.remote(*arguments)
        with Progress("describe", 1, "manifests") as progress:
            said = time.monotonic()
            while not ray.wait([answer], timeout=0)[0]:
                time.sleep(POLL)
                check_stop()
                if time.monotonic() - said > PATIENCE:
                    said = time.monotonic()
                    text = f"waiting for a worker of {need.stage} ({asked}) to say what it has"
                    progress.say(text)
            result: Any = ray.get(answer)
            progress.advance(1)
        return result


@contextmanager
def _no_gpu() -> Iterator[None]:
    """CUDA, where nothing in this process has used it yet, finds no device."""
    before = os.environ.get(GPUS)
    hide_gpus()
    try:
        yield
    finally:
        if before is None:
            del os.environ[GPUS]
        else:
            os.environ[GPUS] = before

"""The manifest of a run, written where each stage has what its workers will have."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from jobs.cluster import check_stop, plain_errors, ray_session
from jobs.placement import GPUS, Need, check_placement, hide_gpus, stage_needs
from jobs.progress import Progress, fetching
from mining.description import describe, describe_extractors, describe_generator, manifest_of
from mining.extending import make_renderer
from mining.sampling import Measurer
from schemas.settings import EngineSettings, RunSettings
from storage.downloads.fetch import listening
from storage.downloads.offline import offline
from storage.manifest import Manifest

POLL = 0.1  # seconds between two looks for the answer
PATIENCE = 15.0  # seconds of waiting for a worker before it is said, and between two such lines
DOWNLOADS = "storage.downloads"  # the logger that tells what is fetched
Result = TypeVar("Result")
Load = Callable[[Manifest], object]


def described(settings: RunSettings) -> Manifest:
    """The manifest of the dataset that these settings make.

    Raises:
        InputError: a setting does not fit, or no node can have such a worker.
    """
    engine, needs = settings.engine, stage_needs(settings.engine)
    if _alike(needs):
        return as_stage(engine, needs[0], describe, settings)
    calls = (describe_generator, describe_extractors)
    parts = [as_stage(engine, n, call, settings) for n, call in zip(needs, calls, strict=True)]
    return manifest_of(settings, *parts)


def check_loads(engine: EngineSettings, manifest: Manifest) -> None:
    """Refuse a dataset whose generator or extractors are other ones here.

    Raises:
        RunError: a fingerprint or a library's version differs.
    """
    needs = stage_needs(engine)
    loads: list[tuple[Need, list[Load]]] = (
        [(needs[0], [make_renderer, Measurer])]
        if _alike(needs)
        else [(needs[0], [make_renderer]), (needs[1], [Measurer])]
    )
    for need, parts in loads:
        as_stage(engine, need, _load, parts, manifest)


def _alike(needs: list[Need]) -> bool:
    """Whether workers of all stages see the same: a GPU, or none."""
    return len({need.gpus > 0 for need in needs}) == 1


def _load(parts: Sequence[Load], manifest: Manifest) -> None:
    for load in parts:
        load(manifest)


def as_generator(engine: EngineSettings, call: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function where it sees as many GPUs as the workers of the generator's stage."""
    return as_stage(engine, stage_needs(engine)[0], call, *arguments)


def as_stage(
    engine: EngineSettings, need: Need, call: Callable[..., Result], *arguments: Any
) -> Result:
    """Call a function where it sees as many GPUs as the workers of a stage.

    A GPU's model is part of a fingerprint. Where the stage is given GPUs, one of its kind of
    workers is asked; where it is not, this process, with no GPU in sight.

    Raises:
        InputError: no node can have such a worker.
    """
    if not need.gpus:
        with offline(engine.offline), _no_gpu(), fetching() as report, listening(report):
            return call(*arguments)
    import ray

    asked = ", ".join(f"{name} {n:g}" for name, n in need.resources.items() if n)
    with ray_session(engine), plain_errors("describe"):
        check_placement([need], engine)
        there: Any = ray.remote(num_cpus=need.cpus, num_gpus=need.gpus, max_retries=2)(_heard)
        answer = there.remote(call, *arguments)
        with Progress("describe", 1, "manifests") as progress:
            said = time.monotonic()
            while not ray.wait([answer], timeout=0)[0]:
                time.sleep(POLL)
                check_stop()
                if time.monotonic() - said > PATIENCE:
                    said = time.monotonic()
                    text = f"waiting for a worker of {need.stage} ({asked}) to say what it has"
                    progress.say(text)
            result, told = ray.get(answer)
            for line in told:
                progress.say(line)
            progress.advance(1)
        return result


def _heard(call: Callable[..., Result], *arguments: Any) -> tuple[Result, list[str]]:
    """What a function gives, and what it said of downloads: a worker's own lines go nowhere."""
    told: list[str] = []

    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    log, hearing = logging.getLogger(DOWNLOADS), Hearing(logging.WARNING)
    log.addHandler(hearing)
    try:
        return call(*arguments), told
    finally:
        log.removeHandler(hearing)


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

"""Evaluation as Ray actors: every direction tried on the same held-out identities."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cluster import plain_errors
from jobs.progress import Progress
from mining.evaluation.rescoring import (
    Bases,
    Pair,
    Rescored,
    RescoringConfig,
    measure_bases,
    rescore,
)
from mining.extractors.base import Extractor
from mining.extractors.registry import EXTRACTORS, make_extractors
from mining.generators.registry import make_generator
from mining.methods.base import Direction
from mining.sampling import shard_latents
from mining.threads import limit_threads
from schemas.errors import RunError
from schemas.registry import load
from schemas.settings import EngineSettings, EvaluationSettings
from storage.manifest import Manifest

DESCRIPTOR = "descriptor"  # the column, and the option that turns it on
HELD_OUT = 2**32  # a shard number that no dataset reaches, so these latents are in none
SPARE = 2  # candidates per identity: one without a measurable face is passed over


@dataclass(frozen=True)
class Evaluated:
    """What was measured along one direction."""

    direction: Direction
    sigma: float  # standard deviation of the dataset's latents along it
    rescored: Rescored


class Evaluator:
    """Renders and measures; one per worker. Loads generator and extractors once."""

    def __init__(self, content: Mapping[str, Any], settings: EvaluationSettings):
        manifest = Manifest(content)
        about = manifest.generator
        self._generator = make_generator(about["load"], **about["options"])
        options = {item["load"]: dict(item["options"]) for item in manifest.extractors}
        if settings.descriptor:
            turn_on(options, DESCRIPTOR)
        self._extractors = make_extractors(options)
        self._settings = settings
        self._config = rescoring_config(settings, descriptor_of(self._extractors))
        self._dataset = manifest.settings
        limit_threads(manifest.settings["threads"])

    def bases(self) -> Bases:
        """Held-out identities whose unedited image has a measured face."""
        wanted = self._settings.identities
        seeded = {**self._dataset, "seed": self._settings.seed}
        _, w_plus = shard_latents(self._generator, seeded, HELD_OUT, SPARE * wanted)
        bases = measure_bases(self._generator, self._extractors, w_plus, self._config)
        usable = np.flatnonzero(np.isfinite(bases.measured.values).any(axis=1))[:wanted]
        if not len(usable):
            # honest where nothing is found at all: the strips still show what a direction does
            usable = np.arange(wanted)
        return measure_bases(self._generator, self._extractors, w_plus[usable], self._config)

    def rescore(
        self, index: int, vector: NDArray, sigma: float, bases: Bases
    ) -> tuple[int, Rescored]:
        """Measure one direction; `index` comes back with the result."""
        done = rescore(self._generator, self._extractors, vector, sigma, bases, self._config)
        return index, done


def turn_on(options: dict[str, dict[str, Any]], option: str) -> None:
    """Set an option to true for every extractor that has it."""
    for name in options:
        if option in inspect.signature(load("extractor", name, EXTRACTORS)).parameters:
            options[name][option] = True


def descriptor_of(extractors: Sequence[Extractor]) -> Pair:
    """(extractor, column) of the first face descriptor; a pair that names none without one."""
    found = [extractor.name for extractor in extractors if DESCRIPTOR in extractor.columns]
    return (found[0] if found else "", DESCRIPTOR)


def rescoring_config(
    settings: EvaluationSettings, descriptor: Pair = ("", DESCRIPTOR)
) -> RescoringConfig:
    """The evaluation settings as the mining layer takes them."""
    return RescoringConfig(
        descriptor=descriptor,
        identities=settings.identities,
        steps=tuple(settings.steps),
        bootstrap=settings.bootstrap,
        seed=settings.seed,
        thumbnails=settings.strips,
    )


def evaluate(
    manifest: Manifest,
    latents: NDArray[np.float32],
    directions: Sequence[Direction],
    settings: EvaluationSettings,
    engine: EngineSettings,
) -> list[Evaluated]:
    """Measure every direction on the running Ray; results in the order of `directions`.

    Args:
        latents: (N, D) of the dataset, which sigma is taken from.

    Raises:
        RunError: a worker failed.
    """
    import ray
    from ray.util import ActorPool

    remote: Any = ray.remote(
        num_cpus=1,
        num_gpus=max(engine.generator.gpus, engine.extractor.gpus),
        max_restarts=4,
        max_task_retries=4,
    )(Evaluator)
    count = max(1, min(engine.workers, len(directions)))
    actors = [remote.remote(dict(manifest.content), settings) for _ in range(count)]
    sigmas = [spread_along(latents, direction.vector) for direction in directions]
    results: list[Evaluated | None] = [None] * len(directions)
    renders = settings.identities * len(settings.steps)
    try:
        with (
            plain_errors("evaluating"),
            Progress("evaluate", renders * len(directions), "images") as progress,
        ):
            bases = ray.put(ray.get(actors[0].bases.remote()))
            pool = ActorPool(actors)
            for index, direction in enumerate(directions):
                job = (index, direction.vector, sigmas[index], bases)
                pool.submit(lambda actor, given: actor.rescore.remote(*given), job)
            while pool.has_next():
                index, rescored = pool.get_next_unordered()
                results[index] = Evaluated(directions[index], sigmas[index], rescored)
                progress.advance(renders)
    finally:
        for actor in actors:
            ray.kill(actor)
    if any(result is None for result in results):
        raise RunError("evaluating: some directions came back without a result; run it again.")
    return [result for result in results if result is not None]


def spread_along(latents: NDArray[np.float32], vector: NDArray) -> float:
    """Standard deviation of (N, D) latents along a unit vector of any shape."""
    return float(np.std(latents.astype(np.float64) @ vector.ravel()))

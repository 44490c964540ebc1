"""Evaluation as Ray actors: every direction tried on the same held-out identities."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cluster import plain_errors
from jobs.evaluation_kept import KINDS, is_bases, is_rescored
from jobs.evaluation_keys import EvaluationKeys
from jobs.instruments import DESCRIPTOR, open_instruments
from jobs.placement import hide_gpus
from jobs.progress import Progress
from jobs.results_cache import CACHED, ResultsCache
from mining.editing.learned import LearnedEdit, open_artefact
from mining.evaluation.rescoring import (
    Bases,
    Edit,
    Pair,
    Rescored,
    RescoringConfig,
    measure_bases,
    rescore,
)
from mining.generators.base import Floats
from mining.labels import Label
from mining.latents import shard_latents
from mining.methods.base import Direction
from schemas.errors import RunError
from schemas.settings import EngineSettings, EvaluationSettings
from storage.dataset import image_size
from storage.manifest import Manifest

HELD_OUT = 2**32  # a shard number that no dataset reaches, so these latents are in none
SPARE = 2  # candidates per identity: one without a measurable face is passed over
Job = tuple[Direction, float]  # and its sigma
LearnedFile = tuple[str, bytes]  # the kind of an artefact, and its bytes


@dataclass(frozen=True)
class Evaluated:
    """What was measured along one direction."""

    direction: Direction
    sigma: float  # standard deviation of the dataset's latents along it
    rescored: Rescored


class Evaluator:
    """Renders and measures; one per worker. Loads generator and extractors once.

    Args:
        gpus: what Ray gives it; with 0 it sees none. None leaves them as they are.
        labels: attributes of the user's own, measured as the extractors' columns are.
    """

    def __init__(
        self,
        content: Mapping[str, Any],
        settings: EvaluationSettings,
        gpus: float | None = None,
        labels: Mapping[str, Label] | None = None,
    ):
        if gpus == 0:
            hide_gpus()
        manifest = Manifest(content)
        opened = open_instruments(manifest, settings.descriptor, labels)
        self._generator, self._extractors, descriptor = opened
        self._settings = settings
        self._config = replace(
            rescoring_config(settings, descriptor), image_size=image_size(manifest)
        )
        self._dataset = manifest.settings
        self._opened: dict[str, LearnedEdit] = {}

    def bases(self) -> Bases:
        """Held-out identities whose unedited image has a measured face."""
        wanted = self._settings.identities
        seeded = {**self._dataset, "seed": self._settings.seed}
        latents = shard_latents(self._generator, seeded, HELD_OUT, SPARE * wanted)
        bases = self._measured(latents.w_plus, latents.condition)
        usable = np.flatnonzero(bases.seen)[:wanted]
        if not len(usable):
            # honest where nothing is found at all: the strips still show what a direction does
            usable = np.arange(wanted)
        condition = None if latents.condition is None else latents.condition[usable]
        return self._measured(latents.w_plus[usable], condition)

    def rescore(
        self,
        name: str,
        direction: Direction,
        sigma: float,
        bases: Bases,
        learned: LearnedFile | None = None,
    ) -> tuple[str, Rescored]:
        """Measure one direction; `name` comes back with the result.

        Args:
            learned: the file that edits in the direction's place, where one does.
        """
        done = rescore(
            self._generator,
            self._extractors,
            direction.vector,
            sigma,
            bases,
            self._config,
            direction.layers,
            None if learned is None else self._edit(direction, *learned),
        )
        return name, done

    def _edit(self, direction: Direction, kind: str, data: bytes) -> Edit:
        """What a learned file does for the direction's attribute; it is opened once."""
        key = direction.artefact
        if key not in self._opened:
            self._opened = {key: open_artefact(data, kind, f"the {kind} of {direction.method}")}
        opened, attribute = self._opened[key], direction.attribute
        return lambda w_plus, steps: opened.edit(w_plus, attribute, steps)

    def _measured(self, w_plus: Floats, condition: Floats | None) -> Bases:
        return measure_bases(self._generator, self._extractors, w_plus, self._config, condition)


def check_evaluator(content: Mapping[str, Any], settings: EvaluationSettings) -> None:
    """Load once what evaluation will load, so that what is missing is told before any work.

    Raises:
        InputError: the generator, or a model of an extractor, is not to be found.
        RunError: one of them is another here than it was for the dataset.
    """
    Evaluator(content, settings)


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
    labels: Mapping[str, Label] | None = None,
    cache: ResultsCache | None = None,
    files: Mapping[str, LearnedFile] | None = None,
) -> list[Evaluated]:
    """Measure every direction on the running Ray; results in the order of `directions`.

    Args:
        latents: (N, D) of the dataset, which sigma is taken from.
        labels: attributes of the user's own, to be measured too.
        cache: what earlier runs measured; without one everything is.
        files: the artefacts that directions name, by their SHA-256.

    Raises:
        RunError: a worker failed.
    """
    cache, keys = cache or ResultsCache(), EvaluationKeys(manifest, settings, labels or {})
    rows = manifest.generator["num_ws"]
    sigmas = [spread_along(latents, direction, rows) for direction in directions]
    jobs = [(made, sigma) for made, sigma in zip(directions, sigmas, strict=True)]
    names = [keys.rescored(*job) for job in jobs]
    distinct = dict(zip(names, jobs, strict=True))  # the random control is one vector for many
    renders = settings.identities * len(settings.steps)
    with Progress("evaluate", renders * len(distinct), "images") as progress:
        found = {
            name: cache.get(name, KINDS, is_rescored(sigma))
            for name, (_, sigma) in distinct.items()
        }
        results = {name: kept for name, kept in found.items() if kept is not None}
        if results:
            progress.advance(renders * len(results), {CACHED: renders * len(results)})
        missing = {name: job for name, job in distinct.items() if name not in results}
        made = functools.partial(_actors, manifest, settings, engine, labels, len(missing))
        with plain_errors("evaluating"):
            for name, rescored in _rescored_on_ray(made, missing, keys.bases, cache, files or {}):
                results[name] = rescored
                cache.put(name, rescored)
                progress.advance(renders)
    if len(results) < len(distinct):
        raise RunError("evaluating: some directions came back without a result; run it again.")
    return [Evaluated(*job, results[name]) for name, job in zip(names, jobs, strict=True)]


def _rescored_on_ray(
    make: Callable[[], list[Any]],
    jobs: Mapping[str, Job],
    key: str,
    cache: ResultsCache,
    files: Mapping[str, LearnedFile],
) -> Iterator[tuple[str, Rescored]]:
    """Each direction's measurements under its name, as the actors finish.

    Args:
        make: gives the actors.
        key: of the unedited images' measurements.
    """
    import ray
    from ray.util import ActorPool

    if not jobs:
        return
    actors = make()
    try:
        bases = cache.get(key, KINDS, is_bases)
        if bases is None:
            bases = ray.get(actors[0].bases.remote())
            cache.put(key, bases)
        shared = ray.put(bases)
        read = {direction.artefact for direction, _ in jobs.values() if direction.artefact}
        sent = {sha256: ray.put(files[sha256]) for sha256 in read}
        pool = ActorPool(actors)
        for name, (direction, sigma) in jobs.items():
            job = (name, direction, sigma, shared, sent.get(direction.artefact))
            pool.submit(lambda actor, given: actor.rescore.remote(*given), job)
        while pool.has_next():
            name, rescored = pool.get_next_unordered()
            yield name, rescored
    finally:
        for actor in actors:
            ray.kill(actor)


def _actors(
    manifest: Manifest,
    settings: EvaluationSettings,
    engine: EngineSettings,
    labels: Mapping[str, Label] | None,
    jobs: int,
) -> list[Any]:
    """As many evaluators as there are workers, or jobs where these are fewer."""
    import ray

    gpus = max(engine.generator.gpus, engine.extractor.gpus)
    remote: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=4, max_task_retries=4)(
        Evaluator
    )
    count = max(1, min(engine.workers, jobs))
    return [remote.remote(dict(manifest.content), settings, gpus, labels) for _ in range(count)]


def spread_along(latents: NDArray[np.float32], direction: Direction, num_ws: int) -> float:
    """Standard deviation of (N, D) latents along a direction of their space.

    A direction of W+ is along the sum of its rows in latents of W, whose rows are all equal.
    A direction of W in latents of W+ moves several rows: the root mean square of their
    standard deviations, over the rows that it is applied to.

    Args:
        latents: (N, D): w, or num_ws rows of W+ laid end to end.
    """
    vector = np.asarray(direction.vector, np.float64)
    if vector.ndim == 2 and latents.shape[1] == vector.shape[1] and num_ws > 1:
        vector = vector.sum(axis=0)  # one w for all rows, which all move by what theirs says
    if vector.size == latents.shape[1]:
        return float(np.std(latents.astype(np.float64) @ vector.ravel()))
    rows = latents.reshape(len(latents), num_ws, -1).astype(np.float64) @ vector  # (N, num_ws)
    moved = rows[:, list(direction.layers) if direction.layers else slice(None)]
    return float(np.sqrt(moved.var(axis=0).mean()))

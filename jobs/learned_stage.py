"""Learned methods as Ray tasks, one each: they go on where they were stopped, and are kept."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jobs.cluster import plain_errors
from jobs.evaluation_keys import module_of
from jobs.learned_checkpoints import forget
from jobs.learned_checks import gpus_of
from jobs.learned_data import check_rows, read_rows, told_rows
from jobs.learned_task import Training, learn
from jobs.mining_data import MiningData
from jobs.progress import Progress
from jobs.results_cache import CACHED, ResultsCache, computed_by, key_of
from jobs.tasks import FAILED
from mining.generators.registry import GENERATORS
from mining.methods.base import Direction
from mining.methods.learned import Curve, Learned, LearnedRows
from mining.methods.registry import LEARNED_METHODS
from schemas.errors import InputError, LostWorkerError, RunError
from schemas.settings import EngineSettings, MiningSettings
from storage.dataset import Dataset
from storage.manifest import Manifest

TASK = "jobs.learned_task"
KINDS = {kind.__name__: kind for kind in (Learned, Direction, Curve)}
KINDS_OF_ARTEFACT = ("matrix", "flow")
TRIES = 4  # of a training whose worker dies: the first, and three more
WHOLE = 100  # per cent, what progress counts for each method
PLACES = ("sequences", "inverted")  # options that say where something lies, not what it is


@dataclass(frozen=True)
class LearnedOutcome:
    """What all learned methods of a run found."""

    found: Mapping[str, Learned] = field(default_factory=dict)  # by method
    failures: Mapping[str, str] = field(default_factory=dict)  # method -> why
    settings: Mapping[str, str] = field(default_factory=dict)  # method -> JSON of its settings


@dataclass(frozen=True)
class Work:
    """One method's rows and what its task is told."""

    rows: LearnedRows
    training: Training
    settings: str  # JSON


def learn_all(
    dataset: Dataset,
    data: MiningData,
    mining: MiningSettings,
    configs: Mapping[str, Any],
    engine: EngineSettings,
    cache: ResultsCache,
    out: str | None = None,
) -> LearnedOutcome:
    """Run every learned method on the running Ray; what refuses its rows, or breaks, fails alone.

    Args:
        configs: method -> its settings; of other methods than learned ones too.
        cache: what earlier runs learned.
        out: the run's folder, for checkpoints; None keeps none.
    """
    chosen = {method: config for method, config in configs.items() if method in LEARNED_METHODS}
    if not chosen:
        return LearnedOutcome()
    found: dict[str, Learned] = {}
    failures: dict[str, str] = {}
    waiting: dict[str, Work] = {}
    settings: dict[str, str] = {}
    with Progress("learn", WHOLE * len(chosen), "per cent") as progress:
        for method, config in chosen.items():
            work = _work(dataset, data, method, config, mining, engine, out)
            if isinstance(work, FAILED):
                failures[method] = str(work)
                progress.advance(WHOLE, {"failed": WHOLE})
                continue
            settings[method] = work.settings
            kept = cache.get(work.training.key, KINDS, _fits(method, data))
            if kept is None:
                waiting[method] = work
                continue
            found[method] = kept
            progress.advance(WHOLE, {CACHED: WHOLE})
        for method, made in _on_ray(waiting, progress):
            if isinstance(made, FAILED):
                failures[method] = str(made)
                continue
            found[method] = made
            cache.put(waiting[method].training.key, made)
    if waiting and not failures:
        forget(out)
    ordered = {method: found[method] for method in chosen if method in found}
    return LearnedOutcome(ordered, failures, settings)


def _work(
    dataset: Dataset,
    data: MiningData,
    method: str,
    config: Any,
    mining: MiningSettings,
    engine: EngineSettings,
    out: str | None,
) -> Work | InputError | RunError:
    """What a method's task is given, or why there is nothing to give."""
    try:
        rows = read_rows(dataset, data, method, config, mining)
        check_rows(rows, method, config)
    except FAILED as error:
        return error
    told, gpus = told_config(config, rows), gpus_of(config, engine)
    key = learned_key(method, told, rows, dataset.manifest, gpus)
    about = dict(dataset.manifest.generator)
    settings = json.dumps({"method": told}, sort_keys=True)
    return Work(rows, Training(method, config, key, out, gpus, about), settings)


def learned_key(
    method: str, told: Mapping[str, Any], rows: LearnedRows, manifest: Manifest, gpus: float
) -> str:
    """The name of a result: everything that decides it.

    Args:
        told: as `told_config` gives it.
    """
    module = LEARNED_METHODS[method][0]
    modules = [module.partition(":")[0], TASK]
    if told.get("chain") == "images":
        modules.append(module_of(manifest.generator["load"], GENERATORS))
    by = computed_by(manifest, modules)
    return key_of("learned", module, told, told_rows(rows), gpus > 0, by)


def told_config(config: Any, rows: LearnedRows) -> dict[str, Any]:
    """A method's settings, with what lies at places in the places' stead."""
    told = dataclasses.asdict(config)
    if told.get("sequences"):
        told["sequences"] = rows.facts["sequences"]
    if told.get("inverted") and rows.inverted is not None:
        told["inverted"] = hashlib.sha256(rows.inverted.tobytes()).hexdigest()
    return json.loads(json.dumps({name: _placeless(value) for name, value in told.items()}))


def _placeless(value: Any) -> Any:
    """A setting, files named by their content."""
    if isinstance(value, Mapping):
        return {name: _placeless(item) for name, item in value.items()}
    if isinstance(value, str) and {"/", "."} & set(value) and Path(value).is_file():
        return f"{Path(value).name}, SHA-256 {_sha256(value)}"
    return value


@functools.lru_cache(maxsize=64)
def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fits(method: str, data: MiningData) -> Callable[[Any], bool]:
    """Whether a kept value is what a method learned of this generator."""
    width = data.shape[-1]

    def fits(found: Any) -> bool:
        return (
            isinstance(found, Learned)
            and found.kind in KINDS_OF_ARTEFACT
            and isinstance(found.artefact, bytes)
            and all(isinstance(curve, Curve) for curve in found.curves)
            and all(
                isinstance(made, Direction)
                and made.method == method
                and made.vector.shape[-1:] == (width,)
                and bool(np.isfinite(made.vector).all())
                for made in found.directions
            )
        )

    return fits


def _on_ray(work: Mapping[str, Work], progress: Progress) -> Iterator[tuple[str, Any]]:
    """Each method with what it learned, or why it did not, as the tasks end."""
    import ray

    tasks = {
        method: _Task(method, ray.put(each.rows), each.training) for method, each in work.items()
    }
    while tasks:
        streams = {task.stream: method for method, task in tasks.items()}
        (ready, *_), _ = ray.wait(list(streams), num_returns=1)
        method = streams[ready]
        task = tasks[method]
        made = task.next()
        progress.advance(task.advance())
        if made is not None:
            del tasks[method]
            yield method, made


class _Task:
    """One method's task; another one is started where its worker dies."""

    def __init__(self, method: str, rows: Any, training: Training):
        self._method, self._rows, self._training = method, rows, training
        self._tries = self._share = self._told = 0
        self._start()

    def _start(self) -> None:
        import ray

        self._tries += 1
        gpus = self._training.gpus
        remote: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(learn)
        self.stream = remote.remote(self._rows, self._training)

    def next(self) -> Any:
        """What was learnt, or the error that the task ended in; None where it goes on."""
        import ray

        try:
            with plain_errors(self._method):
                said = ray.get(next(self.stream))
        except LostWorkerError as error:
            if self._tries >= TRIES:
                return self._over(error)
            self._start()
            return None
        except FAILED as error:
            return self._over(error)
        if isinstance(said, Learned):
            return self._over(said)
        epoch, epochs = said
        self._share = max(self._share, WHOLE * epoch // max(epochs, 1))
        return None

    def _over(self, result: Any) -> Any:
        self._share = WHOLE
        return result

    def advance(self) -> int:
        """Per cent that progress was not told of yet."""
        more = self._share - self._told
        self._told = self._share
        return more
